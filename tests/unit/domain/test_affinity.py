"""Affinity: who is offered a run, and for how long others leave it to its favourite."""

from dataclasses import replace

from chatcore.domain.affinity import (
    PATIENCE_MS,
    TWIN_DELAY_S,
    Leave,
    favours,
    leave,
    offer_stands,
)
from chatcore.domain.beat import BEAT_EVERY_MS, BEAT_FRESH_MS, Beat
from chatcore.domain.lease import HIDDEN_S

NOW_MS = 1_700_000_000_000
BEAT = Beat("w-1", "inbox-1", NOW_MS, slots=4, free_slots=0, offers=0)
LONG_MS = 60_000


class TestOffers:
    def test_a_full_favourite_is_offered_it_for_a_slot_will_be_free(self) -> None:
        assert favours(BEAT, NOW_MS)

    def test_nobody_is_offered_what_nobody_has(self) -> None:
        assert not favours(None, NOW_MS)

    def test_a_beat_is_believed_as_long_as_it_is_fresh(self) -> None:
        assert favours(BEAT, NOW_MS + BEAT_FRESH_MS)
        assert not favours(BEAT, NOW_MS + BEAT_FRESH_MS + 1)

    def test_one_lost_beat_does_not_make_a_worker_dead(self) -> None:
        assert favours(BEAT, NOW_MS + 2 * BEAT_EVERY_MS)

    def test_a_clock_that_is_ahead_does_no_harm(self) -> None:
        assert favours(replace(BEAT, beat_ms=NOW_MS + 500), NOW_MS)

    def test_there_is_room_for_what_is_begun_within_about_one_run(self) -> None:
        assert favours(replace(BEAT, offers=3), NOW_MS)
        assert not favours(replace(BEAT, offers=4), NOW_MS)
        assert favours(replace(BEAT, offers=4, free_slots=1), NOW_MS)

    def test_a_worker_without_slots_has_no_room(self) -> None:
        assert not favours(replace(BEAT, slots=0), NOW_MS)

    def test_an_offer_stands_until_the_patience_is_over(self) -> None:
        assert offer_stands(NOW_MS, NOW_MS + PATIENCE_MS - 1)
        assert not offer_stands(NOW_MS, NOW_MS + PATIENCE_MS)


class TestLeaving:
    def test_a_run_that_was_offered_is_left_for_the_rest_of_the_patience(self) -> None:
        left = leave(BEAT, NOW_MS - 1_500, NOW_MS, LONG_MS, others_wait=True)
        assert left == Leave(hide_s=9, offered_ms=NOW_MS - 1_500, is_new=False)

    def test_one_that_was_not_is_offered_now(self) -> None:
        left = leave(BEAT, None, NOW_MS, LONG_MS, others_wait=True)
        assert left == Leave(hide_s=PATIENCE_MS // 1000, offered_ms=NOW_MS, is_new=True)

    def test_it_is_hidden_until_the_favourite_has_given_up(self) -> None:
        for age_ms in range(0, PATIENCE_MS, 777):
            now_ms = NOW_MS + age_ms
            left = leave(replace(BEAT, beat_ms=now_ms), NOW_MS, now_ms, LONG_MS, others_wait=True)
            assert left is not None
            assert not offer_stands(NOW_MS, now_ms + 1000 * left.hide_s)
            assert offer_stands(NOW_MS, now_ms + 1000 * (left.hide_s - 1))

    def test_it_is_taken_once_the_patience_is_over(self) -> None:
        assert leave(BEAT, NOW_MS - PATIENCE_MS, NOW_MS, LONG_MS, others_wait=True) is None

    def test_it_is_taken_where_the_favourite_is_dead_or_gone(self) -> None:
        dead = replace(BEAT, beat_ms=NOW_MS - BEAT_FRESH_MS - 1)
        assert leave(dead, NOW_MS - 1_000, NOW_MS, LONG_MS, others_wait=True) is None
        assert leave(None, NOW_MS - 1_000, NOW_MS, LONG_MS, others_wait=True) is None

    def test_it_is_not_offered_anew_where_there_is_no_room(self) -> None:
        full = replace(BEAT, offers=4)
        assert leave(full, None, NOW_MS, LONG_MS, others_wait=True) is None
        assert leave(full, NOW_MS, NOW_MS, LONG_MS, others_wait=True) is not None

    def test_a_slot_idles_for_a_prefix_no_longer_than_it_would_take_to_make(self) -> None:
        left = leave(BEAT, NOW_MS - 1_000, NOW_MS, 3_000, others_wait=False)
        assert left == Leave(hide_s=2, offered_ms=NOW_MS - 1_000, is_new=False)
        assert leave(BEAT, NOW_MS - 1_000, NOW_MS, 1_000, others_wait=False) is None
        assert leave(BEAT, None, NOW_MS, 0, others_wait=False) is None

    def test_nor_longer_than_the_patience(self) -> None:
        left = leave(BEAT, NOW_MS, NOW_MS, 10 * LONG_MS, others_wait=False)
        assert left == Leave(PATIENCE_MS // 1000, NOW_MS, is_new=False)


def test_a_favourite_that_dies_costs_less_than_a_worker_that_dies_in_the_midst_of_an_answer() -> (
    None
):
    assert TWIN_DELAY_S + PATIENCE_MS / 1000 < HIDDEN_S
