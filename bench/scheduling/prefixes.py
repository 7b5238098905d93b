"""Prefix cache hits of eight workers on shared lanes, beside fairness: what affinity gets, and what it
and fairness cost each other.

First the check that trace and cache are read aright: four rows that are known come out again, within a
tenth. "64 requests at a time" there means 64 outstanding in all (`bench.scheduling.prefix_cache`). Here
it is played twice: with 8 slots a worker, all busy, and as many requests again waiting, so that fairness
has something to decide; and with 16 slots a worker, 64 in the system and nobody waiting, which is the
published routers' case. Load is service: uncached input tokens and twice the output's.

Without a queue there is nothing for fairness to do, and without a free slot nothing for an offer that
does not wait, which the table shows: hits fall to what chance gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from bench.report import Figure, Goal, at_least, at_most, percentile, reported
from bench.scheduling import prefix_trace
from bench.scheduling.prefix_cache import (
    AT_A_TIME,
    BLOCKS,
    WORKERS,
    blocks_of,
    hit_rate,
    power_of_two,
    round_robin,
)
from bench.scheduling.prefix_fleet import DROPPED, NONE, OURS, Fleet, Rule
from bench.scheduling.prefix_lanes import Fcfs, Lanes, Ours
from bench.scheduling.prefix_trace import Asked, Turn

WITHIN = 0.1
CACHE_AWARE = 0.314
"""sglang-router 0.3.2, a router that keeps a map of all caches, on this trace."""
MOST_LOADED = 1.15

HEAVY_USERS = 5
"""They ask for a third of it all; the others are called light."""


@dataclass(frozen=True)
class Case:
    """slots: of each worker; present: requests in the system."""

    lanes: Callable[[], Lanes]
    rule: Rule
    slots: int = AT_A_TIME // WORKERS
    present: int = 2 * AT_A_TIME


SENT_AT_A_TIME = 4

SPARE_SLOTS = 2 * AT_A_TIME // WORKERS

CASES: Mapping[str, Case] = {
    "FCFS": Case(Fcfs, NONE),
    "fair": Case(Ours, NONE),
    "FCFS, affinity": Case(Fcfs, OURS),
    "fair, affinity (ours)": Case(Ours, OURS),
    "fair, offers that do not wait": Case(Ours, DROPPED),
    "nobody waits: no affinity": Case(Fcfs, NONE, SPARE_SLOTS, AT_A_TIME),
    "nobody waits: affinity (ours)": Case(Ours, OURS, SPARE_SLOTS, AT_A_TIME),
}


@dataclass(frozen=True)
class Known:
    """Block hit rates that are known of the trace."""

    round_robin: float
    power_of_two: float
    shared_lru: float
    infinite: float


KNOWN = Known(0.098, 0.091, 0.321, 0.346)


@dataclass(frozen=True)
class Played:
    """One copy of the trace, or the means of several. most_*: of the most loaded worker, for the mean's;
    wait: for a slot; messages: offers, and turns hidden again, for each request; moves:
    jobs put into a later lane, likewise."""

    hit_rate: float
    most_loaded: float
    most_requests: float
    ttft_p50_s: float
    ttft_p99_s: float
    light_wait_p50_s: float
    light_wait_p99_s: float
    heavy_wait_p50_s: float
    requests_per_s: float
    messages: float
    moves: float


@dataclass(frozen=True)
class Figures:
    """worst_loaded: the greatest of any copy."""

    references: Known
    cases: Mapping[str, Played]
    worst_loaded: Mapping[str, float]
    copies: int


def play(trace: Sequence[Asked], copies: int, pool: Executor) -> Figures:
    jobs = [(name, seed) for name in CASES for seed in range(copies)]
    names, seeds = [name for name, _ in jobs], [seed for _, seed in jobs]
    found: dict[str, list[Played]] = {name: [] for name in CASES}
    # A few at a time: to send the trace to a process takes a tenth of playing it.
    copied = pool.map(one, [trace] * len(jobs), names, seeds, chunksize=SENT_AT_A_TIME)
    for name, played in zip(names, copied, strict=True):
        found[name].append(played)
    references = Known(
        round_robin(trace),
        fmean(power_of_two(trace, seed) for seed in range(copies)),
        hit_rate(trace, WORKERS * BLOCKS),
        hit_rate(trace, None),
    )
    return Figures(
        references,
        {name: mean_of(each) for name, each in found.items()},
        {name: max(played.most_loaded for played in each) for name, each in found.items()},
        copies,
    )


def one(trace: Sequence[Asked], name: str, seed: int) -> Played:
    """One jittered copy of one case."""
    case = CASES[name]
    turns = prefix_trace.turns(trace, seed)
    fleet = Fleet(case.lanes(), case.rule, slots=case.slots, present=case.present, seed=seed)
    fleet.serve(turns)
    return scored(turns, fleet)


def scored(turns: Sequence[Turn], fleet: Fleet) -> Played:
    """Of turns that have all ended."""
    service: Counter[int | None] = Counter()
    asked: Counter[str] = Counter()
    for turn in turns:
        service[turn.worker] += turn.service
        asked[turn.user] += turn.service
    heavy = {user for user, _ in asked.most_common(HEAVY_USERS)}
    waits_s = [(turn.user in heavy, turn.started_s - turn.arrived_s) for turn in turns]
    light_s = [wait_s for is_heavy, wait_s in waits_s if not is_heavy]
    ttft_s = [turn.first_s - turn.arrived_s for turn in turns]
    workers = len(fleet.workers)
    requests = Counter(turn.worker for turn in turns)
    return Played(
        hit_rate=sum(turn.hits for turn in turns) / blocks_of([turn.asked for turn in turns]),
        most_loaded=max(service.values()) * workers / service.total(),
        most_requests=max(requests.values()) * workers / requests.total(),
        ttft_p50_s=percentile(ttft_s, 50),
        ttft_p99_s=percentile(ttft_s, 99),
        light_wait_p50_s=percentile(light_s, 50),
        light_wait_p99_s=percentile(light_s, 99),
        heavy_wait_p50_s=percentile([wait_s for is_heavy, wait_s in waits_s if is_heavy], 50),
        requests_per_s=len(turns) / max(turn.ended_s for turn in turns),
        messages=(fleet.counts.offered + fleet.counts.left) / len(turns),
        moves=fleet.lanes.moves / len(turns),
    )


def mean_of(played: Sequence[Played]) -> Played:
    return Played(
        **{
            field.name: fmean(getattr(each, field.name) for each in played)
            for field in fields(Played)
        }
    )


def goals(found: Figures) -> dict[str, Goal]:
    known = asdict(KNOWN)
    goals: dict[str, Goal] = {}
    for name, here in asdict(found.references).items():
        is_near = abs(here / known[name] - 1) <= WITHIN
        goals[f"reference_{name}"] = Goal(round(here, 3), f"{known[name]:g} ± 10 %", is_near)
    ours, alone = found.cases["fair, affinity (ours)"], found.cases["fair"]
    unfair, idle = found.cases["FCFS, affinity"], found.cases["nobody waits: affinity (ours)"]
    return goals | {
        "prefix_hit_rate": at_least(ours.hit_rate, CACHE_AWARE),
        "prefix_most_loaded": at_most(ours.most_loaded, MOST_LOADED),
        "prefix_most_requests": reported(ours.most_requests),
        "prefix_nobody_waits_hit_rate": at_least(idle.hit_rate, CACHE_AWARE),
        "prefix_nobody_waits_most_loaded": at_most(idle.most_loaded, MOST_LOADED),
        "prefix_hit_rate_that_fairness_costs": reported(unfair.hit_rate - ours.hit_rate),
        "prefix_light_wait_p99_s_that_affinity_costs": reported(
            ours.light_wait_p99_s - alone.light_wait_p99_s
        ),
        "prefix_requests_per_s_that_affinity_gains": reported(
            ours.requests_per_s / alone.requests_per_s - 1
        ),
        "prefix_messages_per_request": reported(ours.messages),
        "prefix_moves_per_request": reported(ours.moves),
    }


def figures_of(found: Figures) -> dict[str, Figure]:
    figures: dict[str, Figure] = {
        "references": {name: round(rate, 4) for name, rate in asdict(found.references).items()},
        "copies": found.copies,
    }
    for name, played in found.cases.items():
        rounded = {each: round(value, 4) for each, value in asdict(played).items()}
        figures[name] = rounded | {"worst_loaded": round(found.worst_loaded[name], 4)}
    return figures


def draw(path: Path, found: Figures) -> None:
    """Hit rates by policy, with the bounds, as a PNG."""
    # Only who wants a picture needs matplotlib.
    from bench.scheduling import plots

    routers = {
        "round robin": found.references.round_robin,
        "power of two": found.references.power_of_two,
    }
    rates = routers | {name: played.hit_rate for name, played in found.cases.items()}
    bounds = {
        "sglang's cache-aware router": CACHE_AWARE,
        "one shared LRU": found.references.shared_lru,
        "infinite": found.references.infinite,
    }
    plots.cache_hits(path, rates, bounds)


def show(console: Console, found: Figures) -> None:
    check = Table(
        *("cache", "known", "here", "off by"),
        title="Block hit rates: does the model give what is known?",
        title_justify="left",
    )
    known = asdict(KNOWN)
    for name, here in asdict(found.references).items():
        off = here / known[name] - 1
        check.add_row(name.replace("_", " "), f"{known[name]:.1%}", f"{here:.1%}", f"{off:+.1%}")
    console.print(check)
    table = Table(
        *("case", "hits", "most loaded", "(worst copy)", "most requests", "TTFT p50", "p99"),
        *("light users' wait p50", "p99", "heavy p50", "requests/s", "messages", "moves"),
        title=f"{WORKERS} workers of {BLOCKS:,} blocks, means of {found.copies} copies",
        title_justify="left",
    )
    for name, played in found.cases.items():
        table.add_row(
            *(name, f"{played.hit_rate:.1%}", f"{played.most_loaded:.2f}"),
            *(f"{found.worst_loaded[name]:.2f}", f"{played.most_requests:.2f}"),
            *(f"{played.ttft_p50_s:.2f} s", f"{played.ttft_p99_s:.1f} s"),
            *(f"{played.light_wait_p50_s:.2f} s", f"{played.light_wait_p99_s:.1f} s"),
            *(f"{played.heavy_wait_p50_s:.1f} s", f"{played.requests_per_s:.2f}"),
            *(f"{played.messages:.2f}", f"{played.moves:.2f}"),
        )
    console.print(table)
