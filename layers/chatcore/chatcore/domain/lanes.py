"""Owns the choice between tiers: whose turn is it when a slot is free and several have work.

Each tier is served tokens in proportion to its weight while it has work: the tier goes next that has
been served least for its weight; of those that have not been served more than a little ahead, the highest.
So as long as the higher tiers ask for less than their share, they never wait for the lower ones, and
when they ask for more, the lower ones get theirs. A tier without work hands its turn on
(work-conserving) and saves nothing up. Whose run has waited for long is moved forward (aging), so that a
low weight bounds a share and not a patience.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chatcore.domain.tiers import DEFAULTS, Tier

BY_PRIORITY = (Tier.PRO, Tier.PLUS, Tier.FREE, Tier.BACKGROUND)

AGING_TOKENS_PER_S = 5.0
"""How much of service a tier is credited with for each second that its next run has waited: a fraction of
what a worker does meanwhile, so that the weights stay what decides."""

JUMP_TOKENS = 2_000.0
"""How much of service for a weight of one a higher tier may be ahead of the lower ones and still go
first."""


RETURNS = -1
"""The index of a tier's lane of runs that have begun already."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One queue: a tier's runs of one quantum of virtual time (see `calendar`), or its returns."""

    tier: Tier
    index: int = 0

    def __str__(self) -> str:
        return f"{self.tier}-{'returns' if self.index == RETURNS else self.index}"


FIRST_GUESS_TOKENS = 1_000.0
"""What a run is thought to cost before its worker has seen one of its tier end."""

GUESS_SHARE = 1 / 8
"""Of each new cost in the running mean."""


@dataclass(slots=True)
class Turns:
    """A worker's memory of whose turn it is. Forgetting it (a restart) is harmless.

    _served: by tier, tokens of service for one of weight, on a scale that all tiers share; _level: that
    of the turn last taken, which a tier that comes back after a time without work may not lag behind.
    """

    weights: Mapping[Tier, float] = field(
        default_factory=lambda: {tier: limits.weight for tier, limits in DEFAULTS.items()}
    )
    _served: dict[Tier, float] = field(default_factory=dict)
    _guess: dict[Tier, float] = field(default_factory=dict)
    _level: float = 0.0
    _with_work: frozenset[Tier] = frozenset()

    def order(self, waited_s: Mapping[Tier, float]) -> list[Tier]:
        """The tiers with work, the one to serve next first. waited_s: of their next runs, as far as is
        known.

        Pure: taking a turn is a call of its own, made when a run really was taken.
        """
        standings = {
            tier: self._standing(tier) - AGING_TOKENS_PER_S * waited_s[tier] for tier in waited_s
        }
        least = min(standings.values(), default=0.0)
        return sorted(
            waited_s,
            # Whoever is not far ahead, by rank; behind them the others, by how far they are.
            key=lambda tier: (
                max(standings[tier], least + JUMP_TOKENS),
                BY_PRIORITY.index(tier),
            ),
        )

    def may_jump(self, tier: Tier, others: Collection[Tier]) -> bool:
        """Whether the tier may take more than there is for all, beside what those are being served."""
        rank = BY_PRIORITY.index(tier)
        lower = [self._standing(each) for each in others if BY_PRIORITY.index(each) > rank]
        return not lower or self._standing(tier) <= min(lower) + JUMP_TOKENS

    def take(self, tier: Tier, with_work: Collection[Tier]) -> float:
        """A run of this tier got a slot while those tiers (this one among them) had work. Returns what
        it was charged ahead, for `settle`."""
        standings = {each: self._standing(each) for each in {*with_work, tier}}
        self._with_work = frozenset(standings)
        self._served.update(standings)
        self._level = max(self._level, min(standings.values()))
        ahead = self._guess.get(tier, FIRST_GUESS_TOKENS)
        self._served[tier] += ahead / self.weights[tier]
        return ahead

    def settle(self, tier: Tier, ahead: float, cost_tokens: float) -> None:
        """The run is over, or no more this worker's: it cost this much here."""
        self._served[tier] += (cost_tokens - ahead) / self.weights[tier]
        if not cost_tokens:
            # Over already, or somebody else's: that tells nothing of what runs cost.
            return
        guess = self._guess.get(tier, FIRST_GUESS_TOKENS)
        self._guess[tier] = guess + (cost_tokens - guess) * GUESS_SHARE

    def _standing(self, tier: Tier) -> float:
        served = self._served.get(tier, 0.0)
        return served if tier in self._with_work else max(served, self._level)
