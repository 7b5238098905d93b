"""The picture of what some lines say, line by line."""

import io
from collections.abc import Mapping

from rich.console import Console

from chatcore.domain.lanes import Lane
from chatcore.domain.tiers import DEFAULTS, Tier, Tiers
from local.watch.fleet import Fleet
from local.watch.line import Line
from local.watch.queues import Depth, Queues
from local.watch.view import Picture
from tests.unit.watch.said import NOW_MS, by_worker

WIDE = 160


def drawn(
    *lines: Line,
    queues: Queues | None = None,
    limits: Tiers = DEFAULTS,
    now_ms: int = NOW_MS,
    trouble: str = "",
    width: int = WIDE,
    height: int = 60,
) -> list[str]:
    fleet = Fleet()
    for line in lines:
        fleet.take(line)
    fleet.look(now_ms)
    console = Console(record=True, width=width, file=io.StringIO())
    picture = Picture("chatcore-run", fleet, queues, limits, now_ms, trouble)
    console.print(picture, height=height)
    return console.export_text().splitlines()


def row(picture: list[str], part: str, beginning: str) -> str:
    """The line of a part that begins so."""
    titles = [number for number, line in enumerate(picture) if f"─ {part}" in line]
    return next(line for line in picture[titles[0] :] if line.strip("│ ").startswith(beginning))


def queues_of(
    depths: Mapping[Lane, Depth], fronts: Mapping[Tier, int] | None = None, dead_letters: int = 0
) -> Queues:
    return Queues(NOW_MS, depths, fronts or {}, dead_letters)


READY = (by_worker("worker.ready", slots=3), by_worker("worker.ready", worker=2, slots=3))
