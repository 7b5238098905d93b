"""Redrive: find answers that nobody seems to make, and put their jobs into the lanes again.

    queued    for long, and nobody has put its job in since: it may have died with who sent it
    running   under a lease that is long over: its job should have come back to another worker, and has not

What is there twice does no harm: one job is claimed, the other acknowledged. A run that waits because
many do is found too, and gets a second job.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from chatcore.domain.calendar import returns_of
from chatcore.domain.run import Run, Status
from chatcore.ports import Lanes, Stores
from chatcore.protocol.queue import job_for
from chatcore.services.enqueue import enqueue_again

LOOKS = 500
"""Stored runs that one step looks at: all of them stuck, each takes some ten calls."""


class Found(StrEnum):
    REQUEUED = "requeued"
    """It was queued."""
    TAKEN_OVER = "taken_over"
    """It was running, by nobody: whoever gets the job goes on with it."""
    BEHIND = "behind"
    """It waits behind another run of its user, which is seen to by itself."""
    CHANGED = "changed"
    """Somebody has just begun, ended or requeued it."""


@dataclass(frozen=True, slots=True)
class Redriven:
    """next_id: where the next step goes on, empty at the end; found: of those that were stuck, by what was
    done."""

    looked_at: int
    next_id: str
    found: dict[Found, int]


def redrive(stores: Stores, lanes: Lanes, older_ms: int, after_id: str, now_ms: int) -> Redriven:
    """A step. older_ms: for how long a run must have been stuck. Raises StoreUnavailable, Conflict: the step
    may be done again."""
    page = stores.runs.active(LOOKS, after_id)
    found: Counter[Found] = Counter()
    for seen in page.runs:
        if now_ms - _stuck_since_ms(seen) > older_ms:
            found[_put_again(stores, lanes, seen.run_id, older_ms, now_ms)] += 1
    return Redriven(page.looked_at, page.next_id, dict(found))


def _stuck_since_ms(run: Run) -> int:
    return max(run.created_ms, run.requeued_ms, run.lease_until_ms)


def _put_again(stores: Stores, lanes: Lanes, run_id: str, older_ms: int, now_ms: int) -> Found:
    # What the scan has seen may be old.
    run = stores.runs.get(run_id)
    if run is None or now_ms - _stuck_since_ms(run) <= older_ms:
        return Found.CHANGED
    if run.status is Status.RUNNING:
        if not stores.runs.note_requeued(run, now_ms):
            return Found.CHANGED
        lanes.send(returns_of(run.tier), job_for(run))
        return Found.TAKEN_OVER
    if run.status is not Status.QUEUED:
        return Found.CHANGED
    ledger, calendar = stores.ledgers.get(run.user_id), stores.calendars.get(run.tier)
    if enqueue_again(stores, lanes, run, ledger, calendar, now_ms):
        return Found.REQUEUED
    return Found.BEHIND if run_id in ledger.waiting[1:] else Found.CHANGED
