"""Turns between lanes: shares by weight, nobody starves, nobody hoards."""

from collections import Counter
from collections.abc import Collection
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.lanes import BY_PRIORITY, LANES, Lane, Turns
from chatcore.domain.tiers import LIMITS, Tier

FREE, PLUS, PRO = Lane(Tier.FREE), Lane(Tier.PLUS), Lane(Tier.PRO)


def served(turns: Turns, backlogged: Collection[Lane], times: int) -> list[Lane]:
    order = []
    for _ in range(times):
        lane = turns.order(backlogged)[0]
        turns.take(lane, backlogged)
        order.append(lane)
    return order


def test_every_tier_has_a_lane() -> None:
    assert {lane.tier for lane in LANES} == set(Tier) == set(BY_PRIORITY)
    assert [str(lane) for lane in LANES] == ["pro-0", "plus-0", "free-0"]


@pytest.mark.parametrize("lanes", [(FREE, PRO), (FREE, PLUS), (PLUS, PRO), (FREE, PLUS, PRO)])
def test_shares_follow_the_weights(lanes: tuple[Lane, ...]) -> None:
    total = sum(LIMITS[lane.tier].weight for lane in lanes)
    counts = Counter(served(Turns(), lanes, 10 * total))
    assert counts == {lane: 10 * LIMITS[lane.tier].weight for lane in lanes}


def test_the_lowest_waits_no_longer_than_a_round() -> None:
    order = served(Turns(), LANES, 200)
    places = [place for place, lane in enumerate(order) if lane == FREE]
    gaps = [later - earlier for earlier, later in pairwise(places)]
    total = sum(limits.weight for limits in LIMITS.values())
    assert max([places[0] + 1, *gaps]) <= 2 * total


def test_a_lane_alone_has_every_turn() -> None:
    assert set(served(Turns(), [FREE], 20)) == {FREE}


def test_at_equal_claims_the_higher_tier_goes_first() -> None:
    even = Turns(weights=dict.fromkeys(Tier, 1))
    assert even.order([FREE, PLUS, PRO]) == [PRO, PLUS, FREE]


def test_an_idle_tier_hoards_nothing() -> None:
    turns = Turns()
    served(turns, [FREE], 1_000)
    order = served(turns, LANES, 26)
    # PRO has had no turn for long, yet it gets its share from now on, and no more.
    assert Counter(order) == {PRO: 16, PLUS: 8, FREE: 2}


def test_looking_changes_nothing() -> None:
    turns = Turns()
    served(turns, LANES, 5)
    before = turns.order(LANES)
    for _ in range(50):
        assert turns.order(LANES) == before


def test_no_backlog_is_no_order() -> None:
    assert Turns().order([]) == []


@given(st.lists(st.sets(st.sampled_from(LANES), min_size=1), max_size=120))
def test_claims_stay_bounded_whatever_has_work(backlogs: list[set[Lane]]) -> None:
    turns = Turns()
    for backlog in backlogs:
        order = turns.order(backlog)
        assert sorted(map(str, order)) == sorted(map(str, backlog))
        turns.take(order[0], backlog)
    # However the past went, nobody is shut out for longer than a few rounds.
    assert set(served(turns, LANES, 80)) == set(LANES)
