"""Tiers under load, one user who floods, and a fleet that follows a day: on the Azure conversation trace.

The fleet's capacity is measured first, by giving it more than it can do. Then the trace comes at 0.8 to
1.5 times that, once as it is and once without the free tier, whose absence is the best that the paying
ones could have. All figures are means over jittered copies with the same seeds on both sides; longest
waits are the longest of all copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from bench.report import Figure, Goal, at_least, at_most, reported
from bench.scheduling import azure, day
from bench.scheduling.day import LEAST_WORKERS, MOST_WORKERS, Day
from bench.scheduling.fleet import MAX_WAIT_S
from bench.scheduling.load_cases import (
    FLOOD_WORKERS,
    SLOTS,
    WORKERS,
    Outcome,
    capacity,
    flooded,
    loaded,
    mean_of,
)
from chatcore.domain.tiers import DEFAULTS, USER_TIERS, Tier

LOADS = (0.8, 1.0, 1.2, 1.5)
FLOOD_LOAD = 0.8
"""Of capacity, without him: with less nobody would notice him, and with more the free tier is refused."""

PAYING = (Tier.PLUS, Tier.PRO)

LONGEST_FREE_S = 2 * MAX_WAIT_S
"""A send is admitted if what is before it takes no longer than its tier's `max_wait_s`. Those who come new
may go before it for about as long again, until they start behind the furthest lane (`domain.calendar`).
What comes between two publications of the backlog is not seen: more than that much may wait after a rush
of many times the capacity within seconds."""

DAY_PER_S = 3.0


@dataclass(frozen=True)
class Size:
    """begin_s, end_s: the part of the trace; flood_end_s: the same for the flood."""

    copies: int
    begin_s: float
    end_s: float
    flood_end_s: float
    day_s: float


QUICK = Size(copies=8, begin_s=600.0, end_s=1320.0, flood_end_s=960.0, day_s=3600.0)
FULL = Size(copies=8, begin_s=0.0, end_s=3600.0, flood_end_s=3600.0, day_s=4 * 3600.0)


@dataclass(frozen=True)
class Figures:
    """capacity_per_s: requests; loads: with the free tier and without; floods: by the tier of who floods,
    None for nobody; days: by the kind of fleet."""

    requests: int
    copies: int
    capacity_per_s: float
    loads: Mapping[float, tuple[Outcome, Outcome]]
    floods: Mapping[Tier | None, Outcome]
    days: Mapping[str, Day]


def play(whole: Sequence[azure.Row], full: bool, pool: Executor) -> Figures:
    return measure(whole, FULL if full else QUICK, pool)


def measure(whole: Sequence[azure.Row], size: Size, pool: Executor) -> Figures:
    rows = azure.part(whole, size.begin_s, size.end_s)
    seeds = range(size.copies)
    per_s = fmean(pool.map(capacity, repeat(rows), seeds[:2]))
    scaled = pool.submit(
        day.day, whole, DAY_PER_S, size.day_s, LEAST_WORKERS, MOST_WORKERS, seeds[0]
    )
    loads = {
        load: (
            pool.map(loaded, repeat(rows), repeat(load * per_s), repeat(True), seeds),
            pool.map(loaded, repeat(rows), repeat(load * per_s), repeat(False), seeds),
        )
        for load in LOADS
    }
    part = azure.part(whole, size.begin_s, size.flood_end_s)
    floods = {
        tier: pool.map(flooded, repeat(part), repeat(FLOOD_LOAD * per_s), repeat(tier), seeds)
        for tier in (None, *USER_TIERS)
    }
    grown = scaled.result()
    fixed = {
        f"{name}, {workers} workers": pool.submit(
            day.day, whole, DAY_PER_S, size.day_s, workers, workers, seeds[0]
        )
        for name, workers in (
            ("as many as its mean", round(grown.mean_workers)),
            ("as many as its peak", grown.peak_workers),
        )
    }
    return Figures(
        requests=len(rows),
        copies=size.copies,
        capacity_per_s=per_s,
        loads={
            load: (mean_of(list(with_free)), mean_of(list(without)))
            for load, (with_free, without) in loads.items()
        },
        floods={tier: mean_of(list(copies)) for tier, copies in floods.items()},
        days={"scaled": grown} | {name: each.result() for name, each in fixed.items()},
    )


def goals(found: Figures) -> dict[str, Goal]:
    goals: dict[str, Goal] = {}
    for load, (with_free, without) in found.loads.items():
        for tier in PAYING:
            ratio = with_free.waits[tier].p99_s / without.waits[tier].p99_s
            goals[f"load_{load}_{tier}_ttft_p99_of_that_without_free"] = at_most(ratio, 1.2)
        goals[f"load_{load}_free_longest_wait_s"] = at_most(
            with_free.waits[Tier.FREE].longest_s, LONGEST_FREE_S
        )
        goals[f"load_{load}_busy_while_work_waits"] = at_least(with_free.busy_while_waiting, 0.99)
        goals[f"load_{load}_free_refused"] = reported(with_free.refused[Tier.FREE])
    for by in USER_TIERS:
        ratio = found.floods[by].all.p99_s / found.floods[None].all.p99_s
        goals[f"flood_by_{by}_ttft_p99_of_that_without"] = at_most(ratio, 1.1)
    scaled, *_, peak = found.days.values()
    goals["day_worker_hours_of_the_peaks"] = reported(scaled.worker_hours / peak.worker_hours)
    goals["day_free_ttft_p99_s"] = reported(scaled.waits[Tier.FREE].p99_s)
    return goals


def figures_of(found: Figures) -> dict[str, Figure]:
    """Days without their moments, which are for the plot."""
    loads: dict[str, Figure] = {
        f"{load}": {"with_free": _rounded(asdict(with_free)), "without": _rounded(asdict(without))}
        for load, (with_free, without) in found.loads.items()
    }
    floods: dict[str, Figure] = {
        str(tier or "nobody"): _rounded(asdict(each)) for tier, each in found.floods.items()
    }
    days: dict[str, Figure] = {
        name: {
            "worker_hours": round(each.worker_hours, 2),
            "mean_workers": round(each.mean_workers, 2),
            "peak_workers": each.peak_workers,
            "idle": round(each.idle, 4),
            "refused": round(each.refused, 4),
            "waits": {str(tier): _rounded(asdict(waits)) for tier, waits in each.waits.items()},
        }
        for name, each in found.days.items()
    }
    return {
        "requests": found.requests,
        "copies": found.copies,
        "workers": WORKERS,
        "slots": SLOTS,
        "capacity_per_s": round(found.capacity_per_s, 3),
        "loads": loads,
        "floods": floods,
        "days": days,
    }


def _rounded(figures: Mapping[str, object]) -> dict[str, Figure]:
    rounded: dict[str, Figure] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            rounded[str(name)] = _rounded(value)
        elif isinstance(value, float):
            rounded[str(name)] = round(value, 4)
    return rounded


def draw_loads(path: Path, found: Figures) -> None:
    # Only who wants a picture needs matplotlib.
    from bench.scheduling import load_plots

    load_plots.ttft_over_load(path, found.loads)


def draw_day(path: Path, found: Figures) -> None:
    from bench.scheduling import load_plots

    load_plots.workers_over_day(path, found.days)


def show(console: Console, found: Figures) -> None:
    console.print(
        f"{found.requests} requests, {WORKERS} workers of {SLOTS} slots: capacity "
        f"{found.capacity_per_s:.2f} requests a second; means of {found.copies} copies",
        highlight=False,
    )
    console.print(_loads(found.loads))
    console.print(_floods(found.floods))
    console.print(_days(found.days))


def _loads(loads: Mapping[float, tuple[Outcome, Outcome]]) -> Table:
    table = Table(
        *("load", "tier", "TTFT p50", "p99", "without free", "ratio", "longest"),
        *("refused", "of these: queue too old"),
        title="Seconds to the first token, by tier",
        title_justify="left",
    )
    for load, (with_free, without) in loads.items():
        for tier in reversed(USER_TIERS):
            waits, alone = with_free.waits[tier], without.waits[tier]
            table.add_row(
                *(f"{load:g}", str(tier), f"{waits.p50_s:.2f}", f"{waits.p99_s:.2f}"),
                f"{alone.p99_s:.2f}" if alone.p99_s else "–",
                f"{waits.p99_s / alone.p99_s:.2f}" if alone.p99_s else "–",
                *(f"{waits.longest_s:.1f}", f"{with_free.refused[tier]:.1%}"),
                f"{with_free.too_old[tier]:.1%}",
            )
        table.add_row(
            *(f"{load:g}", "all", f"busy {with_free.busy:.1%},"),
            *("while work waits", f"{with_free.busy_while_waiting:.2%}", "preempted"),
            *(f"{with_free.preempted:.1%}", "pause p99", f"{with_free.pause_p99_s:.2f}"),
            end_section=True,
        )
    return table


def _floods(floods: Mapping[Tier | None, Outcome]) -> Table:
    table = Table(
        *(
            "who floods",
            "runs",
            "others' TTFT p50",
            "p99",
            "ratio",
            *(f"p99 of {t}" for t in USER_TIERS),
        ),
        title=f"One user at his cap beside a load of {FLOOD_LOAD:g}, {FLOOD_WORKERS} workers",
        title_justify="left",
    )
    alone = floods[None].all.p99_s
    for by, others in floods.items():
        table.add_row(
            str(by or "nobody"),
            str(DEFAULTS[by].max_active_runs if by else 0),
            *(f"{others.all.p50_s:.2f}", f"{others.all.p99_s:.2f}"),
            f"{others.all.p99_s / alone:.3f}",
            *(f"{others.waits[tier].p99_s:.2f}" for tier in USER_TIERS),
        )
    return table


def _days(days: Mapping[str, Day]) -> Table:
    table = Table(
        *("fleet", "worker hours", "mean", "peak", "idle", "free TTFT p99", "longest"),
        *("plus p99", "pro p99", "refused"),
        title=f"A day of {DAY_PER_S:g} requests a second on the mean; a worker takes "
        f"{day.START_S:g} s to start",
        title_justify="left",
    )
    for name, each in days.items():
        free = each.waits[Tier.FREE]
        table.add_row(
            *(name, f"{each.worker_hours:.1f}", f"{each.mean_workers:.1f}"),
            *(str(each.peak_workers), f"{each.idle:.0%}", f"{free.p99_s:.1f}"),
            *(f"{free.longest_s:.0f}", *(f"{each.waits[tier].p99_s:.2f}" for tier in PAYING)),
            f"{each.refused:.1%}",
        )
    return table
