"""A day of load on a fleet that grows and shrinks, beside fleets of one size.

The trace's requests come in waves: few, many, few. The day is pressed into an hour or
two, and a worker takes three minutes to start, as a GPU machine with a model does: so the load rises far
faster for it than on a real day. Who decides is `domain.scaling`, from what the product
publishes: the backlog in slot-seconds, and the busy slots.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from bench.scheduling.azure import Row, Send, sends
from bench.scheduling.fleet import MAX_WAIT_S, Fleet
from bench.scheduling.load_cases import SLOTS, Waits
from chatcore.domain.scaling import Goals, Scale, backlog_slot_s, desired_workers
from chatcore.domain.tiers import USER_TIERS, Tier

START_S = 180.0
DECIDE_EVERY_S = 30.0

LOWEST, HIGHEST = 0.2, 1.8
"""Of the mean load, in the night and at noon."""

LEAST_WORKERS, MOST_WORKERS = 1, 12
GUESS_SLOT_S = 10.0
GUESS_SHARE = 1 / 50
"""Of each new run in the mean time that a slot is kept."""


@dataclass(frozen=True)
class Moment:
    """workers: that serve; starting: that do not yet; waiting: jobs in the lanes."""

    at_s: float
    workers: int
    starting: int
    waiting: int


@dataclass(frozen=True)
class Day:
    """worker_hours: paid, those of starting workers too; idle: share of their slot time without a run;
    refused: share of the sends."""

    moments: Sequence[Moment]
    waits: dict[Tier, Waits]
    worker_hours: float
    idle: float
    refused: float

    @property
    def mean_workers(self) -> float:
        return fmean(each.workers + each.starting for each in self.moments)

    @property
    def peak_workers(self) -> int:
        return max(each.workers + each.starting for each in self.moments)


def waves(rows: Sequence[Row], per_s: float, day_s: float, seed: int) -> list[Send]:
    """A day with so many requests a second on the mean, with lengths of the trace."""
    rng = random.Random(seed)
    arriving: list[Row] = []
    at_s = 0.0
    while True:
        at_s += rng.expovariate(per_s * HIGHEST)
        if at_s >= day_s:
            break
        # Thinned: as many of them as the hour has.
        if rng.random() < share_at(at_s / day_s) / HIGHEST:
            like = rng.choice(rows)
            arriving.append(Row(at_s, like.input_tokens, like.output_tokens))
    return sends(arriving, 1.0, seed)


def share_at(part: float) -> float:
    """Of the mean load, at this part of the day."""
    middle, swing = (HIGHEST + LOWEST) / 2, (HIGHEST - LOWEST) / 2
    return middle - swing * math.cos(2 * math.pi * part)


@dataclass(eq=False)
class Scaler:
    """Looks now and then, and has workers start and leave."""

    fleet: Fleet
    goals: Goals
    scale: Scale
    _starting: deque[float] = field(default_factory=deque)
    _decided_s: float = 0.0
    _slot_s: dict[Tier, float] = field(default_factory=lambda: dict.fromkeys(Tier, GUESS_SLOT_S))
    moments: list[Moment] = field(default_factory=list)
    paid_s: float = 0.0

    def ended(self, send: Send) -> None:
        kept_s = send.end_s - send.first_s
        self._slot_s[send.tier] += (kept_s - self._slot_s[send.tier]) * GUESS_SHARE

    def look(self) -> None:
        fleet = self.fleet
        while self._starting and self._starting[0] <= fleet.now_s:
            self._starting.popleft()
            fleet.add_workers(1)
        if fleet.now_s - self._decided_s < DECIDE_EVERY_S:
            return
        self.paid_s += (len(fleet.machines) + len(self._starting)) * (fleet.now_s - self._decided_s)
        self._decided_s = fleet.now_s
        waiting = {tier: sum(s.waiting_by_lane().values()) for tier, s in fleet.tiers.items()}
        self.moments.append(
            Moment(fleet.now_s, len(fleet.machines), len(self._starting), sum(waiting.values()))
        )
        busy = sum(len(each.aheads) for each in fleet.machines)
        self.scale = desired_workers(
            self.scale,
            backlog_slot_s(waiting, self._slot_s),
            busy,
            self.goals,
            round(fleet.now_s * 1000),
        )
        self.go_to(self.scale.workers)

    @property
    def starting(self) -> int:
        return len(self._starting)

    def go_to(self, workers: int) -> None:
        """So many are to be there, or to start."""
        there = len(self.fleet.machines) - len(self.fleet.draining) + len(self._starting)
        for _ in range(there, workers):
            self._starting.append(self.fleet.now_s + START_S)
        for _ in range(workers, there):
            if self._starting:
                self._starting.pop()
            else:
                self.fleet.drain_workers(1)


def day(rows: Sequence[Row], per_s: float, day_s: float, least: int, most: int, seed: int) -> Day:
    """With between so many and so many workers; one size where they are the same."""
    fleet = Fleet(SLOTS, seed, max_wait_s=MAX_WAIT_S)
    fleet.add_workers(least)
    scaler = Scaler(fleet, Goals(SLOTS, least, most), Scale(least))
    fleet.on_end, fleet.on_tick = scaler.ended, scaler.look
    fleet.serve(waves(rows, per_s, day_s, seed), until_s=day_s)
    served = fleet.admitted
    return Day(
        moments=scaler.moments,
        waits={tier: Waits.of(each for each in served if each.tier is tier) for tier in USER_TIERS},
        worker_hours=scaler.paid_s / 3600,
        idle=1 - fleet.use.busy_s / fleet.use.slot_s,
        refused=len(fleet.refused) / (len(fleet.refused) + len(served)),
    )
