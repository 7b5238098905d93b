"""Owns the picture of the tiers: what each gets, and how long its users wait."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from chatcore.domain.lanes import BY_PRIORITY
from chatcore.domain.tiers import Tier, Tiers
from local.watch.fleet import Figures, Fleet
from local.watch.lanes_view import waiting
from local.watch.palette import COLOURS, QUIET, Column, count, fitting, pair, share_bar, tier_name
from local.watch.queues import Queues
from local.watch.samples import LATELY_MS, Samples


def tiers(fleet: Fleet, queues: Queues | None, limits: Tiers, now_ms: int, width: int) -> Table:
    figures = [fleet.tiers[tier] for tier in BY_PRIORITY]

    def counted(name: str, style: str = "") -> list[Text]:
        return [count(getattr(each, name).total(now_ms), style) for each in figures]

    def times(name: str) -> list[Text]:
        return [_p50_p95(getattr(each, name), now_ms) for each in figures]

    served = _shares(fleet, queues, limits, now_ms)
    columns = [
        Column("tier", [tier_name(tier) for tier in BY_PRIORITY]),
        Column("running", [count(fleet.running(tier)) for tier in BY_PRIORITY], 0, True),
        Column("waiting", [count(waiting(fleet, queues, tier)) for tier in BY_PRIORITY], 0, True),
        Column("service, ┃ due", [served[tier] for tier in BY_PRIORITY], 2),
        Column("TTFT p50 / p95", times("ttft_ms"), 0, True),
        Column("queue", times("queue_ms"), 3, True),
        Column("ITL", times("itl_ms"), 7, True),
        Column("cancel", times("cancel_ms"), 1, True),
        Column("ended", [_ended(each, now_ms) for each in figures], 4, True),
        Column("sent", counted("sends"), 8, True),
        Column("refused", counted("refused", "yellow"), 5, True),
        Column("budget", counted("budget_rejections", "yellow"), 9, True),
        Column("rewinds", counted("rewinds", "yellow"), 6, True),
        Column("preempted", counted("preemptions", "yellow"), 6, True),
    ]
    return fitting(columns, width)


def _p50_p95(samples: Samples, now_ms: int) -> Text:
    return pair(samples.percentile(50, now_ms), samples.percentile(95, now_ms))


def _ended(figures: Figures, now_ms: int) -> Text:
    """Well, and of the others those that were stopped or failed."""
    completed, cancelled, failed = (
        len([one for one in samples.values(now_ms, LATELY_MS) if one])
        for samples in (figures.completed, figures.cancelled, figures.failed)
    )
    text = count(completed)
    if cancelled:
        text.append(f" -{cancelled}", style=QUIET)
    if failed:
        text.append(f" ✗{failed}", style="bold red")
    return text


def _shares(fleet: Fleet, queues: Queues | None, limits: Tiers, now_ms: int) -> dict[Tier, Text]:
    """Of the service of the last minute, and what is due by weight among those that had work in it: a
    tier that asks for less than its share leaves the rest to the others."""
    served = {tier: figures.served.total(now_ms) for tier, figures in fleet.tiers.items()}
    total = sum(served.values())
    with_work = {
        tier
        for tier in fleet.tiers
        if served[tier] or fleet.running(tier) or waiting(fleet, queues, tier)
    }
    weights = sum(limits[tier].weight for tier in with_work)
    told: dict[Tier, Text] = {}
    for tier in fleet.tiers:
        if tier not in with_work:
            told[tier] = Text("no work", style=QUIET)
            continue
        share, due = served[tier] / total if total else 0.0, limits[tier].weight / weights
        told[tier] = Text().append(share_bar(share, due), style=COLOURS[tier])
        told[tier].append(f" {share:>4.0%} of {due:.0%}")
    return told
