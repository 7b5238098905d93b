"""The local workers: what they are told agrees with what the product does."""

from chatcore.domain.tiers import DEFAULTS
from local import worker


def test_the_engine_has_room_for_what_every_tier_may_use_beyond_the_slots() -> None:
    assert max(limits.overcommit_slots for limits in DEFAULTS.values()) == worker.EXTRA_SLOTS
