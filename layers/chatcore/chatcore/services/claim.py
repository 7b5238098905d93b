"""Claim: make a delivered job this worker's, or learn that it is not to be worked on."""

from dataclasses import dataclass

from chatcore.domain.run import Run
from chatcore.domain.stream import durable_text
from chatcore.ports import Claimed, Held, Over, RunStore


@dataclass(frozen=True, slots=True)
class Mine:
    """text: what former epochs made durable; the answer goes on behind it."""

    run: Run
    text: str


def claim(
    runs: RunStore, run_id: str, worker_id: str, inbox: str, now_ms: int
) -> Mine | Held | Over:
    """Raises StoreUnavailable; the job then stays where it is and is delivered again."""
    outcome = runs.claim(run_id, worker_id, inbox, now_ms)
    if not isinstance(outcome, Claimed):
        return outcome
    run = outcome.run
    # Read after the claim, so that nothing the former worker may still write is overlooked now and
    # believed later: from here on only this epoch's pieces count.
    text = durable_text(runs.checkpoints(run.run_id)) if run.epoch > 1 else ""
    return Mine(run, text)
