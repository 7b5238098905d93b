"""How fast slots are given, and how long they are kept."""

import pytest

from chatcore.domain.tiers import Tier
from gpu_service.worker.pace import FIRST_GUESS_S, OVER_S, SHARE, Pace


class Clock:
    now_s = 1_000.0


def pace_of(clock: Clock) -> Pace:
    return Pace(lambda: clock.now_s)


def test_nothing_has_begun_yet() -> None:
    pace = pace_of(Clock())
    assert pace.starts_per_s() == dict.fromkeys(Tier, 0.0)
    assert pace.slot_s() == dict.fromkeys(Tier, FIRST_GUESS_S)


def test_starts_count_for_their_tier_while_they_are_of_the_time_just_past() -> None:
    clock = Clock()
    pace = pace_of(clock)
    for _ in range(6):
        pace.began(Tier.FREE)
    clock.now_s += OVER_S / 2
    pace.began(Tier.FREE)
    pace.began(Tier.PRO)
    none = dict.fromkeys(Tier, 0.0)
    assert pace.starts_per_s() == {**none, Tier.FREE: 7 / OVER_S, Tier.PRO: 1 / OVER_S}
    clock.now_s += OVER_S / 2 + 0.001
    assert pace.starts_per_s()[Tier.FREE] == 1 / OVER_S
    clock.now_s += OVER_S
    assert pace.starts_per_s() == dict.fromkeys(Tier, 0.0)


def test_the_time_that_slots_are_kept_follows_what_they_were() -> None:
    pace = pace_of(Clock())
    pace.ended(Tier.FREE, FIRST_GUESS_S + 8)
    assert pace.slot_s()[Tier.FREE] == pytest.approx(FIRST_GUESS_S + 8 * SHARE)
    assert pace.slot_s()[Tier.PRO] == FIRST_GUESS_S
    for _ in range(100):
        pace.ended(Tier.FREE, 3.0)
    assert pace.slot_s()[Tier.FREE] == pytest.approx(3.0, abs=0.01)


def test_what_is_told_does_not_change_afterwards() -> None:
    pace = pace_of(Clock())
    told = pace.slot_s()
    pace.ended(Tier.FREE, 99.0)
    assert told[Tier.FREE] == FIRST_GUESS_S
