"""Pictures of `load`: TTFT by tier over load, and a day's workers. It draws, and must not measure.

The same figures give the same bytes: no display, a fixed size, nothing of when it was made in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.scheduling.day import Day
from bench.scheduling.load_cases import Outcome
from bench.scheduling.plots import canvas, save
from chatcore.domain.tiers import Tier

COLOURS: Mapping[Tier, str] = {
    Tier.FREE: "#8a8a8a",
    Tier.PLUS: "#4878a8",
    Tier.PRO: "#c8553d",
}


def ttft_over_load(path: Path, loads: Mapping[float, tuple[Outcome, Outcome]]) -> None:
    """The 99th percentile of each tier; dashed: without the free tier."""
    figure = canvas()
    axes = figure.add_subplot()
    for tier, colour in COLOURS.items():
        with_free = [both[0].waits[tier].p99_s for both in loads.values()]
        axes.plot(list(loads), with_free, color=colour, marker="o", label=str(tier))
        if tier is not Tier.FREE:
            without = [both[1].waits[tier].p99_s for both in loads.values()]
            axes.plot(
                list(loads), without, color=colour, linestyle="--", label=f"{tier}, free absent"
            )
    axes.set_yscale("log")
    axes.set_xlabel("load, of the fleet's capacity")
    axes.set_ylabel("time to the first token, p99, s")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    save(figure, path)


def workers_over_day(path: Path, days: Mapping[str, Day]) -> None:
    """Of each fleet; of the one that is scaled also those that are starting, and below what waits."""
    figure = canvas()
    above, below = figure.subplots(2, sharex=True, height_ratios=[2, 1])
    for number, (name, day) in enumerate(days.items()):
        hours = [moment.at_s / 3600 for moment in day.moments]
        colour = f"C{number}"
        workers = [moment.workers for moment in day.moments]
        above.step(hours, workers, where="post", color=colour, label=name)
        if any(moment.starting for moment in day.moments):
            paid = [moment.workers + moment.starting for moment in day.moments]
            above.fill_between(hours, workers, paid, step="post", color=colour, alpha=0.3)
        below.plot(hours, [moment.waiting for moment in day.moments], color=colour)
    above.set_ylabel("workers (shaded: starting)")
    above.set_ylim(bottom=0)
    below.set_ylabel("waiting")
    below.set_xlabel("hours")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    save(figure, path)
