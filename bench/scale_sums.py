"""200 million daily users in cells, as sums: what they ask for, which quota binds a cell, how many cells that
makes, and what a day costs.

    demand (people × measured counts) ÷ (quota × share that is used) = cells, the greatest over all quotas

All of it is modelled: nothing of this size has been run. Assumptions stand in one table, with where they
come from; counts of one answer are `make bench-cost`'s (bench/measured.toml), quotas AWS's defaults
(bench/quotas.toml). Owns these sums; the page's tables are `bench.scale_page`'s.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bench.answer_cost import Use
from bench.dynamo_units import IN_TRANSACTION
from bench.gpu_cost import GPUS, gpu_seconds
from bench.lengths import MEAN
from bench.prices import Price
from bench.scheduling.azure import SHARES
from chatcore.domain.tiers import Tier

FOLDER = Path(__file__).parent
DAY_S = 86_400
HOUR_S = 3_600


@dataclass(frozen=True)
class Assumption:
    value: float
    unit: str
    source: str


_USE = Use()

ASSUMPTIONS: Mapping[str, Assumption] = {
    "daily users": Assumption(200e6, "people", "the size that is designed for"),
    "monthly to daily users": Assumption(2.5, "people a person", "assumed"),
    "prompts of a daily user": Assumption(
        8.0,
        "a day",
        "NBER Working Paper 34255, How People Use ChatGPT: 2.6 billion messages a day of 700 million "
        "weekly users; 45 % of these on a day, assumed",
    ),
    "peak hour to mean": Assumption(2.0, "times", "assumed; a cell holds people of one continent"),
    "answers of a visit": Assumption(
        _USE.answers, "answers", "WildChat (ICLR 2024): 2.5 million turns in a million chats"
    ),
    "visit": Assumption(_USE.minutes, "minutes connected", "assumed"),
    "page's HTTP requests": Assumption(
        _USE.http_requests, "a visit", "`web/src`: ticket, me, chats"
    ),
    "prompt": Assumption(MEAN.input_tokens, "tokens, mean", "Azure conversation trace"),
    "answer": Assumption(MEAN.output_tokens, "tokens, mean", "Azure conversation trace"),
    "pace of an answer": Assumption(_USE.tokens_per_s, "tokens a second", "assumed"),
    "sender's function": Assumption(0.08, "seconds", "`make bench-cost`, modelled waits"),
    "page's function": Assumption(_USE.request_ms / 1000, "seconds", "assumed"),
    "worker": Assumption(_USE.slots, "slots", "assumed; `make bench-worker` carries more"),
    "slots in use at the peak": Assumption(0.8, "of all", "assumed"),
    "busiest tier": Assumption(
        SHARES[Tier.FREE], "of all prompts, free", "as `make bench-scheduling` draws tiers"
    ),
    "compactions": Assumption(
        0.005, "an answer", "`make bench-context`: five in a chat of 1,000 turns"
    ),
    "share of a quota": Assumption(
        0.7, "of it at the peak", "assumed: room for a failed neighbour"
    ),
}


@dataclass(frozen=True)
class Measured:
    """Of an answer of mean length, by `make bench-cost`."""

    counted: date
    output_tokens: int
    frames_posted: int
    read_units: float
    sqs_requests: int
    plumbing_usd_per_1000: float
    table_write_units: Mapping[str, float]


@dataclass(frozen=True)
class Quota:
    name: str
    quota: float
    unit: str
    demand: str
    raisable: bool
    source: str


@dataclass(frozen=True)
class Bound:
    """What one quota makes of the demand at the peak: so many cells."""

    quota: Quota
    demand: float
    cells: int


def measured(path: Path = FOLDER / "measured.toml") -> Measured:
    with path.open("rb") as file:
        return Measured(**tomllib.load(file))


def quotas(path: Path = FOLDER / "quotas.toml") -> list[Quota]:
    with path.open("rb") as file:
        found = tomllib.load(file)
    return [
        Quota(name, it["quota"], it["unit"], it["demand"], it["raise"], it["source"])
        for name, it in found.items()
    ]


def value(name: str) -> float:
    return ASSUMPTIONS[name].value


def demand(counted: Measured) -> dict[str, float]:
    """All cells together. Rates are those of the peak hour, but for the first two."""
    answers_per_day = value("daily users") * value("prompts of a daily user")
    mean_per_s = answers_per_day / DAY_S
    answers_per_s = mean_per_s * value("peak hour to mean")
    visits_per_s = answers_per_s / value("answers of a visit")
    http_per_s = visits_per_s * value("page's HTTP requests")
    posts_per_s = answers_per_s * counted.frames_posted
    # A send for each answer; a ping and a $connect for each visit.
    sent_per_s = answers_per_s + 2 * visits_per_s
    running = answers_per_s * value("answer") / value("pace of an answer")
    slots = running / value("slots in use at the peak")
    workers = slots / value("worker")
    lambdas = answers_per_s * value("sender's function") + (http_per_s + 2 * visits_per_s) * value(
        "page's function"
    )
    gpu_s = gpu_seconds(GPUS[0], value("prompt"), value("answer"))
    return {
        "answers_per_day": answers_per_day,
        "answers_per_s_mean": mean_per_s,
        "answers_per_s": answers_per_s,
        "frames_per_s": posts_per_s,
        "gateway_requests_per_s": posts_per_s + sent_per_s + http_per_s,
        "new_connections_per_s": visits_per_s,
        "open_connections": visits_per_s * value("visit") * 60,
        "sign_ins_per_s": visits_per_s,
        "monthly_users": value("daily users") * value("monthly to daily users"),
        "answers_running": running,
        "slots": slots,
        "workers": workers,
        "gpus": answers_per_s * gpu_s,
        "jobs_in_flight": running,
        "lambdas_at_once": lambdas,
        "write_units_per_s": answers_per_s * sum(counted.table_write_units.values()),
        "busiest_table_write_units_per_s": answers_per_s * max(counted.table_write_units.values()),
        "read_units_per_s": answers_per_s * counted.read_units,
        # Each send reads its tier's calendar, which is one item, in a transaction.
        "calendar_read_units_per_s": answers_per_s * value("busiest tier") * IN_TRANSACTION,
        "sqs_requests_per_s": answers_per_s * counted.sqs_requests,
        # A worker reads them each 25 s, a busy function's environment each 20.
        "settings_reads_per_s": workers / 25 + lambdas / 20,
        "compactions_per_s": answers_per_s * value("compactions"),
    }


def bounds(asked: Mapping[str, float], limits: Sequence[Quota]) -> list[Bound]:
    """By how many cells each quota makes, the binding one first."""
    share = value("share of a quota")
    found = [
        Bound(limit, asked[limit.demand], math.ceil(asked[limit.demand] / (limit.quota * share)))
        for limit in limits
    ]
    return sorted(found, key=lambda bound: -bound.cells)


def fewest(found: Sequence[Bound]) -> Bound:
    """What binds where AWS has raised all that it raises."""
    return next(bound for bound in found if not bound.quota.raisable)


@dataclass(frozen=True)
class Cost:
    part: str
    usd_per_day: float
    how: str


def day(asked: Mapping[str, float], counted: Measured, table: Mapping[str, Price]) -> list[Cost]:
    """All cells together, at list prices; at this size they are negotiated."""
    answers = asked["answers_per_day"]
    on_demand, spot, _ = GPUS
    gpu_hours = answers * gpu_seconds(on_demand, value("prompt"), value("answer")) / HOUR_S
    users_usd = asked["monthly_users"] * table["cognito_lite_user_month"].usd_each / 30
    return [
        Cost("plumbing", answers * counted.plumbing_usd_per_1000 / 1000, "answers × bench-cost"),
        Cost(
            f"GPU hours, {on_demand.name}",
            gpu_hours * table[on_demand.price].usd_each,
            f"{gpu_hours:,.0f} hours of one H100, a fleet that follows the load",
        ),
        Cost(
            f"… the same, {spot.name}", gpu_hours * table[spot.price].usd_each, "instead of those"
        ),
        Cost("Cognito", users_usd, "monthly users × tier Lite ÷ 30"),
    ]
