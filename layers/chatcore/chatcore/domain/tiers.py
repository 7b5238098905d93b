"""Owns the service classes and their limits. Knows nothing of who is in which class."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    FREE = "free"
    PLUS = "plus"
    PRO = "pro"


@dataclass(frozen=True, slots=True)
class Budget:
    """Charged tokens (see `ledger.cost_tokens`) in a window that begins with its first run."""

    tokens: int
    window_ms: int


@dataclass(frozen=True, slots=True)
class TierLimits:
    """What one user of a tier may have.

    weight: share of the slots between tiers under load; max_active_runs: runs queued or running at
    once; budgets: all of which have to hold, the one of the shortest window first; max_text_chars: code
    points of one message; context_tokens: prompt and answer together; max_output_tokens: of one answer.
    """

    weight: int
    max_active_runs: int
    budgets: tuple[Budget, ...]
    max_text_chars: int
    context_tokens: int
    max_output_tokens: int

    def __post_init__(self) -> None:
        if self.max_output_tokens >= self.context_tokens:
            raise ValueError("max_output_tokens must leave room for a prompt in context_tokens")


_FIVE_HOURS_MS = 5 * 3600 * 1000
_WEEK_MS = 7 * 24 * 3600 * 1000

LIMITS: Mapping[Tier, TierLimits] = {
    Tier.FREE: TierLimits(
        weight=1,
        max_active_runs=2,
        budgets=(Budget(120_000, _FIVE_HOURS_MS), Budget(720_000, _WEEK_MS)),
        max_text_chars=4_000,
        context_tokens=4_096,
        max_output_tokens=1_024,
    ),
    Tier.PLUS: TierLimits(
        weight=4,
        max_active_runs=4,
        budgets=(Budget(1_000_000, _FIVE_HOURS_MS), Budget(8_000_000, _WEEK_MS)),
        max_text_chars=12_000,
        context_tokens=8_192,
        max_output_tokens=2_048,
    ),
    Tier.PRO: TierLimits(
        weight=8,
        max_active_runs=8,
        budgets=(Budget(5_000_000, _FIVE_HOURS_MS), Budget(50_000_000, _WEEK_MS)),
        max_text_chars=24_000,
        context_tokens=16_384,
        max_output_tokens=4_096,
    ),
}


def tier_of(claim: str | None) -> Tier:
    """The tier that an identity claims; missing or unknown is the lowest, never an error."""
    try:
        return Tier(claim or "")
    except ValueError:
        return Tier.FREE
