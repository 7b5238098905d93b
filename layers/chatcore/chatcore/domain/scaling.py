"""Owns how many workers there should be: from what waits, in slot-seconds, and from what runs.

    wanted slots  =  busy slots  +  backlog in slot-seconds ÷ the time to drain it in

A backlog in runs says little: ten long answers are more work than ten short ones. A slot-second is one
slot, kept for a second. Workers take minutes to start, so growing is done at once and by the whole step;
shrinking costs a start if it was wrong, so it waits until fewer were enough for a while, and goes to what
was wanted most meanwhile. Those that are starting count: the same figures asked about twice give the same
answer, and nothing more is started.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from chatcore.domain.tiers import Tier


@dataclass(frozen=True, slots=True)
class Goals:
    """drain_s: the time that a backlog may take to be worked off; spare: share of the slots that is to be
    free, for what comes while a worker starts; quiet_s: how long fewer must have been enough."""

    slots_per_worker: int
    least: int
    most: int
    drain_s: float = 60.0
    spare: float = 0.2
    quiet_s: float = 300.0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most:
            raise ValueError("least must be between 0 and most")
        if self.slots_per_worker < 1 or self.drain_s <= 0 or not 0 <= self.spare < 1:
            raise ValueError("a worker has slots, a backlog a time to drain, and spare is below 1")


@dataclass(frozen=True, slots=True)
class Scale:
    """workers: that there should be, those that are starting among them; quiet_ms: since when fewer were
    enough, None where they are not; peak: the most that was wanted since then."""

    workers: int
    quiet_ms: int | None = None
    peak: int = 0


def backlog_slot_s(waiting: Mapping[Tier, int], slot_s_per_run: Mapping[Tier, float]) -> float:
    """For how long one slot would be busy with all that waits."""
    return sum(count * slot_s_per_run.get(tier, 0.0) for tier, count in waiting.items())


def wanted(backlog_slot_s: float, busy_slots: float, goals: Goals) -> int:
    """Workers for what there is now, with no regard to what was."""
    slots = (busy_slots + backlog_slot_s / goals.drain_s) / (1 - goals.spare)
    return min(goals.most, max(goals.least, ceil(slots / goals.slots_per_worker)))


def desired_workers(
    former: Scale, backlog_slot_s: float, busy_slots: float, goals: Goals, now_ms: int
) -> Scale:
    """What is to be from now on, given what was decided last."""
    now = wanted(backlog_slot_s, busy_slots, goals)
    if now >= former.workers:
        return Scale(now)
    peak = max(now, former.peak)
    if former.quiet_ms is None:
        return replace(former, quiet_ms=now_ms, peak=now)
    if now_ms - former.quiet_ms < goals.quiet_s * 1000:
        return replace(former, peak=peak)
    return Scale(peak)
