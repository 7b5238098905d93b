"""Owns what AWS itself counts of the queues, and where each tier's front is. Pure: a snapshot, and how a
lane stands in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chatcore.domain.calendar import RING
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.tiers import Tier


@dataclass(frozen=True, slots=True)
class Depth:
    """As CloudWatch has it of a queue: ApproximateNumberOfMessagesVisible, …NotVisible, …Delayed. in_flight:
    of runs in a slot, and of those that are left to another worker for a while."""

    visible: int = 0
    in_flight: int = 0
    delayed: int = 0


@dataclass(frozen=True, slots=True)
class Queues:
    """fronts: the number that is next, by tier."""

    at_ms: int
    depths: Mapping[Lane, Depth] = field(default_factory=dict)
    fronts: Mapping[Tier, int] = field(default_factory=dict)
    dead_letters: int = 0

    def depth(self, tier: Tier, index: int) -> Depth:
        return self.depths.get(Lane(tier, index), Depth())

    def waiting(self, tier: Tier) -> int:
        """Jobs that whoever has a slot may take."""
        return sum(depth.visible for lane, depth in self.depths.items() if lane.tier is tier)

    def in_flight(self, tier: Tier) -> int:
        return sum(depth.in_flight for lane, depth in self.depths.items() if lane.tier is tier)

    def front_index(self, tier: Tier) -> int:
        """Of the ring's lanes the one that is next; RETURNS for a tier that has no ring."""
        return RETURNS if tier is Tier.BACKGROUND else self.fronts.get(tier, 0) % RING
