"""Owns a user's token account: what is reserved, what is used in the window, what a run costs.

The account is reserved at submit and settled once, in the transaction that ends the run. A run
that is no longer in `active` has been settled; that is what makes settling twice impossible.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.run import Usage
from chatcore.domain.tiers import TierLimits


@dataclass(frozen=True, slots=True)
class Ledger:
    """active: reserved tokens by run id; used_tokens: charged in the window that ends at
    window_ends_ms; settled_tokens: charged ever; version: grows with each write."""

    user_id: str
    version: int = 0
    active: Mapping[str, int] = field(default_factory=dict)
    window_ends_ms: int = 0
    used_tokens: int = 0
    settled_tokens: int = 0

    @property
    def reserved_tokens(self) -> int:
        return sum(self.active.values())


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


def current(ledger: Ledger, now_ms: int) -> Ledger:
    """The account as it stands now: a window that is over counts no more."""
    if now_ms < ledger.window_ends_ms:
        return ledger
    return replace(ledger, used_tokens=0, window_ends_ms=0)


def reserve(
    ledger: Ledger, run_id: str, tokens: int, limits: TierLimits, now_ms: int
) -> Ledger | Refusal:
    """The account with the run in it, or why it is not admitted. A window starts with its first run."""
    account = current(ledger, now_ms)
    if len(account.active) >= limits.max_active_runs:
        return Refusal(
            Code.TOO_MANY_ACTIVE_RUNS,
            f"You already have {len(account.active)} answers in the making, as many as your plan "
            "allows at once. Wait for one to finish, or stop it.",
        )
    if account.used_tokens + account.reserved_tokens + tokens > limits.budget_tokens:
        return Refusal(
            Code.BUDGET_EXHAUSTED,
            "Your token budget is used up for now.",
            retry_at_ms=account.window_ends_ms or None,
        )
    return replace(
        account,
        version=ledger.version + 1,
        active={**account.active, run_id: tokens},
        window_ends_ms=account.window_ends_ms or now_ms + limits.window_ms,
    )


def settle(ledger: Ledger, run_id: str, cost: int) -> Ledger | None:
    """The account after the run has been paid for, or None where it already has been."""
    if run_id not in ledger.active:
        return None
    return replace(
        ledger,
        version=ledger.version + 1,
        active={key: value for key, value in ledger.active.items() if key != run_id},
        used_tokens=ledger.used_tokens + cost,
        settled_tokens=ledger.settled_tokens + cost,
    )
