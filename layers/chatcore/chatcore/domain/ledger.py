"""Owns a user's token account: what is reserved, what is used in its windows, what a run costs, and where
he stands in virtual time. What a worker did for a run before it died is billed to nobody, but it was
service, and counts there.

The account is reserved at submit and settled once, in the transaction that ends the run. A run
that is no longer in `active` has been settled; that is what makes settling twice impossible.

    admitted ──▶ waiting ──dispatched──▶ charged ──settled──▶ served
                 [0]: its job is         a guess, then as     what it cost
                 in the lanes            work really happens

Of a user's waiting runs only the first has a job in the lanes: its place there is the user's. Whoever
gives it a slot, or finds that it is over, puts the next one's job in before it takes it from the list.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.run import Run, Usage
from chatcore.domain.tiers import Budget, Tier, TierLimits

FIRST_GUESS_TOKENS = 1_000
"""What a run is thought to cost before its user has had one."""

GUESS_SHARE = 0.6
"""Of what a run is thought to cost, what is charged when it gets a slot. Less lets a user with several
runs get ahead, more holds him back for what he may never use (`make bench-scheduling`)."""


@dataclass(frozen=True, slots=True)
class Window:
    """A budget's. ends_ms: 0 where it has not begun; began_at_tokens: what the account had settled ever
    when it began. So what is used in it follows from one number that only grows, and a settlement need
    not know which windows there are."""

    ends_ms: int = 0
    began_at_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """active: reserved tokens by run id; windows: in the order of the tier's budgets; settled_tokens,
    settled_runs: charged ever; version: grows with each write.

    In virtual time, that is in tokens for a weight of one: served: by runs that are over; charged: by
    run, for those that have had a slot and are not over; lift: what was forgiven or taken away so that
    nobody saves up while he is away; tagged_tier: whose virtual time that is. waiting: runs that have had
    no slot yet, in the order of their admission; may hold some that are over. closed_ms: the account is
    being deleted since then, and nothing new is taken; 0 while it is open.
    """

    user_id: str
    version: int = 0
    active: Mapping[str, int] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    settled_tokens: int = 0
    settled_runs: int = 0
    served: int = 0
    charged: Mapping[str, int] = field(default_factory=dict)
    lift: int = 0
    tagged_tier: Tier | None = None
    waiting: tuple[str, ...] = ()
    closed_ms: int = 0

    @property
    def is_closed(self) -> bool:
        return self.closed_ms > 0

    @property
    def reserved_tokens(self) -> int:
        return sum(self.active.values())

    def used_tokens(self, window: Window) -> int:
        """Charged since the window began."""
        return self.settled_tokens - window.began_at_tokens

    @property
    def finish_tag(self) -> int:
        """Up to where in virtual time the user has been served."""
        return self.lift + self.served + sum(self.charged.values())

    def start_tag(self, tier: Tier, virtual_time: int) -> int:
        """Where in virtual time his next run starts: who was away starts where the others are."""
        if self.tagged_tier is not tier:
            return virtual_time
        return max(virtual_time, self.finish_tag)


def closed(ledger: Ledger, now_ms: int) -> Ledger:
    """The account when it is closed; as it is where it has been before."""
    if ledger.is_closed:
        return ledger
    return replace(ledger, version=ledger.version + 1, closed_ms=now_ms)


def bare(ledger: Ledger) -> Ledger:
    """Of a closed account no more than that it is."""
    return Ledger(ledger.user_id, version=ledger.version + 1, closed_ms=ledger.closed_ms)


def is_bare(ledger: Ledger) -> bool:
    return ledger == replace(bare(ledger), version=ledger.version)


def cost_tokens(usage: Usage) -> int:
    """Charged tokens: prefill that a cache spared costs nothing, decoding costs double.

    The 1 : 2 ratio is that of VTC (Sheng et al., OSDI 2024, section 4.1).
    """
    return (usage.input_tokens - usage.cached_tokens) + 2 * usage.output_tokens


def virtual(tokens: int, weight: int) -> int:
    """Service in tokens for a weight of one, rounded up: no run is for nothing."""
    return -(-tokens // weight)


def guess(ledger: Ledger, weight: int) -> int:
    """What to charge for a run when it gets a slot, in virtual time."""
    mean = (ledger.settled_tokens + FIRST_GUESS_TOKENS) / (ledger.settled_runs + 1)
    return virtual(round(GUESS_SHARE * mean), weight)


def lost_with(run: Run) -> int:
    """What a run has lost in virtual time when its holder is taken for dead, in all its epochs: what that
    one told of its cost beyond what is spent and lost already. Of a run that is queued, what it was."""
    if not run.charged:
        return run.lost
    return max(run.lost, run.charged - virtual(cost_tokens(run.spent), run.weight))


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
        waiting=(*account.waiting, run_id),
        windows=tuple(
            replace(window, ends_ms=window.ends_ms or now_ms + budget.window_ms)
            for budget, window in zip(limits.budgets, account.windows, strict=True)
        ),
    )


def dispatched(
    ledger: Ledger, run_id: str, tier: Tier, virtual_time: int, weight: int
) -> Ledger | None:
    """The account when the run has got its first slot, or is over without one; None where it is so
    already. In `waiting` the next run, if there is one, is then the first."""
    waits = run_id in ledger.waiting
    runs = run_id in ledger.active and run_id not in ledger.charged
    if not waits and not runs:
        return None
    account = replace(
        ledger,
        version=ledger.version + 1,
        # Those that are over have lost their place; the first of the others is to have it.
        waiting=tuple(each for each in ledger.waiting if each != run_id and each in ledger.active),
    )
    if not runs:
        return account
    start = ledger.start_tag(tier, virtual_time)
    return replace(
        account,
        lift=ledger.lift + start - ledger.finish_tag,
        tagged_tier=tier,
        charged={**ledger.charged, run_id: guess(ledger, weight)},
    )


def settle(ledger: Ledger, run_id: str, cost: int, weight: int, lost: int = 0) -> Ledger | None:
    """The account after the run has been paid for, or None where it already has been. lost: service in
    virtual time that its user had and is not billed for."""
    if run_id not in ledger.active:
        return None
    return replace(
        ledger,
        version=ledger.version + 1,
        active={key: value for key, value in ledger.active.items() if key != run_id},
        charged={key: value for key, value in ledger.charged.items() if key != run_id},
        settled_tokens=ledger.settled_tokens + cost,
        # What cost nothing tells nothing of what runs cost.
        settled_runs=ledger.settled_runs + (1 if cost else 0),
        served=ledger.served + virtual(cost, weight) + lost,
    )
