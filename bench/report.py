"""What every benchmark ends with: its figures and goals, for people in tables, for programs in one line.

Owns percentiles, goals and the form of the last line. It must not know what is measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

Figure = (
    int | float | str | bool | None | Sequence["Figure"] | Mapping[str, "Figure"]  # any JSON
)


@dataclass(frozen=True)
class Goal:
    """goal: the bound as people write it, or `reported` for a number that has none."""

    value: float
    goal: str
    met: bool


def reported(value: float) -> Goal:
    """A number that is asked for, without a bound."""
    return Goal(round(value, 3), "reported", True)


def at_most(value: float, bound: float) -> Goal:
    return Goal(round(value, 3), f"<= {bound:g}", value <= bound)


def at_least(value: float, bound: float) -> Goal:
    return Goal(round(value, 3), f">= {bound:g}", value >= bound)


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank: always a value that was measured. The 99th of fewer than 100 is the greatest."""
    if not values:
        raise ValueError("no values")
    if not 0 < percent <= 100:
        raise ValueError(f"not a percentile: {percent}")
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def last_line(name: str, figures: Mapping[str, Figure], goals: Mapping[str, Goal]) -> str:
    """The one line that programs read."""
    return json.dumps(
        {
            "bench": name,
            "figures": figures,
            "goals": {key: asdict(goal) for key, goal in goals.items()},
        }
    )


def finish(
    console: Console, name: str, figures: Mapping[str, Figure], goals: Mapping[str, Goal]
) -> None:
    """Print the goals and, as the very last line, the JSON."""
    table = Table("goal", "bound", "value", "met", title=f"bench-{name}", title_justify="left")
    for key, goal in goals.items():
        table.add_row(key, goal.goal, f"{goal.value:g}", "yes" if goal.met else "NO")
    console.print(table)
    # Not by the console, which would break it at the terminal's width.
    print(last_line(name, figures, goals), flush=True)
