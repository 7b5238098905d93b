"""How long prompts and answers are: the Azure conversation trace's lengths, or what is known of them.

Owns what the benchmarks of cost and scale take for a usual answer. The trace is not part of the project:
without it, its median and mean stand here, and what the limits of a tier cut off is then not seen.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.scheduling import azure
from chatcore.domain.ledger import prompt_tokens
from chatcore.domain.tiers import DEFAULTS, Tier


@dataclass(frozen=True)
class Length:
    """In tokens. Of one request, or a mean of many."""

    input_tokens: float
    output_tokens: float


MEDIAN = Length(1020, 129)
MEAN = Length(1154.7, 211.1)
"""Of the 19,366 requests of AzureLLMInferenceTrace_conv.csv (Azure/AzurePublicDataset, 2023; Patel et al.,
Splitwise, ISCA 2024), each column for itself."""


@dataclass(frozen=True)
class Lengths:
    """of_tier: mean lengths, cut to what a tier admits."""

    median: Length
    mean: Length
    of_tier: dict[Tier, Length]
    from_trace: bool


def lengths(data: Path | None) -> Lengths:
    """data: the trace or its folder; None for what is known of it. Raises bench.trace.Missing."""
    if data is None:
        return Lengths(MEDIAN, MEAN, {tier: cut(MEAN, tier) for tier in _TIERS}, from_trace=False)
    rows = azure.read(data / azure.FILE if data.is_dir() else data)
    found = [Length(row.input_tokens, row.output_tokens) for row in rows]
    of_tier = {tier: _mean([cut(each, tier) for each in found]) for tier in _TIERS}
    median = Length(
        statistics.median(each.input_tokens for each in found),
        statistics.median(each.output_tokens for each in found),
    )
    return Lengths(median, _mean(found), of_tier, from_trace=True)


def cut(length: Length, tier: Tier) -> Length:
    """To what the tier's limits allow, as the product does it."""
    limits = DEFAULTS[tier]
    return Length(
        min(length.input_tokens, prompt_tokens(limits)),
        min(length.output_tokens, limits.max_output_tokens),
    )


def _mean(found: Sequence[Length]) -> Length:
    return Length(
        statistics.fmean(each.input_tokens for each in found),
        statistics.fmean(each.output_tokens for each in found),
    )


_TIERS = (Tier.FREE, Tier.PLUS, Tier.PRO)
