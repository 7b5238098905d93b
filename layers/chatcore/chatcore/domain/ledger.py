"""Owns a user's token account: what is reserved, what is used in its windows, what a run costs.

The account is reserved at submit and settled once, in the transaction that ends the run. A run
that is no longer in `active` has been settled; that is what makes settling twice impossible.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.run import Usage
from chatcore.domain.tiers import Budget, TierLimits


@dataclass(frozen=True, slots=True)
class Window:
    """A budget's. ends_ms: 0 where it has not begun; began_at_tokens: what the account had settled ever
    when it began. So what is used in it follows from one number that only grows, and a settlement need
    not know which windows there are."""

    ends_ms: int = 0
    began_at_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """active: reserved tokens by run id; windows: in the order of the tier's budgets; settled_tokens:
    charged ever; version: grows with each write."""

    user_id: str
    version: int = 0
    active: Mapping[str, int] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    settled_tokens: int = 0

    @property
    def reserved_tokens(self) -> int:
        return sum(self.active.values())

    def used_tokens(self, window: Window) -> int:
        """Charged since the window began."""
        return self.settled_tokens - window.began_at_tokens


def cost_tokens(usage: Usage) -> int:
    """Charged tokens: prefill that a cache spared costs nothing, decoding costs double.

    The 1 : 2 ratio is that of VTC (Sheng et al., OSDI 2024, section 4.1).
    """
    return (usage.input_tokens - usage.cached_tokens) + 2 * usage.output_tokens


def estimate_tokens(text: str) -> int:
    """An upper guess without a vocabulary: submit must not load one (it costs a cold start)."""
    return len(text.encode("utf-8")) // 3 + 8


def prompt_tokens(limits: TierLimits) -> int:
    """What of the context is left to the prompt."""
    return limits.context_tokens - limits.max_output_tokens


def reservation(text: str, context_tokens: int, limits: TierLimits) -> int:
    """What to hold back for a run until its true cost is known."""
    prompt = min(prompt_tokens(limits), context_tokens + estimate_tokens(text))
    return cost_tokens(Usage(input_tokens=prompt, output_tokens=limits.max_output_tokens))


def current(ledger: Ledger, limits: TierLimits, now_ms: int) -> Ledger:
    """The account as it stands now, with a window for each budget: one that is over counts no more."""
    fresh = Window(began_at_tokens=ledger.settled_tokens)
    known = (*ledger.windows, *(fresh for _ in limits.budgets))[: len(limits.budgets)]
    windows = tuple(window if now_ms < window.ends_ms else fresh for window in known)
    return ledger if windows == ledger.windows else replace(ledger, windows=windows)


def scarcest(ledger: Ledger, limits: TierLimits) -> tuple[Budget, Window]:
    """Of a current account, the budget of which the greatest part is used, and its window."""
    return max(
        zip(limits.budgets, ledger.windows, strict=True),
        key=lambda each: ledger.used_tokens(each[1]) / each[0].tokens,
    )


def reserve(
    ledger: Ledger, run_id: str, tokens: int, limits: TierLimits, now_ms: int
) -> Ledger | Refusal:
    """The account with the run in it, or why it is not admitted. Windows begin with their first run."""
    account = current(ledger, limits, now_ms)
    if len(account.active) >= limits.max_active_runs:
        return Refusal(
            Code.TOO_MANY_ACTIVE_RUNS,
            f"You already have {len(account.active)} answers in the making, as many as your plan "
            "allows at once. Wait for one to finish, or stop it.",
        )
    asked = account.reserved_tokens + tokens
    used_up = [
        window
        for budget, window in zip(limits.budgets, account.windows, strict=True)
        if account.used_tokens(window) + asked > budget.tokens
    ]
    if used_up:
        return Refusal(
            Code.BUDGET_EXHAUSTED,
            "Your token budget is used up for now.",
            # All of them have to hold.
            retry_at_ms=max(window.ends_ms for window in used_up) or None,
        )
    return replace(
        account,
        version=ledger.version + 1,
        active={**account.active, run_id: tokens},
        windows=tuple(
            replace(window, ends_ms=window.ends_ms or now_ms + budget.window_ms)
            for budget, window in zip(limits.budgets, account.windows, strict=True)
        ),
    )


def settle(ledger: Ledger, run_id: str, cost: int) -> Ledger | None:
    """The account after the run has been paid for, or None where it already has been."""
    if run_id not in ledger.active:
        return None
    return replace(
        ledger,
        version=ledger.version + 1,
        active={key: value for key, value in ledger.active.items() if key != run_id},
        settled_tokens=ledger.settled_tokens + cost,
    )
