"""Settle: end a run in one terminal state, store its answer and pay for it, all at once."""

from chatcore.domain.run import TERMINAL, Ending, Run, ended
from chatcore.ports import RunStore


def settle(runs: RunStore, run: Run, ending: Ending) -> Run | None:
    """The ended run as it is stored; None when this epoch lost it to somebody else.

    Raises StoreUnavailable, after which the write may or may not have happened; settling again
    finds out.
    """
    if runs.end(run, ending):
        return ended(run, ending)
    # Refused: lost to somebody else, or an end of ours that timed out but happened.
    stored = runs.get(run.run_id)
    if stored is None or stored.status not in TERMINAL:
        return None
    ours = ended(run, ending)
    same = (stored.epoch, stored.status, stored.ended_ms, stored.length) == (
        ours.epoch,
        ours.status,
        ours.ended_ms,
        ours.length,
    )
    return stored if same else None
