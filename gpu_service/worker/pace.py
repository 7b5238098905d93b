"""Owns how fast this worker gives slots to each tier, and how long they are kept: what others estimate
waits and backlogs from."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chatcore.domain.tiers import Tier

OVER_S = 30.0
FIRST_GUESS_S = 10.0
SHARE = 1 / 8
"""Of each new run in the mean time that a slot is kept."""


@dataclass(slots=True)
class Pace:
    now_s: Callable[[], float]
    _starts: dict[Tier, deque[float]] = field(
        default_factory=lambda: {tier: deque() for tier in Tier}
    )
    _kept_s: dict[Tier, float] = field(default_factory=lambda: dict.fromkeys(Tier, FIRST_GUESS_S))

    def began(self, tier: Tier) -> None:
        self._starts[tier].append(self.now_s())

    def ended(self, tier: Tier, kept_s: float) -> None:
        self._kept_s[tier] += (kept_s - self._kept_s[tier]) * SHARE

    def starts_per_s(self) -> Mapping[Tier, float]:
        """In the time just past."""
        since_s = self.now_s() - OVER_S
        for starts in self._starts.values():
            while starts and starts[0] < since_s:
                starts.popleft()
        return {tier: len(starts) / OVER_S for tier, starts in self._starts.items()}

    def slot_s(self) -> Mapping[Tier, float]:
        """How long a run of the tier keeps a slot."""
        return dict(self._kept_s)
