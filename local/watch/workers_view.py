"""Owns the picture of the workers: each with its slots as cells, and how warm its last answers were."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from chatcore.domain.lanes import BY_PRIORITY
from local.watch.fleet import Fleet, InSlot, Standing, Worker
from local.watch.palette import COLOURS, LETTERS, QUIET, share_level
from local.watch.sentences import short

LINES = 2
"""Of each worker."""

_STANDINGS = {
    Standing.READY: "green",
    Standing.DRAINING: "yellow",
    Standing.ENGINE_AWAY: "bold red",
    Standing.LOST: "bold white on red",
    Standing.GONE: QUIET,
}
_NAME_WIDTH, _STANDING_WIDTH = 10, 12


def shown(fleet: Fleet, most: int) -> Sequence[Worker]:
    """In the order of their coming; of too many the first."""
    return list(fleet.workers.values())[:most]


def workers(of: Sequence[Worker], now_ms: int, width: int) -> Text:
    """Two lines each: how it does, and its slots. `…`: its engine reads the prompt."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, worker in enumerate(of):
        text.append("\n" if number else "")
        text.append(_about(worker, now_ms)).append("\n").append(_slots(worker, width))
    return text


def _about(worker: Worker, now_ms: int) -> Text:
    standing = worker.standing(now_ms)
    text = Text().append(f"{worker.name:<{_NAME_WIDTH}}", style="bold")
    text.append(f"{standing:<{_STANDING_WIDTH}}", style=_STANDINGS[standing])
    text.append(f"{len(worker.runs):>2} of {worker.slots} slots")
    text.append("   favourite ", style=QUIET)
    if worker.hoped:
        text.append(f"{worker.hits} of {worker.hoped} ({worker.hits / worker.hoped:.0%})")
    else:
        text.append("none yet", style=QUIET)
    text.append("   cached ", style=QUIET)
    for answer in worker.answers:
        text.append(share_level(answer.cached_share), style=COLOURS[answer.tier])
    if worker.answers:
        mean = sum(each.cached_share for each in worker.answers) / len(worker.answers)
        text.append(f" {mean:.0%}")
    text.append("   offers ", style=QUIET).append(str(worker.offers))
    return text.append("   viewers ", style=QUIET).append(str(worker.viewers))


def _slots(worker: Worker, width: int) -> Text:
    """Those of the higher tiers first; behind the bar the slots beyond its own."""
    text = Text(" " * _NAME_WIDTH)
    runs = sorted(worker.runs.values(), key=lambda run: (BY_PRIORITY.index(run.tier), run.since_ms))
    cells = max(worker.slots, len(runs))
    for number in range(cells):
        if number == worker.slots:
            text.append("│ ", style="bold")
        run = runs[number] if number < len(runs) else None
        text.append(_cell(run) if run is not None else Text(" ···· ", style=QUIET)).append(" ")
    text.truncate(width)
    return text


def _cell(run: InSlot) -> Text:
    reads = "…" if run.reads else " "
    style = f"black on {COLOURS[run.tier]}"
    return Text(f" {LETTERS[run.tier]}{short(run.run_id)}{reads}", style=style)
