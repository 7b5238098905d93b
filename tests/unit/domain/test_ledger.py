"""A user's account: never below zero, never charged twice, and closed when it is used up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.ledger import (
    FIRST_GUESS_TOKENS,
    GUESS_SHARE,
    Ledger,
    Window,
    cost_tokens,
    current,
    dispatched,
    estimate_tokens,
    guess,
    lost_with,
    reservation,
    reserve,
    scarcest,
    settle,
    virtual,
)
from chatcore.domain.run import Run, Usage
from chatcore.domain.tiers import DEFAULTS, USER_TIERS, Budget, Tier, TierLimits

LIMITS_SMALL = TierLimits(
    weight=1,
    overcommit_slots=0,
    max_active_runs=2,
    max_wait_s=120,
    budgets=(Budget(100, 1_000), Budget(250, 10_000)),
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


def test_reserving_opens_the_windows_and_counts_the_version() -> None:
    ledger = reserved(EMPTY, "r_1", 30, now_ms=500)
    assert (ledger.active, ledger.version, ledger.settled_tokens) == ({"r_1": 30}, 1, 0)
    assert ledger.windows == (Window(1_500), Window(10_500))


def test_a_second_run_stays_in_the_window_of_the_first() -> None:
    ledger = reserved(reserved(EMPTY, "r_1", 30, 500), "r_2", 30, 900)
    assert (ledger.version, ledger.reserved_tokens) == (2, 60)
    assert ledger.windows == (Window(1_500), Window(10_500))


def test_as_many_runs_as_the_plan_allows() -> None:
    ledger = reserved(reserved(EMPTY, "r_1", 1), "r_2", 1)
    assert refused(ledger, 1).code is Code.TOO_MANY_ACTIVE_RUNS


def test_up_to_the_budget_and_not_a_token_beyond() -> None:
    ledger = reserved(EMPTY, "r_1", 60)
    assert reserved(ledger, "r_2", 40).reserved_tokens == 100
    refusal = refused(ledger, 41)
    assert (refusal.code, refusal.retry_at_ms) == (Code.BUDGET_EXHAUSTED, 1_000)


def test_what_was_used_counts_until_the_window_is_over() -> None:
    ledger = settle(reserved(EMPTY, "r_1", 60), "r_1", 90, 1)
    assert ledger is not None
    assert refused(ledger, 20, now_ms=999).retry_at_ms == 1_000
    again = reserved(ledger, "r_2", 20, now_ms=1_000)
    assert again.windows == (Window(2_000, began_at_tokens=90), Window(10_000))
    assert [again.used_tokens(window) for window in again.windows] == [0, 90]


def test_each_budget_has_to_hold_and_the_last_to_free_says_when() -> None:
    ledger = EMPTY
    for number in range(3):
        outcome = settle(reserved(ledger, f"r_{number}", 80, 1_000 * number), f"r_{number}", 80, 1)
        assert outcome is not None
        ledger = outcome
    # In the short window there is room; of the long one 240 of 250 are used.
    refusal = refused(ledger, 20, now_ms=3_000)
    assert (refusal.code, refusal.retry_at_ms) == (Code.BUDGET_EXHAUSTED, 10_000)
    both = settle(reserved(ledger, "r_4", 10, 3_000), "r_4", 100, 1)
    assert both is not None
    assert refused(both, 20, now_ms=3_500).retry_at_ms == 10_000
    assert reserved(both, "r_5", 20, now_ms=10_000).windows == (
        Window(11_000, began_at_tokens=340),
        Window(20_000, began_at_tokens=340),
    )


def test_the_scarcest_budget_is_the_one_that_is_told() -> None:
    fresh = current(EMPTY, LIMITS_SMALL, 0)
    assert scarcest(fresh, LIMITS_SMALL) == (LIMITS_SMALL.budgets[0], Window())
    windows = (Window(1_000, began_at_tokens=190), Window(10_000))
    worn = current(replace(EMPTY, settled_tokens=200, windows=windows), LIMITS_SMALL, 500)
    assert scarcest(worn, LIMITS_SMALL) == (LIMITS_SMALL.budgets[1], windows[1])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_account_from_when_there_were_other_budgets_gets_todays(count: int) -> None:
    old = replace(EMPTY, settled_tokens=70, windows=(Window(9_000, 50),) * count)
    account = current(old, LIMITS_SMALL, 500)
    kept = [Window(9_000, 50)] * min(count, 2)
    assert account.windows == (*kept, *[Window(0, 70)] * (2 - len(kept)))


def test_a_run_that_outlives_its_window_still_holds_its_reservation() -> None:
    ledger = reserved(EMPTY, "r_1", 90)
    assert refused(ledger, 20, now_ms=5_000).code is Code.BUDGET_EXHAUSTED


def test_settling_twice_is_told_apart() -> None:
    once = settle(reserved(EMPTY, "r_1", 60), "r_1", 50, 1)
    assert once is not None
    assert (once.active, once.settled_tokens) == ({}, 50)
    assert settle(once, "r_1", 50, 1) is None


def test_current_changes_nothing_inside_the_windows() -> None:
    ledger = replace(EMPTY, settled_tokens=5, windows=(Window(100), Window(200)))
    assert current(ledger, LIMITS_SMALL, 99) is ledger
    assert current(ledger, LIMITS_SMALL, 100).windows == (Window(0, 5), Window(200))


@pytest.mark.parametrize("tier", USER_TIERS)
def test_a_reservation_never_asks_for_more_than_a_context_can_hold(tier: Tier) -> None:
    limits = DEFAULTS[tier]
    most = reservation("😀" * limits.max_text_chars, limits.context_tokens, limits)
    assert most == limits.context_tokens - limits.max_output_tokens + 2 * limits.max_output_tokens
    # A user can always send something.
    assert all(most <= budget.tokens for budget in limits.budgets)


@given(text=st.text(max_size=200), context=st.integers(0, 100_000))
def test_a_reservation_is_at_least_the_answer_and_grows_with_the_text(
    text: str, context: int
) -> None:
    limits = DEFAULTS[Tier.PRO]
    small, large = reservation("", context, limits), reservation(text, context, limits)
    assert 2 * limits.max_output_tokens < small <= large


@given(st.text(max_size=300))
def test_the_estimate_is_above_a_token_a_word(text: str) -> None:
    assert estimate_tokens(text) >= len(text.split(" ")) // 3


def started(ledger: Ledger, run_id: str, virtual_time: int = 0, weight: int = 1) -> Ledger:
    account = dispatched(ledger, run_id, Tier.FREE, virtual_time, weight)
    assert account is not None
    return account


class TestVirtualTime:
    def test_who_was_away_starts_where_the_others_are(self) -> None:
        assert EMPTY.start_tag(Tier.FREE, 5_000) == 5_000
        served = replace(EMPTY, served=3_000, tagged_tier=Tier.FREE)
        assert served.start_tag(Tier.FREE, 5_000) == 5_000
        assert served.start_tag(Tier.FREE, 2_000) == 3_000

    def test_a_tag_of_another_tier_counts_for_nothing(self) -> None:
        served = replace(EMPTY, served=90_000, tagged_tier=Tier.FREE)
        assert served.start_tag(Tier.PRO, 40) == 40
        account = dispatched(reserved(served, "r_1", 1), "r_1", Tier.PRO, 40, 8)
        assert account is not None
        assert account.tagged_tier is Tier.PRO
        assert account.finish_tag == 40 + account.charged["r_1"]

    def test_a_slot_is_charged_by_a_guess_and_then_by_what_it_cost(self) -> None:
        account = started(reserved(EMPTY, "r_1", 60), "r_1", virtual_time=1_000)
        assert account.charged == {"r_1": round(FIRST_GUESS_TOKENS * GUESS_SHARE)}
        assert account.finish_tag == 1_000 + account.charged["r_1"]
        over = settle(account, "r_1", 90, 1)
        assert over is not None
        assert (over.finish_tag, over.charged, over.served) == (1_090, {}, 90)

    def test_the_guess_follows_what_the_users_runs_cost(self) -> None:
        frugal = replace(EMPTY, settled_tokens=500, settled_runs=99)
        assert guess(frugal, 1) == round(GUESS_SHARE * (500 + FIRST_GUESS_TOKENS) / 100)
        assert guess(frugal, 8) == virtual(guess(frugal, 1), 8)

    def test_a_weight_divides_and_no_run_is_for_nothing(self) -> None:
        assert [virtual(tokens, 8) for tokens in (0, 1, 8, 9)] == [0, 1, 1, 2]

    def test_nobody_saves_up_while_he_is_away(self) -> None:
        ledger = EMPTY
        for number in range(3):
            ledger = started(reserved(ledger, f"r_{number}", 1), f"r_{number}", 10_000 * number)
            outcome = settle(ledger, f"r_{number}", 10, 1)
            assert outcome is not None
            ledger = outcome
        assert ledger.finish_tag == 20_010

    def test_runs_wait_in_the_order_of_their_admission_and_leave_when_they_start(self) -> None:
        ledger = reserved(reserved(EMPTY, "r_1", 1), "r_2", 1)
        assert ledger.waiting == ("r_1", "r_2")
        account = started(ledger, "r_1")
        assert (account.waiting, set(account.charged)) == (("r_2",), {"r_1"})
        assert dispatched(account, "r_1", Tier.FREE, 0, 1) is None

    def test_what_is_over_without_a_slot_only_leaves(self) -> None:
        ledger = settle(reserved(reserved(EMPTY, "r_1", 1), "r_2", 1), "r_1", 0, 1)
        assert ledger is not None
        # Its place in the lanes is the user's until somebody finds its job.
        assert ledger.waiting == ("r_1", "r_2")
        account = started(ledger, "r_1")
        assert (account.waiting, account.charged, account.lift) == (("r_2",), {}, 0)
        assert account.settled_runs == 0

    def test_whoever_starts_clears_the_places_of_those_that_are_over(self) -> None:
        ledger = settle(reserved(reserved(EMPTY, "r_1", 1), "r_2", 1), "r_1", 0, 1)
        assert ledger is not None
        assert started(ledger, "r_2").waiting == ()


class TestWhatAWorkerDidBeforeItDied:
    """Service that nobody is billed for, and that counts all the same."""

    RUN = Run(
        run_id="r_1",
        user_id="user-alice",
        chat_id="c_1",
        tier=Tier.PLUS,
        message_id="m_1",
        message_seq=1,
        digest="",
        created_ms=0,
        weight=4,
        spent=Usage(input_tokens=100, output_tokens=50),
    )

    def test_is_what_it_told_of_beyond_what_is_spent(self) -> None:
        assert lost_with(replace(self.RUN, charged=80)) == 80 - 200 // 4

    def test_adds_up_over_several(self) -> None:
        # The second holder's figure has the first one's loss in it.
        once = replace(self.RUN, lost=30, charged=110)
        assert lost_with(once) == 110 - 50

    @pytest.mark.parametrize("charged", [0, 20, 50])
    def test_is_nothing_where_it_told_of_nothing_new(self, charged: int) -> None:
        assert lost_with(replace(self.RUN, charged=charged)) == 0
        assert lost_with(replace(self.RUN, charged=charged, lost=7)) == 7

    def test_counts_in_virtual_time_and_not_in_the_budget(self) -> None:
        account = settle(reserved(EMPTY, "r_1", 60), "r_1", 40, 4, lost=25)
        assert account is not None
        assert (account.served, account.settled_tokens) == (10 + 25, 40)


class Account(RuleBasedStateMachine):
    """Whatever happens in whichever order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = EMPTY
        self.now_ms = 0
        self.settled: dict[str, int] = {}
        self.names = 0
        self.virtual_time = 0

    @rule(tokens=st.integers(0, 120))
    def reserve_one(self, tokens: int) -> None:
        self.names += 1
        outcome = reserve(self.ledger, f"r_{self.names}", tokens, LIMITS_SMALL, self.now_ms)
        if isinstance(outcome, Ledger):
            for budget, window in zip(LIMITS_SMALL.budgets, outcome.windows, strict=True):
                assert outcome.used_tokens(window) + outcome.reserved_tokens <= budget.tokens
            self.ledger = outcome

    @rule(number=st.integers(1, 40), cost=st.integers(0, 200))
    def settle_any(self, number: int, cost: int) -> None:
        run_id = f"r_{number}"
        outcome = settle(self.ledger, run_id, cost, 1)
        assert (outcome is None) == (run_id not in self.ledger.active)
        if outcome is not None:
            assert run_id not in self.settled
            self.settled[run_id] = cost
            self.ledger = outcome

    @rule(number=st.integers(1, 40), virtual_time=st.integers(0, 100))
    def start_any(self, number: int, virtual_time: int) -> None:
        run_id = f"r_{number}"
        before, at = self.ledger, self.virtual_time + virtual_time
        outcome = dispatched(before, run_id, Tier.FREE, at, 1)
        if outcome is None:
            return
        self.virtual_time = at
        self.ledger = outcome
        if run_id in outcome.charged:
            start = max(at, before.finish_tag) if before.tagged_tier else at
            assert outcome.finish_tag == start + outcome.charged[run_id]

    @rule(ms=st.integers(0, 2_000))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @invariant()
    def holds(self) -> None:
        assert len(self.ledger.active) <= LIMITS_SMALL.max_active_runs
        assert self.ledger.settled_tokens == sum(self.settled.values())
        assert all(self.ledger.used_tokens(window) >= 0 for window in self.ledger.windows)
        assert all(tokens >= 0 for tokens in self.ledger.active.values())
        active = set(self.ledger.active)
        # Each active run waits or has had its slot, never both.
        assert active == (active & set(self.ledger.waiting)) ^ set(self.ledger.charged)
        assert self.ledger.served == sum(self.settled.values())


TestAccount = Account.TestCase
