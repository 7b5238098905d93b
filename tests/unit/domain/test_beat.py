"""What workers say of themselves, and for how long it is believed."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from chatcore.domain.beat import (
    BEAT_EVERY_MS,
    BEAT_FRESH_MS,
    Beat,
    expected_starts_per_s,
    fleet_slot_s,
    fleet_starts_per_s,
)
from chatcore.domain.tiers import Tier

NOW_MS = 1_800_000_000_000


def beat(age_ms: int = 0, starts_per_s: float = 0.5, slot_s: float = 10.0) -> Beat:
    return Beat(
        worker_id=f"worker-{age_ms}",
        inbox="inbox",
        beat_ms=NOW_MS - age_ms,
        slots=8,
        free_slots=0,
        starts_per_s={Tier.FREE: starts_per_s},
        slot_s={Tier.FREE: slot_s},
    )


@pytest.mark.parametrize(
    ("age_ms", "fresh"), [(0, True), (BEAT_FRESH_MS, True), (BEAT_FRESH_MS + 1, False)]
)
def test_a_beat_is_believed_for_a_while(age_ms: int, fresh: bool) -> None:
    assert beat(age_ms).is_fresh(NOW_MS) is fresh


def test_one_lost_beat_and_a_second_between_clocks_do_not_make_a_worker_dead() -> None:
    assert beat(2 * BEAT_EVERY_MS + 1_000).is_fresh(NOW_MS)


def test_a_clock_that_is_ahead_is_believed() -> None:
    assert beat(-1_000).is_fresh(NOW_MS)


def test_the_fleets_pace_is_that_of_those_that_live() -> None:
    beats = [beat(0, 0.5), beat(1_000, 0.25), beat(BEAT_FRESH_MS + 1, 100.0)]
    assert fleet_starts_per_s(beats, Tier.FREE, NOW_MS) == 0.75
    assert fleet_starts_per_s(beats, Tier.PRO, NOW_MS) == 0.0
    assert fleet_starts_per_s([], Tier.FREE, NOW_MS) == 0.0


def test_how_long_a_slot_is_kept_is_the_mean_of_those_that_live_and_know() -> None:
    knows_nothing = Beat("worker-9", "inbox", NOW_MS, 8, 0)
    beats = [beat(0, slot_s=10.0), beat(1, slot_s=20.0), beat(BEAT_FRESH_MS + 1, slot_s=900.0)]
    assert fleet_slot_s([*beats, knows_nothing], Tier.FREE, NOW_MS) == 15.0
    assert fleet_slot_s(beats, Tier.PLUS, NOW_MS) == 0.0
    assert fleet_slot_s([], Tier.FREE, NOW_MS) == 0.0


class TestExpectedStarts:
    """Of two workers of eight slots, each kept for ten seconds: 1.6 a second."""

    ALONE: Mapping[Tier, float] = MappingProxyType({Tier.FREE: 1.0})

    @staticmethod
    def beats(free: float, pro: float = 0.0) -> list[Beat]:
        return [
            Beat(
                worker_id,
                "inbox",
                NOW_MS,
                slots=8,
                free_slots=0,
                starts_per_s={Tier.FREE: free, Tier.PRO: pro},
                slot_s={Tier.FREE: 10.0, Tier.PRO: 20.0},
            )
            for worker_id in ("w-1", "w-2")
        ]

    def test_are_what_the_slots_do_where_few_were_asked_for(self) -> None:
        beats = self.beats(1 / 30)
        assert expected_starts_per_s(beats, Tier.FREE, self.ALONE, NOW_MS) == pytest.approx(1.6)

    def test_are_what_was_seen_where_that_is_more(self) -> None:
        assert expected_starts_per_s(self.beats(1.0), Tier.FREE, self.ALONE, NOW_MS) == 2.0

    def test_are_by_the_weights_of_the_tiers_that_wait(self) -> None:
        weights = {Tier.FREE: 1.0, Tier.PRO: 3.0}
        beats = self.beats(1 / 30, pro=0.1)
        assert expected_starts_per_s(beats, Tier.FREE, weights, NOW_MS) == pytest.approx(0.4)
        assert expected_starts_per_s(beats, Tier.PRO, weights, NOW_MS) == pytest.approx(0.6)

    def test_leave_the_tiers_that_do_not_wait_the_slots_they_have(self) -> None:
        # Two tenths a second for 20 s each: four of sixteen slots.
        beats = self.beats(1 / 30, pro=0.1)
        assert expected_starts_per_s(beats, Tier.FREE, self.ALONE, NOW_MS) == pytest.approx(1.2)

    def test_of_which_others_leave_nothing_are_what_was_seen(self) -> None:
        beats = self.beats(1 / 32, pro=0.5)
        assert expected_starts_per_s(beats, Tier.FREE, self.ALONE, NOW_MS) == 1 / 16

    def test_are_not_known_where_none_was_seen(self) -> None:
        assert expected_starts_per_s(self.beats(0.0), Tier.FREE, self.ALONE, NOW_MS) == 0.0
        assert expected_starts_per_s([], Tier.FREE, self.ALONE, NOW_MS) == 0.0

    def test_count_the_slots_of_those_that_live(self) -> None:
        dead = beat(BEAT_FRESH_MS + 1)
        beats = [*self.beats(1 / 30), dead]
        assert expected_starts_per_s(beats, Tier.FREE, self.ALONE, NOW_MS) == pytest.approx(1.6)

    def test_are_what_was_seen_where_nobody_tells_how_long_a_slot_is_kept(self) -> None:
        silent = Beat("w-1", "inbox", NOW_MS, 8, 0, starts_per_s={Tier.FREE: 0.25})
        assert expected_starts_per_s([silent], Tier.FREE, self.ALONE, NOW_MS) == 0.25
