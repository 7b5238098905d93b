"""Owns what a worker says of itself now and then, for how long it is believed, and what follows for the
fleet: how fast it gives slots to a tier, and how fast it could.

The latter by Little's law, slots = starts a second x seconds kept: Little, Operations Research 9(3), 1961.
"""

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


def expected_starts_per_s(
    beats: Collection[Beat], tier: Tier, weights: Mapping[Tier, float], now_ms: int
) -> float:
    """How many runs of the tier will get a slot a second while it has some that wait. weights: of this
    tier and of the others in which runs wait.

    What was seen is too little where few were asked for, or where workers have just begun: so it is
    at least what the slots do that those tiers share which wait. 0 where none has got one: nothing is known
    then.
    """
    seen = fleet_starts_per_s(beats, tier, now_ms)
    slot_s = fleet_slot_s(beats, tier, now_ms)
    if not seen or not slot_s:
        return seen
    slots = sum(beat.slots for beat in beats if beat.is_fresh(now_ms))
    kept = sum(
        fleet_starts_per_s(beats, other, now_ms) * fleet_slot_s(beats, other, now_ms)
        for other in Tier
        if other not in weights
    )
    share = weights[tier] / sum(weights.values())
    return max(seen, (slots - kept) * share / slot_s)
