"""Arrivals of the Azure conversation trace, as sends of users of three tiers.

The trace has times and lengths, and knows no users. A request's tier is drawn by the tiers' shares, its
user within the tier by a Zipf law: a few send a lot and many send once. A prompt and an answer are cut to
what their tier's limits allow, as the product does it.
"""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bench.scheduling.requests import JITTER_S, Request
from bench.trace import Missing
from chatcore.domain.ledger import prompt_tokens
from chatcore.domain.tiers import DEFAULTS, Tier

SHARES: Mapping[Tier, float] = {Tier.FREE: 0.85, Tier.PLUS: 0.12, Tier.PRO: 0.03}
FILE = "azure_conv.csv"
USERS = 20_000
ZIPF_EXPONENT = 0.8
"""The most eager free user then asks for one in 36 of the free tier's answers, which is as much as his
limit of runs at once lets through; the cap, not the scheduler, would stop the top of a steeper law."""


@dataclass(frozen=True, slots=True)
class Row:
    """One of the trace. at_s: from its begin."""

    at_s: float
    input_tokens: int
    output_tokens: int


@dataclass(slots=True, eq=False)
class Send(Request):
    """refused: why it was not admitted; joined: output tokens it had when its slot's engine read it last;
    left_s: when it last had to leave its slot, 0 while it has one; pauses_s: how long it was without."""

    tier: Tier = Tier.FREE
    refused: str = ""
    preemptions: int = 0
    joined: int = 0
    left_s: float = 0.0
    pauses_s: list[float] = field(default_factory=list)

    @property
    def ttft_s(self) -> float:
        return self.first_s - self.arrival_s

    @property
    def held_tokens(self) -> int:
        """In an engine's memory."""
        return self.input_tokens + self.made


def read(path: Path) -> list[Row]:
    where = (
        "it is AzureLLMInferenceTrace_conv.csv, the 2023 conversation trace of "
        "https://github.com/Azure/AzurePublicDataset; name its folder by DATA=path"
    )
    if not path.is_file():
        raise Missing(f"{path} is missing: {where}")
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        wanted = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}
        if not wanted <= set(rows.fieldnames or ()):
            raise Missing(f"{path} has not the columns {', '.join(sorted(wanted))}: {where}")
        found = [
            # To the microsecond; the trace has a digit more.
            (
                datetime.fromisoformat(row["TIMESTAMP"][:26]),
                int(row["ContextTokens"]),
                int(row["GeneratedTokens"]),
            )
            for row in rows
        ]
    begin = min(moment for moment, _, _ in found)
    return sorted(
        (Row((moment - begin).total_seconds(), *lengths) for moment, *lengths in found),
        key=lambda row: row.at_s,
    )


def part(rows: Sequence[Row], begin_s: float, end_s: float) -> list[Row]:
    """Of the trace, with its times from the part's begin."""
    return [
        Row(row.at_s - begin_s, row.input_tokens, row.output_tokens)
        for row in rows
        if begin_s <= row.at_s < end_s
    ]


def rate_per_s(rows: Sequence[Row]) -> float:
    return len(rows) / max(row.at_s for row in rows)


def sends(rows: Sequence[Row], speed: float, seed: int) -> list[Send]:
    """A copy that arrives so many times as fast, and then a little earlier or later; in the order of
    arrival. The same seed gives the same users and tiers at every speed."""
    rng = random.Random(seed)
    users = {tier: _Zipf(round(USERS * share)) for tier, share in SHARES.items()}
    tiers = rng.choices(list(SHARES), list(SHARES.values()), k=len(rows))
    found = [
        send(
            tier,
            f"{tier}-{users[tier].draw(rng)}",
            max(0.0, row.at_s / speed + rng.gauss(0, JITTER_S)),
            row,
        )
        for row, tier in zip(rows, tiers, strict=True)
    ]
    return sorted(found, key=lambda each: each.arrival_s)


def send(tier: Tier, user: str, at_s: float, row: Row) -> Send:
    limits = DEFAULTS[tier]
    return Send(
        at_s,
        user,
        min(row.input_tokens, prompt_tokens(limits)),
        max(1, min(row.output_tokens, limits.max_output_tokens)),
        tier=tier,
    )


class _Zipf:
    """Numbers from 0, of which the k-th comes in proportion to 1 / (k + 1) ** exponent."""

    def __init__(self, count: int) -> None:
        self._numbers = range(count)
        weights = ((number + 1) ** -ZIPF_EXPONENT for number in self._numbers)
        self._up_to = list(itertools.accumulate(weights))

    def draw(self, rng: random.Random) -> int:
        return rng.choices(self._numbers, cum_weights=self._up_to)[0]
