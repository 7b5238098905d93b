"""`make bench-context`: what a long chat's prompt holds, and whether that is what it needs.

A suite is a question of its own; each is a module that plays, shows and judges. Here they are chosen, fed
and brought together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

from bench import cloud
from bench.context import compaction, cost, recall, tokens
from bench.report import Figure, Goal, finish
from bench.scheduling.requests import FOLDER
from bench.trace import Missing

Input = TypeVar("Input")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Suite(Generic[Input, Found]):
    """read: what it needs of the folder of data, or raises Missing. play: in the quick size, or the full
    one."""

    read: Callable[[Path], Input]
    play: Callable[[Input, bool], Found]
    show: Callable[[Console, Found], None]
    goals: Callable[[Found], Mapping[str, Goal]]
    figures: Callable[[Found], Mapping[str, Figure]]


SUITES: Mapping[str, Suite[Any, Any]] = {
    "tokens": Suite(tokens.read, tokens.play, tokens.show, tokens.goals, tokens.figures),
    "cost": Suite(cost.read, cost.play, cost.show, cost.goals, cost.figures),
    "compaction": Suite(
        *(compaction.read, compaction.play, compaction.show, compaction.goals, compaction.figures),
    ),
    "recall": Suite(recall.read, recall.play, recall.show, recall.goals, recall.figures),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.context", description=__doc__)
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of the data")
    parser.add_argument(
        "--suite", action="append", choices=SUITES, help="only this one (and those)"
    )
    parser.add_argument("--full", action="store_true", help="more of everything")
    given = parser.parse_args(arguments)
    chosen = {name: suite for name, suite in SUITES.items() if name in (given.suite or SUITES)}
    try:
        # All of them before the first is played: goals that cannot be judged are not left out.
        inputs = {name: suite.read(given.data) for name, suite in chosen.items()}
    except Missing as missing:
        print(f"bench-context: {missing}", file=sys.stderr)
        return 1
    return cloud.main(lambda: _bench(chosen, inputs, given.full))


def _bench(chosen: Mapping[str, Suite[Any, Any]], inputs: Mapping[str, object], full: bool) -> None:
    # Wide tables: a file has no width, and the default would break every cell.
    console = Console(width=None if sys.stdout.isatty() else 160)
    figures: dict[str, Figure] = {}
    goals: dict[str, Goal] = {}
    for name, suite in chosen.items():
        found = suite.play(inputs[name], full)
        suite.show(console, found)
        figures |= suite.figures(found)
        goals |= suite.goals(found)
    finish(console, "context", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
