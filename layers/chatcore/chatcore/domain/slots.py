"""Owns a worker's slots: how many are free, for which tier there is room, and who has to make some.

Room is a free slot; for a tier with slots of its own beyond those for all (overcommit) also one of these,
as long as the tier is not far ahead of what it is due. When they are used up, a run of a lower tier has
to leave, so that the next of the higher ones finds room too (see `preemption`). A tier takes nothing while
the engine reads a lower one's prompt here: its own might have to wait for that, and another worker may be
sooner.

It knows of no lanes and no engine: a worker and the simulator both ask it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chatcore.domain.lanes import BY_PRIORITY, Turns
from chatcore.domain.tiers import DEFAULTS, Tier


@dataclass(frozen=True, slots=True)
class Grant:
    """A slot that was given to a job. ahead: what its tier was charged for it, for `Turns.settle`;
    contended: whether others may be waiting for it; crowded: whether the tier has no room left."""

    ahead: float
    contended: bool
    crowded: bool


@dataclass(slots=True)
class Slots:
    """free: of those for all; below zero when some of the others are used; reading: by tier, runs that
    have a slot and no token from it yet."""

    free: int
    turns: Turns = field(default_factory=Turns)
    overcommit: Mapping[Tier, int] = field(
        default_factory=lambda: {tier: limits.overcommit_slots for tier, limits in DEFAULTS.items()}
    )
    running: dict[Tier, int] = field(default_factory=lambda: dict.fromkeys(BY_PRIORITY, 0))
    reading: dict[Tier, int] = field(default_factory=lambda: dict.fromkeys(BY_PRIORITY, 0))

    def has_room(self, tier: Tier) -> bool:
        if self.reads_below(tier):
            return False
        if self.free > 0:
            return True
        if self._is_full_for(tier):
            return False
        return self.turns.may_jump(tier, {each for each in BY_PRIORITY if self.running[each]})

    def is_turn_of(self, tier: Tier, waited_s: Mapping[Tier, float]) -> bool:
        """Whether a tier that has work and room may have the next job: there are as many turns as free
        slots. waited_s: of the next runs of all tiers with work."""
        return self.free <= 0 or tier in self.turns.order(waited_s)[: self.free]

    def give(self, tier: Tier, with_work: Collection[Tier]) -> Grant:
        """A job of the tier has a slot from now on, while those tiers had work."""
        self.free -= 1
        self.reading[tier] += 1
        self.running[tier] += 1
        ahead = self.turns.take(tier, with_work)
        return Grant(ahead, self.free <= 0, self._is_full_for(tier))

    def reads_below(self, tier: Tier) -> bool:
        """Whether the engine reads a prompt of a lower tier."""
        lower = BY_PRIORITY[BY_PRIORITY.index(tier) + 1 :]
        return any(self.reading[each] for each in lower)

    def has_read(self, tier: Tier) -> None:
        """A run's first token from its slot is there, or its slot is released without one."""
        self.reading[tier] -= 1

    def release(self, tier: Tier) -> None:
        self.free += 1
        self.running[tier] -= 1

    def _is_full_for(self, tier: Tier) -> bool:
        return self.free + self.overcommit[tier] <= 0
