"""Turns between tiers: service by weight, nobody starves, nobody hoards."""

from collections import Counter
from collections.abc import Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.lanes import (
    AGING_TOKENS_PER_S,
    BY_PRIORITY,
    FIRST_GUESS_TOKENS,
    JUMP_TOKENS,
    Turns,
)
from chatcore.domain.tiers import DEFAULTS, USER_TIERS, Tier

FREE, PLUS, PRO = Tier.FREE, Tier.PLUS, Tier.PRO
COST = 700.0


def at_once(tiers: Collection[Tier]) -> dict[Tier, float]:
    return dict.fromkeys(tiers, 0.0)


def served(
    turns: Turns, tiers: Collection[Tier], times: int, costs: Mapping[Tier, float] | None = None
) -> list[Tier]:
    """Who gets each turn when each run is over before the next begins."""
    order = []
    for _ in range(times):
        tier = turns.order(at_once(tiers))[0]
        ahead = turns.take(tier, tiers)
        turns.settle(tier, ahead, (costs or {}).get(tier, COST))
        order.append(tier)
    return order


@pytest.mark.parametrize("tiers", [(FREE, PRO), (FREE, PLUS), (PLUS, PRO), (FREE, PLUS, PRO)])
def test_runs_of_equal_cost_follow_the_weights(tiers: tuple[Tier, ...]) -> None:
    turns = Turns()
    served(turns, tiers, 100)
    total = sum(DEFAULTS[tier].weight for tier in tiers)
    counts = Counter(served(turns, tiers, 10 * total))
    assert all(abs(counts[tier] - 10 * DEFAULTS[tier].weight) <= 1 for tier in tiers)


def test_service_follows_the_weights_whatever_a_run_costs() -> None:
    turns = Turns()
    costs = {FREE: 3_000.0, PLUS: 500.0, PRO: 100.0}
    counts = Counter(served(turns, USER_TIERS, 5_000, costs))
    tokens = {tier: counts[tier] * costs[tier] for tier in USER_TIERS}
    total = sum(tokens.values())
    weights = sum(DEFAULTS[tier].weight for tier in USER_TIERS)
    for tier in USER_TIERS:
        assert tokens[tier] / total == pytest.approx(DEFAULTS[tier].weight / weights, rel=0.03)


def test_runs_under_way_are_charged_ahead() -> None:
    turns = Turns(weights=dict.fromkeys(Tier, 1))
    taken = []
    for _ in range(12):
        taken.append(turns.order(at_once(USER_TIERS))[0])
        turns.take(taken[-1], USER_TIERS)
    # Each of the higher ones is ahead first, by as much as it may be.
    runs = round(JUMP_TOKENS / FIRST_GUESS_TOKENS) + 1
    assert taken[: 2 * runs] == [PRO] * runs + [PLUS] * runs
    assert Counter(taken[2 * runs :]) == {PRO: 2, PLUS: 2, FREE: 2}


def test_a_job_that_was_none_costs_nothing_and_tells_nothing() -> None:
    turns = Turns()
    served(turns, [PRO, FREE], 100)
    order = turns.order(at_once([PRO, FREE]))
    aheads = set()
    for _ in range(50):
        aheads.add(turns.take(FREE, [PRO, FREE]))
        turns.settle(FREE, max(aheads), 0)
    assert len(aheads) == 1
    assert turns.order(at_once([PRO, FREE])) == order


def test_a_tier_alone_has_every_turn() -> None:
    assert set(served(Turns(), [FREE], 20)) == {FREE}


def test_at_equal_claims_the_higher_tier_goes_first() -> None:
    even = Turns(weights=dict.fromkeys(Tier, 1))
    assert even.order(at_once([FREE, PLUS, PRO])) == [PRO, PLUS, FREE]


def test_an_idle_tier_saves_nothing_up() -> None:
    turns = Turns()
    served(turns, [FREE], 1_000)
    # PRO has had no turn for long, yet it gets its share from now on, and once as much more as it may be
    # ahead.
    served(turns, USER_TIERS, round(JUMP_TOKENS * DEFAULTS[PRO].weight / COST) + 20)
    counts = Counter(served(turns, USER_TIERS, 130))
    assert counts[PRO] == pytest.approx(80, abs=2)
    assert counts[FREE] == pytest.approx(10, abs=2)


def test_a_tier_that_is_back_owes_nothing_either() -> None:
    turns = Turns()
    served(turns, [PRO], 5)
    served(turns, [FREE, PLUS], 1_000)
    assert turns.order(at_once([FREE, PRO]))[0] is PRO


def test_who_has_waited_long_is_moved_forward() -> None:
    turns = Turns()
    served(turns, [PRO, FREE], 200)
    ahead = turns.take(FREE, [PRO, FREE])
    turns.settle(FREE, ahead, 10 * COST)
    assert turns.order({PRO: 0.0, FREE: 0.0})[0] is PRO
    long_s = 12 * COST / AGING_TOKENS_PER_S
    assert turns.order({PRO: 0.0, FREE: long_s})[0] is FREE


def test_weights_that_change_count_from_then_on() -> None:
    weights = {FREE: 1.0, PRO: 4.0}
    turns = Turns(weights=weights)
    assert Counter(served(turns, [FREE, PRO], 100))[PRO] == pytest.approx(80, abs=2)
    weights[FREE] = 4.0
    assert Counter(served(turns, [FREE, PRO], 100))[PRO] == pytest.approx(50, abs=2)


def test_looking_changes_nothing() -> None:
    turns = Turns()
    served(turns, USER_TIERS, 5)
    before = turns.order(at_once(USER_TIERS))
    for _ in range(50):
        assert turns.order(at_once(USER_TIERS)) == before


def test_no_backlog_is_no_order() -> None:
    assert Turns().order({}) == []


@given(st.lists(st.sets(st.sampled_from(Tier), min_size=1), max_size=120))
def test_claims_stay_bounded_whatever_has_work(backlogs: list[set[Tier]]) -> None:
    turns = Turns()
    for backlog in backlogs:
        order = turns.order(at_once(backlog))
        assert set(order) == backlog
        turns.settle(order[0], turns.take(order[0], backlog), COST)
    # However the past went, nobody is shut out for longer than a few rounds.
    assert set(served(turns, BY_PRIORITY, 80)) == set(Tier)


def test_work_in_the_background_comes_last_and_takes_what_the_free_tier_may() -> None:
    turns = Turns()
    assert turns.order(at_once(BY_PRIORITY)) == list(BY_PRIORITY)
    assert BY_PRIORITY[-1] is Tier.BACKGROUND
    counts = Counter(served(turns, (FREE, Tier.BACKGROUND), 1_000))
    assert counts[Tier.BACKGROUND] == pytest.approx(500, abs=2)
