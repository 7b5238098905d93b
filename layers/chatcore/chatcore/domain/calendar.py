"""Owns a tier's calendar: which lane a run waits in, and which lane is the nearest.

Virtual time counts service in tokens for a weight of one. A quantum of it is a number; numbers go
round a ring of lanes:

    number    front-1   front   front+1  …  front+AHEAD-1
              stray     next                the furthest
    lane      one of RING, by the remainder; RETURNS beside them, before all

A run's number follows from its user's account (see `ledger`): where he would be served next if all
were served evenly. The front moves on to the nearest lane that has work. The lane that it has just
left is not used again before the front has moved once more, so that a run which was put there a moment
too late is still found. What had a slot before and has to go on waits in RETURNS: it was its turn.

Virtual time of that kind stands still while new users come faster than all are served, and who has been
served before would wait for as long. So they start further and further behind the front then (`paced`),
and nobody is put off again for longer than they take to the furthest lane (`latest_number`): no run waits
for longer than that and what was before it when they had caught up.

Start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996. A ring of queues as its calendar, and one job
of a user in it, are ADR 11.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chatcore.domain.lanes import BY_PRIORITY, RETURNS, Lane
from chatcore.domain.tiers import USER_TIERS, Tier, Tiers

QUANTUM = 200
"""Of virtual time, in tokens for a weight of one (`make bench-scheduling` compares)."""

AHEAD = 8
"""Lanes in use at once. What belongs further ahead waits in the last one and is looked at again."""

RING = AHEAD + 1

ENTRY_PACE_MS = 15_000
"""While work waits, who comes new starts a quantum later at least as often. So what waits in the furthest
lane is soon as near as what comes new, however many come: without it those who have had little would go
before those who have had some for as long as they come faster than they are served."""

LANES = (
    *(
        Lane(tier, index)
        for tier in BY_PRIORITY
        if tier in USER_TIERS
        for index in (RETURNS, *range(RING))
    ),
    # Nobody's account says when its turn is: first come, first served.
    Lane(Tier.BACKGROUND, RETURNS),
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waited in a tier's lanes when somebody looked. waiting: jobs by the index of the lane;
    starts_per_s: runs of the tier that get a slot while some wait, fleet-wide, 0 where that is not known."""

    at_ms: int = 0
    waiting: Mapping[int, int] = field(default_factory=dict)
    starts_per_s: float = 0.0

    @property
    def is_empty(self) -> bool:
        return not any(self.waiting.values())


@dataclass(frozen=True, slots=True)
class Calendar:
    """front: the number that is next; it only grows. entry: the number where who comes new starts, unless
    the front is beyond it already; entry_ms: since when."""

    tier: Tier
    front: int = 0
    backlog: Backlog = Backlog()
    entry: int = 0
    entry_ms: int = 0

    @property
    def virtual_time(self) -> int:
        return self.front * QUANTUM

    @property
    def entry_time(self) -> int:
        """The virtual time of those who come new."""
        return max(self.front, self.entry) * QUANTUM


def paced(calendar: Calendar, now_ms: int) -> Calendar:
    """Where who comes new starts from now on: for whoever publishes the backlog, with it."""
    if calendar.entry < calendar.front or calendar.backlog.is_empty:
        return replace(calendar, entry=calendar.front, entry_ms=now_ms)
    if now_ms - calendar.entry_ms < ENTRY_PACE_MS:
        return calendar
    entry = min(calendar.entry + 1, calendar.front + AHEAD - 1)
    return replace(calendar, entry=entry, entry_ms=now_ms)


def weights_beside(
    tier: Tier, calendars: Mapping[Tier, Calendar], tiers: Tiers
) -> Mapping[Tier, float]:
    """Of the tier and of those in which runs waited when somebody looked last: who shares the slots."""
    return {
        each: limits.weight
        for each, limits in tiers.items()
        if each is tier or not calendars[each].backlog.is_empty
    }


def number_for(tag: int, front: int) -> int:
    """The number of a run that starts at the tag, within what the ring holds."""
    return min(max(tag // QUANTUM, front), front + AHEAD - 1)


def latest_number(tag: int, front: int, waited_ms: int) -> int:
    """The number of a run that starts at the tag and has waited so long: the longer, the nearer. Nobody is
    put off for longer than who comes new takes to catch up with the furthest lane."""
    return min(number_for(tag, front), front + max(0, AHEAD - 1 - waited_ms // ENTRY_PACE_MS))


def lane_of(tier: Tier, number: int) -> Lane:
    return Lane(tier, number % RING)


def returns_of(tier: Tier) -> Lane:
    return Lane(tier, RETURNS)


def number_in(lane: Lane, front: int) -> int:
    """What a lane of the ring stands for while the front is there: front-1 up to the furthest."""
    behind = front - 1
    return behind + (lane.index - behind) % RING


def rank(lane: Lane, front: int) -> int:
    """The place of a lane among its tier's: 0 is looked at first."""
    return 0 if lane.index == RETURNS else number_in(lane, front) - (front - 1) + 1


def jobs_ahead(backlog: Backlog, lane: Lane, front: int) -> int:
    """Of the tier's jobs, those that are served before one that comes to this lane now."""
    mine = rank(lane, front)
    return sum(
        count
        for index, count in backlog.waiting.items()
        if rank(Lane(lane.tier, index), front) <= mine
    )
