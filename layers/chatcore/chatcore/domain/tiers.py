"""Owns the service classes and their limits. Knows nothing of who is in which class.

Users are in one of three. The fourth is the product's own: titles and summaries of chats, behind all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal


class Tier(StrEnum):
    FREE = "free"
    PLUS = "plus"
    PRO = "pro"
    BACKGROUND = "background"
    """Nobody's: work that no person waits for."""


UserTier = Literal[Tier.FREE, Tier.PLUS, Tier.PRO]
USER_TIERS: tuple[UserTier, ...] = (Tier.FREE, Tier.PLUS, Tier.PRO)


@dataclass(frozen=True, slots=True)
class Budget:
    """Charged tokens (see `ledger.cost_tokens`) in a window that begins with its first run."""

    tokens: int
    window_ms: int

    def __post_init__(self) -> None:
        _positive(tokens=self.tokens, window_ms=self.window_ms)


@dataclass(frozen=True, slots=True)
class TierLimits:
    """What one user of a tier may have, and what the tier may have of a worker.

    weight: share of the service between tiers under load; overcommit_slots: beyond those it has for all
    that a worker may give to this tier; max_active_runs: runs queued or running at once; max_wait_s: a
    send whose estimated wait is longer is refused; budgets: all of which have to hold, the one of the
    shortest window first; max_text_chars: code points of one message; context_tokens: prompt and answer
    together; max_output_tokens: of one answer; abandon_grace_s: how long an answer goes on when its last
    viewer has left, None for to its end; paused: nothing new is taken, and what waits goes on waiting.
    """

    weight: int
    overcommit_slots: int
    max_active_runs: int
    max_wait_s: float
    budgets: tuple[Budget, ...]
    max_text_chars: int
    context_tokens: int
    max_output_tokens: int
    abandon_grace_s: float | None = None
    paused: bool = False

    def __post_init__(self) -> None:
        _positive(
            weight=self.weight,
            max_active_runs=self.max_active_runs,
            max_wait_s=self.max_wait_s,
            max_text_chars=self.max_text_chars,
            context_tokens=self.context_tokens,
            max_output_tokens=self.max_output_tokens,
        )
        if self.overcommit_slots < 0:
            raise ValueError("overcommit_slots must be 0 or more")
        if self.abandon_grace_s is not None and not 0 <= self.abandon_grace_s < float("inf"):
            raise ValueError("abandon_grace_s must be 0 or more, or null for never")
        if not self.budgets:
            raise ValueError("budgets must hold at least one")
        if any(one.window_ms >= next_.window_ms for one, next_ in pairwise(self.budgets)):
            raise ValueError("budgets must be in the order of their windows, the shortest first")
        if self.max_output_tokens >= self.context_tokens:
            raise ValueError("max_output_tokens must leave room for a prompt in context_tokens")


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be greater than 0")


Tiers = Mapping[Tier, TierLimits]
"""The settings of every tier."""

MAX_BACKGROUND_OUTPUT_TOKENS = 1_536
"""Half as much again as the longest summary that is taken (see `context.room_for`): one that comes out
too long is to be told from one that was cut off."""

_FIVE_HOURS_MS = 5 * 3600 * 1000
_WEEK_MS = 7 * 24 * 3600 * 1000


def with_background(users: Tiers) -> Tiers:
    """The settings of the users' tiers, and with them what follows for work in the background: it reads
    what a prompt of any tier may hold, and gets the share of the least of them."""
    context_tokens = max(limits.context_tokens for limits in users.values())
    return {
        **users,
        Tier.BACKGROUND: TierLimits(
            weight=min(limits.weight for limits in users.values()),
            overcommit_slots=0,
            max_active_runs=1,
            max_wait_s=_WEEK_MS / 1000,
            budgets=(Budget(context_tokens, _WEEK_MS),),
            max_text_chars=max(limits.max_text_chars for limits in users.values()),
            context_tokens=context_tokens,
            max_output_tokens=min(MAX_BACKGROUND_OUTPUT_TOKENS, max(1, context_tokens // 4)),
        ),
    }


_USER_DEFAULTS: Tiers = {
    Tier.FREE: TierLimits(
        weight=1,
        overcommit_slots=0,
        max_active_runs=2,
        max_wait_s=120,
        budgets=(Budget(120_000, _FIVE_HOURS_MS), Budget(720_000, _WEEK_MS)),
        max_text_chars=4_000,
        context_tokens=4_096,
        max_output_tokens=1_024,
    ),
    Tier.PLUS: TierLimits(
        weight=4,
        overcommit_slots=1,
        max_active_runs=4,
        max_wait_s=120,
        budgets=(Budget(1_000_000, _FIVE_HOURS_MS), Budget(8_000_000, _WEEK_MS)),
        max_text_chars=12_000,
        context_tokens=8_192,
        max_output_tokens=2_048,
    ),
    Tier.PRO: TierLimits(
        weight=8,
        overcommit_slots=2,
        max_active_runs=8,
        max_wait_s=120,
        budgets=(Budget(5_000_000, _FIVE_HOURS_MS), Budget(50_000_000, _WEEK_MS)),
        max_text_chars=24_000,
        context_tokens=16_384,
        max_output_tokens=4_096,
    ),
}

DEFAULTS: Tiers = with_background(_USER_DEFAULTS)
"""What holds where no document says otherwise, and what the template's parameter begins with."""


def tier_of(claim: str | None) -> UserTier:
    """The tier that an identity claims; missing or unknown is the lowest of the users', never an error."""
    return next((tier for tier in USER_TIERS if tier == claim), Tier.FREE)
