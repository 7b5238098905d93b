"""`make bench-scheduling`: scheduling policies side by side, on published traces and model engines.

A suite is a question of its own, asked of one of the traces; each is a module that plays, shows and
judges. Here they are chosen, fed and brought together.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

from bench.report import Figure, Goal, finish
from bench.scheduling import (
    azure,
    fairness,
    load,
    prefix_trace,
    prefixes,
    requests,
    tiers,
    workers,
)
from bench.trace import Missing

Trace = TypeVar("Trace")
Found = TypeVar("Found")

COPIES, COPIES_FULL = 8, 32


@dataclass(frozen=True)
class Suite(Generic[Trace, Found]):
    """file: of the folder of traces, which `read` reads or raises Missing. play: in the quick size, or the
    full one. pictures: by the name of the file, what draws it."""

    file: str
    read: Callable[[Path], Trace]
    play: Callable[[Trace, bool, Executor], Found]
    show: Callable[[Console, Found], None]
    goals: Callable[[Found], Mapping[str, Goal]]
    figures: Callable[[Found], Mapping[str, Figure]]
    pictures: Mapping[str, Callable[[Path, Found], None]] = field(default_factory=dict)


def by_copies(
    play: Callable[[Trace, int, Executor], Found],
) -> Callable[[Trace, bool, Executor], Found]:
    """A suite whose full size is more copies of the trace."""
    return lambda trace, full, pool: play(trace, COPIES_FULL if full else COPIES, pool)


SUITES: Mapping[str, Suite[Any, Any]] = {
    "fairness": Suite(
        *(requests.FILE, requests.read, by_copies(fairness.play)),
        *(fairness.show, fairness.goals, fairness.figures),
        {"scheduling-service.png": fairness.draw},
    ),
    "workers": Suite(
        *(requests.FILE, requests.read, by_copies(workers.play)),
        *(workers.show, workers.goals, workers.figures),
        {"scheduling-workers.png": workers.draw},
    ),
    "tiers": Suite(
        *(requests.FILE, requests.read, by_copies(tiers.play)),
        *(tiers.show, tiers.goals, tiers.figures),
    ),
    "prefixes": Suite(
        *(prefix_trace.FILE, prefix_trace.read, by_copies(prefixes.play)),
        *(prefixes.show, prefixes.goals, prefixes.figures_of),
        {"scheduling-prefixes.png": prefixes.draw},
    ),
    "load": Suite(
        *(azure.FILE, azure.read, load.play),
        *(load.show, load.goals, load.figures_of),
        {"scheduling-load.png": load.draw_loads, "scheduling-day.png": load.draw_day},
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scheduling", description=__doc__)
    parser.add_argument("--data", type=Path, default=requests.FOLDER, help="folder of the traces")
    parser.add_argument(
        "--suite", action="append", choices=SUITES, help="only this one (and those)"
    )
    parser.add_argument("--plots", type=Path, help="folder to draw the pictures of the docs into")
    parser.add_argument("--full", action="store_true", help="more copies, longer traces")
    given = parser.parse_args(arguments)
    chosen = {name: suite for name, suite in SUITES.items() if name in (given.suite or SUITES)}
    try:
        # All of them before the first is played: goals that cannot be judged are not left out.
        traces = {name: suite.read(given.data / suite.file) for name, suite in chosen.items()}
    except Missing as missing:
        print(f"bench-scheduling: {missing}", file=sys.stderr)
        return 1
    # Wide tables: a file has no width, and the default would break every cell.
    console = Console(width=None if sys.stdout.isatty() else 160)
    figures: dict[str, Figure] = {}
    goals: dict[str, Goal] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, suite in chosen.items():
            found = suite.play(traces[name], given.full, pool)
            suite.show(console, found)
            figures |= suite.figures(found)
            goals |= suite.goals(found)
            if given.plots is not None:
                given.plots.mkdir(parents=True, exist_ok=True)
                for picture, draw in suite.pictures.items():
                    draw(given.plots / picture, found)
    finish(console, "scheduling", figures, goals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
