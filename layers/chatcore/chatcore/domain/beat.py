"""Owns what a worker says of itself now and then, and for how long it is believed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chatcore.domain.tiers import Tier

BEAT_EVERY_MS = 2_000
"""One small write: often enough that little is asked of a worker that died."""

BEAT_FRESH_MS = 5_000
"""A beat older than this is not believed: one of two may be lost, and clocks may differ by a second."""

BEAT_RETENTION_S = 600


@dataclass(frozen=True, slots=True)
class Beat:
    """beat_ms: Unix time, by its own clock; offers: that wait there for a slot; starts_per_s: runs of a
    tier that got a slot there; slot_s: for how long they keep it."""

    worker_id: str
    inbox: str
    beat_ms: int
    slots: int
    free_slots: int
    offers: int = 0
    starts_per_s: Mapping[Tier, float] = field(default_factory=dict)
    slot_s: Mapping[Tier, float] = field(default_factory=dict)

    def is_fresh(self, now_ms: int) -> bool:
        return now_ms - self.beat_ms <= BEAT_FRESH_MS


def fleet_starts_per_s(beats: Collection[Beat], tier: Tier, now_ms: int) -> float:
    """Of the workers that live."""
    return sum(beat.starts_per_s.get(tier, 0.0) for beat in beats if beat.is_fresh(now_ms))


def fleet_slot_s(beats: Collection[Beat], tier: Tier, now_ms: int) -> float:
    """For how long a run of the tier keeps a slot, on the mean over those that live; 0 without any."""
    known = [beat.slot_s[tier] for beat in beats if beat.is_fresh(now_ms) and tier in beat.slot_s]
    return sum(known) / len(known) if known else 0.0
