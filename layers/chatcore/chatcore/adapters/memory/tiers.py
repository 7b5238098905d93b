"""Owns tier settings in memory: what a test or a bench sets holds at once."""

from dataclasses import dataclass, field

from chatcore.domain.tiers import DEFAULTS, Tiers


@dataclass(slots=True)
class MemoryTiers:
    tiers: Tiers = field(default_factory=lambda: DEFAULTS)

    def current(self) -> Tiers:
        return self.tiers

    def refresh(self) -> Tiers:
        return self.tiers
