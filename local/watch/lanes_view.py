"""Owns the picture of the lanes: for each tier its ring with the front, and what waits where."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from chatcore.domain.calendar import RING
from chatcore.domain.lanes import BY_PRIORITY, RETURNS
from chatcore.domain.tiers import Tier, Tiers
from local.watch.fleet import Fleet
from local.watch.palette import COLOURS, NOTHING, QUIET, Column, count, fitting, level, tier_name
from local.watch.queues import Queues

_MANY = 100


def lanes(fleet: Fleet, queues: Queues | None, tiers: Tiers, width: int) -> Table:
    """▸ marks the front: the ring goes round under it, and who has been served much is far from it."""
    figures = [fleet.tiers[tier] for tier in BY_PRIORITY]
    known = queues or Queues(0)
    columns = [
        Column("tier", [_name(tier, tiers) for tier in BY_PRIORITY]),
        Column("returns", [_returns(tier, known) for tier in BY_PRIORITY], 2),
        Column(_heads(), [_ring(tier, known) for tier in BY_PRIORITY], 1),
        Column("waiting", [count(waiting(fleet, queues, tier)) for tier in BY_PRIORITY], 0, True),
        Column("backlog slot-s", [count(each.backlog_slot_s) for each in figures], 3, True),
        Column("starts/s", [Text(f"{each.starts_per_s:.1f}") for each in figures], 4, True),
        Column("in flight", [count(known.in_flight(tier)) for tier in BY_PRIORITY], 5, True),
    ]
    return fitting(columns, width)


def waiting(fleet: Fleet, queues: Queues | None, tier: Tier) -> int:
    """Jobs in the tier's lanes, as SQS counts them; before it has been asked, as the workers did."""
    return queues.waiting(tier) if queues is not None else fleet.tiers[tier].waiting or 0


def _name(tier: Tier, tiers: Tiers) -> Text:
    name = tier_name(tier)
    return name.append(" paused", style="bold yellow") if tiers[tier].paused else name


def _heads() -> str:
    return "".join(f"  {index}  " for index in range(RING))


def _returns(tier: Tier, queues: Queues) -> Text:
    depth = queues.depth(tier, RETURNS)
    text = _cell(tier, depth.visible)
    return text.append(f" +{depth.delayed} late", style=QUIET) if depth.delayed else text


def _ring(tier: Tier, queues: Queues) -> Text:
    front, text = queues.front_index(tier), Text()
    if front == RETURNS:
        return text.append("first come, first served", style=QUIET)
    for index in range(RING):
        is_front = index == front
        text.append("▸" if is_front else " ", style="bold")
        text.append(_cell(tier, queues.depth(tier, index).visible))
    return text


def _cell(tier: Tier, jobs: int) -> Text:
    if not jobs:
        return Text(f" {NOTHING}  ", style=QUIET)
    told = str(jobs) if jobs < _MANY else f"{_MANY - 1}+"
    return Text(f"{level(jobs)}{told:<3}", style=COLOURS[tier])
