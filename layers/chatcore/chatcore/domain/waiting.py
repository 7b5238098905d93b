"""Owns where a run waits, and what a person is told of that: how many are before it, why, for how long."""

from dataclasses import dataclass
from enum import StrEnum

from chatcore.domain.calendar import (
    Backlog,
    Calendar,
    jobs_ahead,
    lane_of,
    latest_number,
    returns_of,
)
from chatcore.domain.errors import Code, Refusal
from chatcore.domain.lanes import Lane
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Run

FRESH_MS = 30_000
"""What somebody saw in the lanes longer ago says nothing of now."""

SOONEST_LOOK_S = 5.0
LATEST_LOOK_S = 30.0


class Reason(StrEnum):
    STARTING = "starting"
    """Nobody is before it: as soon as a worker asks."""
    BUSY = "busy"
    """Others are before it."""
    OWN_RUNS = "own_runs"
    """An earlier one of the same user is before it."""
    RESUMING = "resuming"
    """It had a slot, and goes on where it was."""


@dataclass(frozen=True, slots=True)
class Wait:
    """position: how many runs are before it, None where that is not known; estimate_s: until it starts,
    likewise; look_again_s: when it is worth asking again."""

    reason: Reason
    position: int | None = None
    estimate_s: float | None = None

    @property
    def look_again_s(self) -> float:
        if self.estimate_s is None:
            return SOONEST_LOOK_S
        return min(LATEST_LOOK_S, max(SOONEST_LOOK_S, self.estimate_s / 4))


def lane_for(ledger: Ledger, calendar: Calendar, waited_ms: int = 0) -> Lane:
    """Where the job of the user's first waiting run belongs now, when that has waited so long."""
    tag = ledger.start_tag(calendar.tier, calendar.entry_time)
    return lane_of(calendar.tier, latest_number(tag, calendar.front, waited_ms))


def wait_of(run: Run, ledger: Ledger, calendar: Calendar, now_ms: int) -> Wait:
    """Of a queued run; the account has it in it."""
    backlog = calendar.backlog
    begun = run.run_id not in ledger.waiting
    own = 0 if begun else ledger.waiting.index(run.run_id)
    reason = Reason.RESUMING if begun else Reason.OWN_RUNS if own else Reason.BUSY
    if now_ms - backlog.at_ms > FRESH_MS:
        return Wait(reason if reason is not Reason.BUSY else Reason.STARTING)
    lane = returns_of(run.tier) if begun else lane_for(ledger, calendar, now_ms - run.created_ms)
    ahead = jobs_ahead(backlog, lane, calendar.front)
    if run.created_ms < backlog.at_ms and ahead:
        # The one job of its user was counted itself: its own, or that of the run that it waits behind.
        ahead -= 1
    position = ahead + own
    if position == 0 and reason is Reason.BUSY:
        reason = Reason.STARTING
    return Wait(reason, position, estimate_s(position, backlog))


def estimate_s(position: int, backlog: Backlog) -> float | None:
    """Until as many runs have got a slot."""
    if position == 0:
        return 0.0
    return position / backlog.starts_per_s if backlog.starts_per_s > 0 else None


def too_old(wait: Wait, max_wait_s: float, now_ms: int, ref: str) -> Refusal | None:
    """Why a run that would wait so long is not admitted, and when to try again; None where it is."""
    if wait.estimate_s is None or wait.estimate_s <= max_wait_s:
        return None
    return Refusal(
        Code.QUEUE_TOO_OLD,
        "Too many people are waiting on your plan just now. Please try again a little later.",
        ref,
        retry_at_ms=now_ms + round((wait.estimate_s - max_wait_s) * 1000),
    )
