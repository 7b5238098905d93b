"""Who has to leave his slot: of the lowest tier the one that loses least, and nobody for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.lanes import BY_PRIORITY
from chatcore.domain.preemption import MAX_PREEMPTIONS, Candidate, victim
from chatcore.domain.tiers import Tier

CANDIDATES = st.lists(
    st.builds(
        Candidate,
        run_id=st.uuids().map(str),
        tier=st.sampled_from(Tier),
        tokens=st.integers(0, 9_000),
        preemptions=st.integers(0, MAX_PREEMPTIONS + 1),
    ),
    max_size=12,
)


def candidate(run_id: str, tier: Tier, tokens: int, preemptions: int = 0) -> Candidate:
    return Candidate(run_id, tier, tokens, preemptions)


def test_of_a_tier_the_one_that_loses_least_leaves() -> None:
    runs = [candidate(f"r_{tokens}", Tier.FREE, tokens) for tokens in (900, 30, 400)]
    assert victim(runs, Tier.PRO) == runs[1]


def test_the_lowest_tier_leaves_first_whatever_it_loses() -> None:
    plus, free = candidate("r_1", Tier.PLUS, 1), candidate("r_2", Tier.FREE, 9_000)
    assert victim([plus, free], Tier.PRO) == free
    assert victim([plus], Tier.PRO) == plus


@pytest.mark.parametrize("tier", Tier)
def test_nobody_leaves_for_his_own_tier_or_a_lower_one(tier: Tier) -> None:
    others = BY_PRIORITY[: BY_PRIORITY.index(tier) + 1]
    assert victim([candidate(f"r_{each}", each, 1) for each in others], tier) is None


def test_who_had_to_leave_often_enough_stays() -> None:
    worn = candidate("r_1", Tier.FREE, 1, MAX_PREEMPTIONS)
    fresh = candidate("r_2", Tier.FREE, 500, MAX_PREEMPTIONS - 1)
    assert victim([worn, fresh], Tier.PRO) == fresh
    assert victim([worn], Tier.PRO) is None


@given(candidates=CANDIDATES, tier=st.sampled_from(Tier))
def test_the_choice_is_the_same_in_whatever_order_they_are_seen(
    candidates: list[Candidate], tier: Tier
) -> None:
    chosen = victim(candidates, tier)
    assert victim(candidates[::-1], tier) == chosen
    if chosen is not None:
        assert BY_PRIORITY.index(chosen.tier) > BY_PRIORITY.index(tier)
        assert chosen.preemptions < MAX_PREEMPTIONS
