"""Claim: make a delivered job this worker's, or learn that it is not to be worked on."""

from dataclasses import dataclass

from chatcore.domain import lease
from chatcore.domain.run import ACTIVE, Run, Status
from chatcore.domain.stream import durable_text, taken_over
from chatcore.ports import MAX_CHECKPOINTS, Claimed, Held, Over, RunStore


@dataclass(frozen=True, slots=True)
class Mine:
    """text: what former epochs made durable; the answer goes on behind it."""

    run: Run
    text: str


def claim(
    runs: RunStore,
    run_id: str,
    worker_id: str,
    inbox: str,
    now_ms: int,
    *,
    look_first: bool = False,
) -> Mine | Held | Over:
    """Raises StoreUnavailable; the job then stays where it is and is delivered again.

    look_first: where the run is most likely held, or over. A look costs a fifth of a claim in vain.
    """
    if look_first:
        in_vain = _in_vain(runs.get(run_id), now_ms)
        if in_vain is not None:
            return in_vain
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


def _in_vain(run: Run | None, now_ms: int) -> Held | Over | None:
    """Why nobody may claim it now, so far as was seen; None where somebody may."""
    if run is None or run.status not in ACTIVE:
        return Over()
    if run.status is Status.RUNNING and not lease.may_take_over(now_ms, run.lease_until_ms):
        return Held(run.lease_until_ms)
    return None
