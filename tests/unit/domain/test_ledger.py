"""A user's account: never below zero, never charged twice, and closed when it is used up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.ledger import (
    Ledger,
    cost_tokens,
    current,
    estimate_tokens,
    reservation,
    reserve,
    settle,
)
from chatcore.domain.run import Usage
from chatcore.domain.tiers import LIMITS, Tier, TierLimits

LIMITS_SMALL = TierLimits(
    weight=1,
    max_active_runs=2,
    budget_tokens=100,
    window_ms=1_000,
    max_text_chars=50,
    context_tokens=40,
    max_output_tokens=10,
)
EMPTY = Ledger("user-alice")


def reserved(ledger: Ledger, run_id: str, tokens: int, now_ms: int = 0) -> Ledger:
    outcome = reserve(ledger, run_id, tokens, LIMITS_SMALL, now_ms)
    assert isinstance(outcome, Ledger)
    return outcome


def refused(ledger: Ledger, tokens: int, now_ms: int = 0) -> Refusal:
    outcome = reserve(ledger, "r_next", tokens, LIMITS_SMALL, now_ms)
    assert isinstance(outcome, Refusal)
    return outcome


def test_prefill_that_a_cache_spared_is_free_and_decoding_costs_double() -> None:
    assert cost_tokens(Usage(input_tokens=100, cached_tokens=60, output_tokens=7)) == 40 + 14


def test_reserving_opens_a_window_and_counts_the_version() -> None:
    ledger = reserved(EMPTY, "r_1", 30, now_ms=500)
    assert (ledger.active, ledger.window_ends_ms, ledger.version) == ({"r_1": 30}, 1_500, 1)
    assert ledger.used_tokens == ledger.settled_tokens == 0


def test_a_second_run_stays_in_the_window_of_the_first() -> None:
    ledger = reserved(reserved(EMPTY, "r_1", 30, 500), "r_2", 30, 900)
    assert (ledger.window_ends_ms, ledger.version, ledger.reserved_tokens) == (1_500, 2, 60)


def test_as_many_runs_as_the_plan_allows() -> None:
    ledger = reserved(reserved(EMPTY, "r_1", 1), "r_2", 1)
    assert refused(ledger, 1).code is Code.TOO_MANY_ACTIVE_RUNS


def test_up_to_the_budget_and_not_a_token_beyond() -> None:
    ledger = reserved(EMPTY, "r_1", 60)
    assert reserved(ledger, "r_2", 40).reserved_tokens == 100
    refusal = refused(ledger, 41)
    assert (refusal.code, refusal.retry_at_ms) == (Code.BUDGET_EXHAUSTED, 1_000)


def test_what_was_used_counts_until_the_window_is_over() -> None:
    ledger = settle(reserved(EMPTY, "r_1", 60), "r_1", 90)
    assert ledger is not None
    assert refused(ledger, 20, now_ms=999).retry_at_ms == 1_000
    again = reserved(ledger, "r_2", 20, now_ms=1_000)
    assert (again.used_tokens, again.window_ends_ms, again.settled_tokens) == (0, 2_000, 90)


def test_a_run_that_outlives_its_window_still_holds_its_reservation() -> None:
    ledger = reserved(EMPTY, "r_1", 90)
    assert refused(ledger, 20, now_ms=5_000).code is Code.BUDGET_EXHAUSTED


def test_settling_twice_is_told_apart() -> None:
    once = settle(reserved(EMPTY, "r_1", 60), "r_1", 50)
    assert once is not None
    assert (once.active, once.used_tokens, once.settled_tokens) == ({}, 50, 50)
    assert settle(once, "r_1", 50) is None


def test_current_changes_nothing_inside_the_window() -> None:
    ledger = replace(EMPTY, used_tokens=5, window_ends_ms=100)
    assert current(ledger, 99) is ledger
    assert current(ledger, 100).used_tokens == 0


@pytest.mark.parametrize("tier", Tier)
def test_a_reservation_never_asks_for_more_than_a_context_can_hold(tier: Tier) -> None:
    limits = LIMITS[tier]
    most = reservation("😀" * limits.max_text_chars, limits.context_tokens, limits)
    assert most == limits.context_tokens - limits.max_output_tokens + 2 * limits.max_output_tokens
    # A user can always send something.
    assert most <= limits.budget_tokens


@given(text=st.text(max_size=200), context=st.integers(0, 100_000))
def test_a_reservation_is_at_least_the_answer_and_grows_with_the_text(
    text: str, context: int
) -> None:
    limits = LIMITS[Tier.PRO]
    small, large = reservation("", context, limits), reservation(text, context, limits)
    assert 2 * limits.max_output_tokens < small <= large


@given(st.text(max_size=300))
def test_the_estimate_is_above_a_token_a_word(text: str) -> None:
    assert estimate_tokens(text) >= len(text.split(" ")) // 3


class Account(RuleBasedStateMachine):
    """Whatever happens in whichever order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = EMPTY
        self.now_ms = 0
        self.settled: dict[str, int] = {}
        self.names = 0

    @rule(tokens=st.integers(0, 120))
    def reserve_one(self, tokens: int) -> None:
        self.names += 1
        outcome = reserve(self.ledger, f"r_{self.names}", tokens, LIMITS_SMALL, self.now_ms)
        if isinstance(outcome, Ledger):
            assert outcome.used_tokens + outcome.reserved_tokens <= LIMITS_SMALL.budget_tokens
            self.ledger = outcome

    @rule(number=st.integers(1, 40), cost=st.integers(0, 200))
    def settle_any(self, number: int, cost: int) -> None:
        run_id = f"r_{number}"
        outcome = settle(self.ledger, run_id, cost)
        assert (outcome is None) == (run_id not in self.ledger.active)
        if outcome is not None:
            assert run_id not in self.settled
            self.settled[run_id] = cost
            self.ledger = outcome

    @rule(ms=st.integers(0, 2_000))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @invariant()
    def holds(self) -> None:
        assert len(self.ledger.active) <= LIMITS_SMALL.max_active_runs
        assert self.ledger.settled_tokens == sum(self.settled.values())
        assert self.ledger.used_tokens >= 0
        assert all(tokens >= 0 for tokens in self.ledger.active.values())


TestAccount = Account.TestCase
