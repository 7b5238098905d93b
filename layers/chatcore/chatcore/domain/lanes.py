"""Owns the choice between lanes: whose turn is it when a slot is free and several lanes have work.

Weighted deficit: each tier earns turns in proportion to its weight, and the tier that is owed most
goes next. So a paying tier gets most of the slots, none is left without, and a lane without work
hands its turn on (work-conserving).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chatcore.domain.tiers import LIMITS, Tier

BY_PRIORITY = (Tier.PRO, Tier.PLUS, Tier.FREE)


@dataclass(frozen=True, slots=True)
class Lane:
    """One queue: a tier's runs of one quantum of virtual time."""

    tier: Tier
    index: int = 0

    def __str__(self) -> str:
        return f"{self.tier}-{self.index}"


LANES = tuple(Lane(tier) for tier in BY_PRIORITY)


@dataclass(slots=True)
class Turns:
    """A worker's memory of whose turn it is. Forgetting it (a restart) is harmless."""

    weights: Mapping[Tier, int] = field(
        default_factory=lambda: {tier: limits.weight for tier, limits in LIMITS.items()}
    )
    _owed: dict[Tier, float] = field(default_factory=dict)

    def order(self, backlogged: Collection[Lane]) -> list[Lane]:
        """The lanes with work, the one to serve next first.

        Pure: taking a turn is a call of its own, made when a run really was taken.
        """
        owed = self._earned(backlogged)
        return sorted(backlogged, key=lambda lane: (-owed[lane.tier], BY_PRIORITY.index(lane.tier)))

    def take(self, lane: Lane, backlogged: Collection[Lane]) -> None:
        """A run of this lane got a slot while those lanes (this one among them) had work."""
        owed = self._earned({*backlogged, lane})
        owed[lane.tier] -= 1.0
        # A lane without work keeps no claim on later turns: an idle tier hoards nothing.
        self._owed = owed

    def _earned(self, backlogged: Collection[Lane]) -> dict[Tier, float]:
        tiers = {lane.tier for lane in backlogged}
        total = sum(self.weights[tier] for tier in tiers)
        return {tier: self._owed.get(tier, 0.0) + self.weights[tier] / total for tier in tiers}
