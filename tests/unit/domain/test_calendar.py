"""The calendar: every run has one lane, nearer ones come first, none is lost when the front moves."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.calendar import (
    AHEAD,
    ENTRY_PACE_MS,
    LANES,
    QUANTUM,
    RING,
    Backlog,
    Calendar,
    jobs_ahead,
    lane_of,
    latest_number,
    number_for,
    number_in,
    paced,
    rank,
    returns_of,
)
from chatcore.domain.lanes import BY_PRIORITY, RETURNS, Lane
from chatcore.domain.tiers import USER_TIERS, Tier

FRONTS = st.integers(0, 1_000_000)


def test_every_tier_has_a_ring_and_a_lane_of_returns() -> None:
    assert {lane.tier for lane in LANES} == set(Tier) == set(BY_PRIORITY)
    free = [lane for lane in LANES if lane.tier is Tier.FREE]
    assert {lane.index for lane in free} == {RETURNS, *range(RING)}
    background = [lane for lane in LANES if lane.tier is Tier.BACKGROUND]
    assert [lane.index for lane in background] == [RETURNS]
    assert len(LANES) == len(set(LANES)) == len(USER_TIERS) * (RING + 1) + 1


@given(front=FRONTS, tag=st.integers(0, 10**9))
def test_a_run_waits_where_its_tag_says_within_the_ring(front: int, tag: int) -> None:
    number = number_for(tag, front)
    assert front <= number < front + AHEAD
    assert number in (front, tag // QUANTUM, front + AHEAD - 1)
    assert number_in(lane_of(Tier.FREE, number), front) == number


@given(front=FRONTS, tags=st.lists(st.integers(0, 10**9), min_size=2, max_size=2))
def test_who_is_less_far_is_never_behind(front: int, tags: list[int]) -> None:
    first, second = sorted(tags)
    assert number_for(first, front) <= number_for(second, front)


@given(front=FRONTS)
def test_lanes_are_looked_at_returns_first_then_strays_then_in_order(front: int) -> None:
    ring = [Lane(Tier.PRO, index) for index in range(RING)]
    nearest_first = sorted([*ring, returns_of(Tier.PRO)], key=lambda lane: rank(lane, front))
    assert nearest_first[0].index == RETURNS
    numbers = [number_in(lane, front) for lane in nearest_first[1:]]
    assert numbers == list(range(front - 1, front + AHEAD))


@given(front=FRONTS, ahead=st.integers(0, AHEAD - 1))
def test_a_job_put_where_the_front_has_just_left_is_looked_at_before_all_others(
    front: int, ahead: int
) -> None:
    stray = lane_of(Tier.FREE, front)
    moved = front + 1
    assert rank(stray, moved) < rank(lane_of(Tier.FREE, moved + ahead), moved)
    # And nobody who knows the front uses that lane for what is far ahead.
    assert stray != lane_of(Tier.FREE, number_for(10**9, moved))


def test_virtual_time_is_where_the_front_begins() -> None:
    assert Calendar(Tier.FREE, 7).virtual_time == 7 * QUANTUM
    assert number_for(Calendar(Tier.FREE, 7).virtual_time, 7) == 7


@pytest.mark.parametrize(
    ("lane", "ahead"),
    [(returns_of(Tier.FREE), 1), (lane_of(Tier.FREE, 20), 1 + 2 + 3), (lane_of(Tier.FREE, 22), 11)],
)
def test_ahead_of_a_job_is_what_is_in_nearer_lanes_and_in_its_own(lane: Lane, ahead: int) -> None:
    indexes = {RETURNS: 1, 19 % RING: 2, 20 % RING: 3, 22 % RING: 5, 23 % RING: 7}
    assert jobs_ahead(Backlog(waiting=indexes), lane, 20) == ahead


@given(front=FRONTS, tag=st.integers(0, 10**9), waited_ms=st.integers(0, 10**7))
def test_who_has_waited_is_put_no_further_than_who_has_not(
    front: int, tag: int, waited_ms: int
) -> None:
    number = latest_number(tag, front, waited_ms)
    assert front <= number <= latest_number(tag, front, 0) == number_for(tag, front)


def test_who_has_waited_for_long_is_not_put_off_at_all() -> None:
    far = 10**9
    assert latest_number(far, 5, ENTRY_PACE_MS) == 5 + AHEAD - 2
    assert latest_number(far, 5, (AHEAD - 1) * ENTRY_PACE_MS) == 5


WITH_WORK = Calendar(Tier.FREE, 5, Backlog(waiting={0: 1}), entry=5, entry_ms=0)


def test_who_comes_new_starts_later_and_later_while_the_front_stands_still() -> None:
    early = paced(WITH_WORK, ENTRY_PACE_MS - 1)
    assert early.entry_time == early.virtual_time == 5 * QUANTUM
    later = paced(WITH_WORK, ENTRY_PACE_MS)
    assert later.entry_time == 6 * QUANTUM
    assert later.virtual_time == 5 * QUANTUM
    assert paced(later, 2 * ENTRY_PACE_MS - 1) == later
    assert paced(later, 2 * ENTRY_PACE_MS).entry == 7


def test_never_beyond_the_ring() -> None:
    furthest = replace(WITH_WORK, entry=5 + AHEAD - 1)
    assert paced(furthest, ENTRY_PACE_MS).entry == 5 + AHEAD - 1


@pytest.mark.parametrize(
    "changed", [replace(WITH_WORK, front=7, entry=6), replace(WITH_WORK, backlog=Backlog())]
)
def test_where_the_front_is_once_it_has_moved_on_or_nothing_waits(changed: Calendar) -> None:
    calendar = paced(changed, ENTRY_PACE_MS)
    assert calendar.entry_time == calendar.virtual_time
    assert calendar.entry_ms == ENTRY_PACE_MS


def test_a_front_that_has_moved_beyond_counts_before_anybody_has_said_so() -> None:
    assert replace(WITH_WORK, front=9).entry_time == 9 * QUANTUM
