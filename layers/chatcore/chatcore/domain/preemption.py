"""Owns the choice of the run that has to leave its slot when a higher tier needs it."""

from collections.abc import Iterable
from dataclasses import dataclass

from chatcore.domain.lanes import BY_PRIORITY
from chatcore.domain.tiers import Tier

MAX_PREEMPTIONS = 2
"""Of one run. After that it is left to its end: a pause now and then, not a career of pauses."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """tokens: that an engine has to read again when the run goes on: of its prompt and of what it has
    said so far."""

    run_id: str
    tier: Tier
    tokens: int
    preemptions: int


def victim(candidates: Iterable[Candidate], tier: Tier) -> Candidate | None:
    """Of the runs below the tier, one of the lowest that loses least; None where there is none that has
    not had to leave often enough."""
    rank = BY_PRIORITY.index(tier)
    below = [
        each
        for each in candidates
        if BY_PRIORITY.index(each.tier) > rank and each.preemptions < MAX_PREEMPTIONS
    ]
    return min(
        below,
        key=lambda each: (-BY_PRIORITY.index(each.tier), each.tokens, each.run_id),
        default=None,
    )
