"""`make bench-scheduling`: scheduling policies side by side, on a published trace and a model engine.

First the check that the model is the right one: the runs that are known from elsewhere come out again,
within a tenth. All figures are means over jittered copies of the trace; a single run is noise of a tenth
and more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.report import Figure, Goal, at_most, finish, reported
from bench.scheduling import requests, tiers
from bench.scheduling.engine import Engine, serve
from bench.scheduling.policies import Drr, Fcfs, Policy, SqsFairQueue, Vtc
from bench.scheduling.requests import Request, jittered
from bench.scheduling.score import Score, mean_of, score
from bench.trace import Missing

POLICIES: Mapping[str, Callable[[], Policy]] = {
    "FCFS": Fcfs,
    "SQS fair queue": SqsFairQueue,
    "DRR": Drr,
    "VTC": Vtc,
    "VTC, lengths known": partial(Vtc, knows=True),
}
SEQUENCES = (200, 16)

WITHIN = 0.1


@dataclass(frozen=True)
class Reference:
    """A mean score that is known. copies: as many jittered ones as it is the mean of."""

    policy: str
    sequences: int
    mean: float


REFERENCES = (
    Reference("FCFS", 200, 436),
    Reference("VTC", 200, 273),
    Reference("VTC, lengths known", 200, 239),
    Reference("DRR", 200, 240),
    Reference("FCFS", 16, 634),
    Reference("VTC", 16, 184),
)
"""Published for FCFS: 434; the others by an independent run of this model."""


@dataclass(frozen=True)
class Size:
    copies: int


QUICK = Size(copies=8)
FULL = Size(copies=32)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scheduling", description=__doc__)
    parser.add_argument("--data", type=Path, default=requests.DEFAULT)
    parser.add_argument("--full", action="store_true", help="32 copies of the trace, not 8")
    given = parser.parse_args()
    try:
        trace = requests.read(given.data)
    except Missing as missing:
        print(f"bench-scheduling: {missing}", file=sys.stderr)
        return 1
    bench(trace, FULL if given.full else QUICK, Console())
    return 0


def bench(trace: Sequence[Request], size: Size, console: Console) -> None:
    found: dict[tuple[str, int], Score] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = {
            (policy, sequences): [
                pool.submit(play, trace, policy, sequences, seed) for seed in range(size.copies)
            ]
            for sequences in SEQUENCES
            for policy in POLICIES
        }
        for key, copies in runs.items():
            found[key] = mean_of([copy.result() for copy in copies])
            console.print(f"{key[0]}, {key[1]} sequences", highlight=False)
        seeds = range(size.copies)
        ratios = {
            "routers with memories of their own": [
                *pool.map(tiers.ratio_of_routers, [trace] * size.copies, seeds)
            ],
            "workers on shared lanes (ours)": [
                *pool.map(tiers.ratio_of_workers, [trace] * size.copies, seeds)
            ],
        }
    goals = _check(console, found) | _between_tiers(console, ratios)
    _compare(console, found, size)
    figures: dict[str, Figure] = {
        f"{policy}, {sequences}": {name: round(value, 3) for name, value in asdict(scored).items()}
        for (policy, sequences), scored in found.items()
    }
    finish(console, "scheduling", figures, goals)


def play(trace: Sequence[Request], policy: str, sequences: int, seed: int) -> Score:
    """One jittered copy under one policy."""
    copy = jittered(trace, seed)
    played = POLICIES[policy]()
    ended_s = serve([Engine(played, sequences)], copy, played.arrive)
    return score(copy, ended_s)


def _check(console: Console, found: Mapping[tuple[str, int], Score]) -> dict[str, Goal]:
    table = Table(
        *("policy", "sequences", "known", "here", "off by"),
        title="Does the model give what is known?",
        title_justify="left",
    )
    goals: dict[str, Goal] = {}
    for known in REFERENCES:
        here = found[known.policy, known.sequences].mean
        off = here / known.mean - 1
        name = f"reference_{known.policy}_{known.sequences}".replace(", ", "_").replace(" ", "_")
        goals[name] = Goal(round(here, 1), f"{known.mean:g} ± 10 %", abs(off) <= WITHIN)
        table.add_row(
            *(known.policy, str(known.sequences), f"{known.mean:g}"),
            *(f"{here:.0f}", f"{off:+.1%}"),
        )
    console.print(table)
    return goals


def _between_tiers(console: Console, ratios: Mapping[str, Sequence[float]]) -> dict[str, Goal]:
    table = Table(
        *("dispatch", "mean", "least", "most"),
        title="Service of a tier of weight 4 for one of weight 1, both backlogged, at two points",
        title_justify="left",
    )
    means = []
    for name, found in ratios.items():
        means.append(statistics.fmean(found))
        table.add_row(name, f"{means[-1]:.2f}", f"{min(found):.2f}", f"{max(found):.2f}")
    console.print(table)
    routers, ours = means
    return {
        "tiers_by_routers": reported(routers),
        "tiers_by_shared_lanes_off_by": at_most(abs(ours / 4 - 1), 0.05),
    }


def _compare(console: Console, found: Mapping[tuple[str, int], Score], size: Size) -> None:
    for sequences in SEQUENCES:
        table = Table(
            *("policy", "mean score", "greatest", "tokens/s", "TTFT p50", "p99"),
            title=f"{sequences} sequences, means of {size.copies} copies; less is fairer",
            title_justify="left",
        )
        for policy in POLICIES:
            scored = found[policy, sequences]
            table.add_row(
                *(policy, f"{scored.mean:.0f}", f"{scored.greatest:.0f}"),
                *(f"{scored.tokens_per_s:.0f}", f"{scored.ttft_p50_s:.1f} s"),
                f"{scored.ttft_p99_s:.1f} s",
            )
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
