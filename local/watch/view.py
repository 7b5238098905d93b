"""Owns the whole picture: which parts there are, and which of them fit.

head      always
workers   as many as fit
tiers     │
lanes     ├ where there is room, in this order
events    │ as many as fit
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chatcore.domain.tiers import Tier, Tiers
from local.watch.fleet import Fleet, Standing
from local.watch.lanes_view import lanes, waiting
from local.watch.palette import COLOURS, LETTERS, MOODS, QUIET
from local.watch.queues import Queues
from local.watch.tiers_view import tiers
from local.watch.workers_view import LINES, shown, workers

_BORDERS = 2
_TABLE_LINES = 1 + len(Tier) + _BORDERS
_SIDES = 4
_OLD_MS = 8_000
"""Counts that are older are told with their age."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything at one moment. queues: None until they were first counted; trouble: with AWS, if any."""

    stack_name: str
    fleet: Fleet
    queues: Queues | None
    limits: Tiers
    now_ms: int
    trouble: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._composed(options.max_width, options.height or options.size.height)

    def _composed(self, width: int, height: int) -> Group:
        inside = width - _SIDES
        left = height - 1
        parts: dict[str, RenderableType] = {}
        some = shown(self.fleet, max(0, (left - _BORDERS) // LINES))
        if some:
            parts["workers"] = _panel("Workers", workers(some, self.now_ms, inside), _legend())
            left -= LINES * len(some) + _BORDERS
        if left >= _TABLE_LINES:
            table = tiers(self.fleet, self.queues, self.limits, self.now_ms, inside)
            notes = "times in ms, of 5 minutes; counts and shares of the last minute"
            parts["tiers"] = _panel("Tiers", table, notes)
            left -= _TABLE_LINES
        if left >= _TABLE_LINES:
            table = lanes(self.fleet, self.queues, self.limits, inside)
            parts["lanes"] = _panel("Lanes", table, "▸ the front, where the next turn is")
            left -= _TABLE_LINES
        if left > _BORDERS:
            parts["events"] = _panel("Events", self._events(left - _BORDERS), "")
        order = ("lanes", "workers", "tiers", "events")
        return Group(self._head(width), *(parts[name] for name in order if name in parts))

    def _head(self, width: int) -> Table:
        fleet, now_ms = self.fleet, self.now_ms
        living = [
            worker
            for worker in fleet.workers.values()
            if worker.standing(now_ms) not in (Standing.LOST, Standing.GONE)
        ]
        slots = sum(worker.slots for worker in living)
        busy = sum(len(worker.runs) for worker in living)
        waits = sum(waiting(fleet, self.queues, tier) for tier in Tier)
        dead = self.queues.dead_letters if self.queues is not None else 0
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f" {self.stack_name} ", style="bold reverse")
        text.append(f"  {_many(len(living), 'worker')}, {busy} of {slots} slots busy, ")
        text.append(f"{waits} waiting, ")
        text.append(_many(dead, "dead letter"), style="bold red" if dead else "")
        faults = sum(
            figures.faults.total(now_ms) + figures.busy.total(now_ms)
            for figures in (*fleet.tiers.values(), fleet.nobody)
        )
        if faults:
            text.append(f", {_many(round(faults), 'fault')}", style="bold red")
        if self.queues is not None and now_ms - self.queues.at_ms > _OLD_MS:
            text.append(
                f"  counts are {(now_ms - self.queues.at_ms) // 1000} s old", style="yellow"
            )
        if self.trouble:
            text.append(f"  {self.trouble}", style="bold red")
        head = Table.grid(expand=True)
        head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        head.add_column(justify="right", no_wrap=True)
        head.add_row(text, Text(_clock(now_ms), style=QUIET))
        return head

    def _events(self, most: int) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        events = list(self.fleet.events)[:most]
        for number, event in enumerate(events):
            text.append("\n" if number else "")
            text.append(_clock(event.at_ms), style=QUIET)
            mark = LETTERS[event.tier] if event.tier is not None else " "
            text.append(f" {mark} ", style=COLOURS[event.tier] if event.tier is not None else "")
            text.append(event.words, style=MOODS[event.mood])
            if event.times > 1:
                text.append(f" (×{event.times})", style=QUIET)
        return text if events else Text("nothing yet", style=QUIET)


def _panel(title: str, inside: RenderableType, notes: str) -> Panel:
    heading = Text().append(title, style="bold")
    if notes:
        heading.append(f" · {notes}", style=QUIET)
    return Panel(inside, title=heading, title_align="left", border_style=QUIET)


def _many(number: int, of_what: str) -> str:
    return f"{number} {of_what}" + ("" if number == 1 else "s")


def _legend() -> str:
    letters = ", ".join(f"{LETTERS[tier]} {tier}" for tier in Tier)
    return f"{letters}; … reads its prompt"


def _clock(at_ms: int) -> str:
    """Where this machine is."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")
