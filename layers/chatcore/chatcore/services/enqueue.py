"""Enqueue: put a queued run's job into the lane where it belongs, again where it may have been lost."""

from chatcore.domain.calendar import Calendar, returns_of
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Run, Status
from chatcore.domain.waiting import lane_for
from chatcore.ports import Lanes, Stores
from chatcore.protocol.queue import job_for
from chatcore.services.dispatch import dispatch

PATIENCE_MS = 30_000
"""A run queued for longer may have lost its job (see `submit`): looking at it puts it in again, but no
more often than this, or a long line would grow with each look of those who wait in it."""


def enqueue(lanes: Lanes, run: Run, ledger: Ledger, calendar: Calendar, now_ms: int) -> None:
    """Twice there is harmless: one is claimed, the other acknowledged. Nothing for a run behind another
    of its user, which has no job yet."""
    if run.run_id not in ledger.waiting:
        lanes.send(returns_of(run.tier), job_for(run))
    elif run.run_id == ledger.waiting[0]:
        lanes.send(lane_for(ledger, calendar, now_ms - run.created_ms), job_for(run))


def enqueue_again(
    stores: Stores, lanes: Lanes, run: Run, ledger: Ledger, calendar: Calendar, now_ms: int
) -> bool:
    """Where the run, or the one of its user that it waits behind, has waited for so long that its job may
    be lost. Whether something was put in."""
    if run.run_id in ledger.waiting and run.run_id != ledger.waiting[0]:
        first_id = ledger.waiting[0]
        first = stores.runs.get(first_id)
        if first is None or first.status is not Status.QUEUED:
            if _has_waited(run, now_ms) and stores.runs.note_requeued(run, now_ms):
                # Nobody has told its next one that it is over: its own job will, unless that is lost.
                dispatch(stores, lanes, calendar, run.user_id, first_id, run.weight, now_ms)
                return True
            return False
        run = first
    if _has_waited(run, now_ms) and stores.runs.note_requeued(run, now_ms):
        enqueue(lanes, run, ledger, calendar, now_ms)
        return True
    return False


def _has_waited(run: Run, now_ms: int) -> bool:
    return now_ms - max(run.created_ms, run.requeued_ms) > PATIENCE_MS
