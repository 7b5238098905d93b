"""Claim: make a delivered job this worker's, or learn that it is not to be worked on."""

from dataclasses import dataclass

from chatcore.domain.run import Run
from chatcore.domain.stream import durable_text, taken_over
from chatcore.ports import MAX_CHECKPOINTS, Claimed, Held, Over, RunStore


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
    if run.epoch == 1:
        return Mine(run, "")
    #   epoch 1   ──── piece ──(lease over)───────────────── late piece
    #   epoch 2                 claim ── read ── write it ── speak
    # Written before this epoch says a word: whatever the former worker still writes is then passed
    # over for good, also by an epoch 3 that finds nothing else of this one.
    text = durable_text(runs.checkpoints(run.run_id))
    pieces = taken_over(run.run_id, run.epoch, text)
    for start in range(0, len(pieces), MAX_CHECKPOINTS):
        runs.put_checkpoints(pieces[start : start + MAX_CHECKPOINTS], now_ms)
    return Mine(run, text)
