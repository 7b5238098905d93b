"""Owns colours, bars and the writing of figures. Nothing is told by a colour alone: each tier has a
letter, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from chatcore.domain.tiers import Tier
from local.watch.sentences import Mood

COLOURS = {Tier.PRO: "magenta", Tier.PLUS: "blue", Tier.FREE: "green", Tier.BACKGROUND: "white"}
LETTERS = {Tier.PRO: "P", Tier.PLUS: "+", Tier.FREE: "f", Tier.BACKGROUND: "b"}
MOODS: dict[Mood, str] = {"good": "green", "calm": "", "warn": "yellow", "bad": "bold red"}
QUIET = "bright_black"
NOTHING = "–"

_LEVELS = "▁▂▃▄▅▆▇█"
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One of a table that has to fit. rank: those with the greatest go first where there is no room."""

    title: str
    cells: Sequence[Text]
    rank: int = 0
    to_the_right: bool = False

    @property
    def width(self) -> int:
        return max(cell_len(self.title), *(cell.cell_len for cell in self.cells))


def fitting(columns: Sequence[Column], width: int) -> Table:
    """As many of the columns as are whole in so many cells."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.width + _GAP for column in kept) > width:
        kept.remove(max(reversed(kept), key=lambda column: column.rank))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style=QUIET)
    for column in kept:
        justify = "right" if column.to_the_right else "left"
        table.add_column(column.title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*row)
    return table


def tier_name(tier: Tier) -> Text:
    return Text(f"{LETTERS[tier]} {tier}", style=COLOURS[tier])


def level(count: int) -> str:
    """A bar of one cell, for one or more; eight and more are the highest."""
    return _LEVELS[min(count, len(_LEVELS)) - 1]


def share_level(share: float) -> str:
    """A bar of one cell for a share of one; never none, so that nothing and a little differ from no bar."""
    return _LEVELS[min(len(_LEVELS) - 1, int(share * len(_LEVELS)))]


def share_bar(share: float, due: float, width: int = 12) -> str:
    """A bar for a share, with a mark at the share that is due."""
    cells = ["█" if (cell + 0.5) / width < share else "·" for cell in range(width)]
    cells[min(width - 1, int(due * width))] = "┃"
    return "".join(cells)


def pair(first: float | None, second: float | None) -> Text:
    """Two figures of one kind, as `p50 / p95`."""
    if first is None or second is None:
        return Text(NOTHING, style=QUIET)
    return Text(f"{first:,.0f} / {second:,.0f}")


def count(value: float, style: str = "") -> Text:
    return Text(f"{value:,.0f}", style=style) if value else Text("0", style=QUIET)
