"""The cases of `load`, each a fleet from a seed: saturated, under a load with and without the free tier,
and with one user who sends without a pause. What comes of one is small, so that processes can share them.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.report import percentile
from bench.scheduling.azure import Row, Send, rate_per_s, send, sends
from bench.scheduling.fleet import MAX_WAIT_S, Fleet
from chatcore.domain.errors import Code
from chatcore.domain.tiers import DEFAULTS, USER_TIERS, Tier

WORKERS = 8
SLOTS = 16
"""Of a worker, for all tiers. Memory is taken to hold as many of the longest that the tiers allow."""

SETTLED = (0.1, 0.9)
"""The part of a saturated fleet's answers whose rate is its capacity: the first ones still fill the slots,
the last ones leave them empty."""

FLOOD_WORKERS = 16
"""The eight runs of a pro user at his cap are a load of their own: 3 % of these workers' slots. On half as
many workers the free tier's TTFT p99 grows by 14 %, and by as much when so much more is asked by many."""


@dataclass(frozen=True)
class Waits:
    """Seconds to the first token, of one copy; zeros where there was nobody."""

    p50_s: float = 0.0
    p99_s: float = 0.0
    longest_s: float = 0.0

    @staticmethod
    def of(served: Iterable[Send]) -> Waits:
        ttft_s = [each.ttft_s for each in served]
        if not ttft_s:
            return Waits()
        return Waits(percentile(ttft_s, 50), percentile(ttft_s, 99), max(ttft_s))


@dataclass(frozen=True)
class Outcome:
    """Of one copy. busy_while_waiting: share of the slots that had a run in the engine while work waited
    in the lanes; refused: shares of a tier's sends, for too many runs of their user and for a queue that
    is too old; preempted, moved: for each admitted run; pauses: of those that had to leave a slot."""

    waits: Mapping[Tier, Waits]
    paying: Waits
    all: Waits
    busy: float
    busy_while_waiting: float
    refused: Mapping[Tier, float]
    too_old: Mapping[Tier, float]
    preempted: float
    moved: float
    pause_p99_s: float
    longest_pause_s: float


def capacity(rows: Sequence[Row], seed: int) -> float:
    """Requests a second of a fleet that always has more to do than it can; nobody is refused."""
    waiting = sends(rows, 1.0, seed)
    for each in waiting:
        each.arrival_s = 0.0
    fleet = _fleet(WORKERS, seed, math.inf)
    fleet.serve(waiting)
    ends_s = sorted(each.end_s for each in waiting)
    first, last = (int(len(ends_s) * share) for share in SETTLED)
    return (last - first) / (ends_s[last] - ends_s[first])


def loaded(rows: Sequence[Row], per_s: float, with_free: bool, seed: int) -> Outcome:
    """So many requests a second of all tiers; or of these only those of the paying ones."""
    fleet = _fleet(WORKERS, seed)
    arriving = sends(rows, per_s / rate_per_s(rows), seed)
    fleet.serve([each for each in arriving if with_free or each.tier is not Tier.FREE])
    return outcome(fleet, [*fleet.admitted, *fleet.refused])


def flooded(rows: Sequence[Row], per_s: float, by: Tier | None, seed: int) -> Outcome:
    """So many requests a second for each `WORKERS`, of all tiers, beside one user of this tier who always
    has as many runs as he may. What comes of it is that of the others."""
    fleet = _fleet(FLOOD_WORKERS, seed)
    per_s *= FLOOD_WORKERS / WORKERS
    arriving = sends(rows, per_s / rate_per_s(rows), seed)
    if by is not None:
        flood = Flood(fleet, by, rows, seed, until_s=arriving[-1].arrival_s)
        fleet.on_end, fleet.on_tick = flood.ended, flood.refill
    fleet.serve(arriving)
    return outcome(fleet, arriving)


@dataclass(eq=False)
class Flood:
    """A user who sends again as soon as one of his runs is over, and when he was refused now and then."""

    fleet: Fleet
    tier: Tier
    rows: Sequence[Row]
    seed: int
    until_s: float
    runs: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def ended(self, over: Send) -> None:
        if over.client == "flood":
            self.runs -= 1
            self.refill()

    def refill(self) -> None:
        while self.runs < DEFAULTS[self.tier].max_active_runs and self.fleet.now_s < self.until_s:
            more = send(self.tier, "flood", self.fleet.now_s, self._rng.choice(self.rows))
            self.fleet.arrive(more)
            if more.refused:
                return
            self.runs += 1


def outcome(fleet: Fleet, of: Sequence[Send]) -> Outcome:
    """Of a fleet that has served these, or refused them."""
    served = [each for each in of if not each.refused]
    sent = Counter(each.tier for each in of)
    refused = Counter(each.tier for each in of if each.refused)
    too_old = Counter(each.tier for each in of if each.refused == Code.QUEUE_TOO_OLD)
    pauses_s = [pause_s for each in served for pause_s in each.pauses_s]
    use = fleet.use
    return Outcome(
        waits={tier: Waits.of(each for each in served if each.tier is tier) for tier in USER_TIERS},
        paying=Waits.of(each for each in served if each.tier is not Tier.FREE),
        all=Waits.of(served),
        busy=use.busy_s / use.slot_s,
        busy_while_waiting=use.busy_waited_s / use.waited_s if use.waited_s else 1.0,
        refused={tier: refused[tier] / max(1, sent[tier]) for tier in USER_TIERS},
        too_old={tier: too_old[tier] / max(1, sent[tier]) for tier in USER_TIERS},
        preempted=len(pauses_s) / len(served),
        moved=sum(shared.moves for shared in fleet.tiers.values()) / len(served),
        pause_p99_s=percentile(pauses_s, 99) if pauses_s else 0.0,
        longest_pause_s=max(pauses_s, default=0.0),
    )


def mean_of(copies: Sequence[Outcome]) -> Outcome:
    """Of the copies' figures, each by itself; what was longest, of all copies."""
    return Outcome(
        waits={tier: _mean_waits([each.waits[tier] for each in copies]) for tier in USER_TIERS},
        paying=_mean_waits([each.paying for each in copies]),
        all=_mean_waits([each.all for each in copies]),
        busy=fmean(each.busy for each in copies),
        busy_while_waiting=fmean(each.busy_while_waiting for each in copies),
        refused={tier: fmean(each.refused[tier] for each in copies) for tier in USER_TIERS},
        too_old={tier: fmean(each.too_old[tier] for each in copies) for tier in USER_TIERS},
        preempted=fmean(each.preempted for each in copies),
        moved=fmean(each.moved for each in copies),
        pause_p99_s=fmean(each.pause_p99_s for each in copies),
        longest_pause_s=max(each.longest_pause_s for each in copies),
    )


def _mean_waits(copies: Sequence[Waits]) -> Waits:
    return Waits(
        fmean(each.p50_s for each in copies),
        fmean(each.p99_s for each in copies),
        max(each.longest_s for each in copies),
    )


def _fleet(workers: int, seed: int, max_wait_s: float = MAX_WAIT_S) -> Fleet:
    fleet = Fleet(SLOTS, seed, max_wait_s)
    fleet.add_workers(workers)
    return fleet
