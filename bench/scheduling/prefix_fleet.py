"""Workers that pull turns from shared lanes for their free slots, and are offered those whose prefix they
have: an event-based model that runs the production rule (`chatcore.domain.affinity`). As in the product
a turn is offered when it is sent only if nobody waits, as far as is known, else when its turn has come;
one that is offered or left to its favourite comes back before all others.

What a worker may know is what it could: the beats, at most two seconds old; the chat's last worker,
which stands in the chat; its own offers; what it pulls. A turn's time is that of `prefix_cache`. A poll
takes no time, an offer 20 ms. Which of several workers with free slots gets a turn is drawn by lot, as
SQS does among standing polls.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from bench.scheduling.prefix_cache import (
    BLOCKS,
    PREFILL_TOKEN_S,
    TOKEN_S,
    WORKERS,
    Cache,
    prefill_s,
)
from bench.scheduling.prefix_lanes import Lanes
from bench.scheduling.prefix_trace import Turn
from chatcore.domain import affinity
from chatcore.domain.affinity import TWIN_DELAY_S
from chatcore.domain.beat import BEAT_EVERY_MS, Beat

OFFER_S = 0.02

PUBLISH_EVERY_S = 5.0
CHARGE_EVERY_S = 3.0
"""As the product does it: the backlog; and of a run whose first token is there, what it has cost."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is used of affinity. offers: the inbox is told at all; waits: offers are kept for a free slot,
    and others leave a turn to its favourite; without it an offer that finds no free slot is dropped."""

    offers: bool
    waits: bool


NONE = Rule(offers=False, waits=False)
DROPPED = Rule(offers=True, waits=False)
OURS = Rule(offers=True, waits=True)


@dataclass(slots=True, eq=False)
class Worker:
    number: int
    free: int
    cache: Cache
    offers: deque[Turn] = field(default_factory=deque)
    beat: Beat | None = None


@dataclass(slots=True)
class Counts:
    """Messages that affinity costs. offered: to inboxes; left: turns hidden again in the lane."""

    offered: int = 0
    left: int = 0


class Fleet:
    """present: how many turns are in the system at a time, running or waiting; the next of the trace
    comes when one ends, but never before its chat's last one has ended. silent_s: by worker, since when
    it neither beats nor takes anything; what it has begun it still ends."""

    def __init__(
        self,
        lanes: Lanes,
        rule: Rule,
        *,
        slots: int,
        present: int,
        seed: int,
        workers: int = WORKERS,
        blocks: int = BLOCKS,
        silent_s: Mapping[int, float] | None = None,
    ) -> None:
        self.workers = [Worker(number, slots, Cache(blocks)) for number in range(workers)]
        self.counts = Counts()
        self.now_s = 0.0
        self.lanes = lanes
        self._rule = rule
        self._slots = slots
        self._room = present
        self._rng = random.Random(seed)
        self._silent_s = silent_s or {}
        self._coming: deque[Turn] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._to_end = 0

    def serve(self, turns: Sequence[Turn]) -> None:
        """All of them, until the last one ends."""
        self._coming = deque(turns)
        self._to_end = len(turns)
        for worker in self.workers:
            # Not all at the same moment: their clocks know nothing of each other.
            first_s = worker.number * BEAT_EVERY_MS / 1000 / len(self.workers)
            self._in(first_s, partial(self._beat, worker))
        self._in(0.0, self._let_in)
        self._in(PUBLISH_EVERY_S, self._publish)
        while self._to_end:
            self.now_s, _, event = heapq.heappop(self._events)
            self.lanes.now_s = self.now_s
            event()

    def _now_ms(self) -> int:
        return round(self.now_s * 1000)

    def _in(self, delay_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._order), event))

    def _is_silent(self, worker: Worker) -> bool:
        return self.now_s >= self._silent_s.get(worker.number, math.inf)

    def _beat(self, worker: Worker) -> None:
        if self._is_silent(worker):
            return
        worker.beat = Beat(
            worker_id=str(worker.number),
            inbox=str(worker.number),
            beat_ms=self._now_ms(),
            slots=self._slots,
            free_slots=worker.free,
            offers=len(worker.offers),
        )
        self._in(BEAT_EVERY_MS / 1000, partial(self._beat, worker))

    def _publish(self) -> None:
        self.lanes.publish()
        self._in(PUBLISH_EVERY_S, self._publish)

    def _let_in(self) -> None:
        """The first turns whose chats are at rest."""
        held_back = []
        while self._room and self._coming:
            turn = self._coming.popleft()
            before = turn.previous
            if before is not None and not 0 < before.ended_s <= self.now_s:
                held_back.append(turn)
                continue
            self._room -= 1
            turn.arrived_s = self.now_s
            self._in(0.0, partial(self._submit, turn))
        self._coming.extendleft(reversed(held_back))

    def _favourite(self, turn: Turn) -> Worker | None:
        before = turn.previous
        if not self._rule.offers or before is None or before.worker is None:
            return None
        return self.workers[before.worker]

    def _submit(self, turn: Turn) -> None:
        self.lanes.admit(turn)
        favourite = self._favourite(turn)
        if (
            favourite is not None
            and self.lanes.is_next(turn)
            and affinity.favours(favourite.beat, self._now_ms())
        ):
            self._offer(favourite, turn, self._now_ms())
            self._in(TWIN_DELAY_S, partial(self._give_back, turn))
        else:
            self.lanes.put(turn)
            self._pull()

    def _give_back(self, turn: Turn) -> None:
        if turn.worker is None:
            self.lanes.give_back(turn)
            self._pull()

    def _offer(self, worker: Worker, turn: Turn, offered_ms: int) -> None:
        turn.offered_ms = offered_ms
        self.counts.offered += 1
        self._in(OFFER_S, partial(self._offered, worker, turn))

    def _offered(self, worker: Worker, turn: Turn) -> None:
        # Nobody else can have begun it: its copy in the lane is hidden for longer than an offer takes.
        if self._is_silent(worker):
            return
        if worker.free:
            self._begin(worker, turn)
        elif self._rule.waits:
            worker.offers.append(turn)

    def _pull(self) -> None:
        while free := [w for w in self.workers if w.free and not self._is_silent(w)]:
            worker = self._rng.choice(free)
            # As `domain.slots` has it: who gives his last slot may keep others waiting.
            contended = worker.free == 1
            turn = self.lanes.take(contended)
            if turn is None:
                return
            if not self._leaves(worker, turn, contended):
                self._begin(worker, turn)

    def _leaves(self, worker: Worker, turn: Turn, others_wait: bool) -> bool:
        favourite = self._favourite(turn)
        if not self._rule.waits or favourite is None or favourite is worker:
            return False
        leave = affinity.leave(
            favourite.beat,
            turn.offered_ms,
            self._now_ms(),
            prefix_ms=_prefix_ms(turn),
            others_wait=others_wait,
        )
        if leave is None:
            return False
        if leave.is_new:
            self._offer(favourite, turn, leave.offered_ms)
        self.counts.left += 1
        self._in(leave.hide_s, partial(self._give_back, turn))
        return True

    def _begin(self, worker: Worker, turn: Turn) -> None:
        worker.free -= 1
        turn.worker = worker.number
        turn.hits = worker.cache.use(turn.asked.blocks)
        turn.started_s = self.now_s
        turn.first_s = self.now_s + prefill_s(turn.uncached_tokens)
        turn.ended_s = turn.first_s + TOKEN_S * turn.asked.output_tokens
        self.lanes.begin(turn)
        self._in(turn.first_s - self.now_s, partial(self._charge, turn))
        self._in(turn.ended_s - self.now_s, partial(self._end, worker, turn))

    def _charge(self, turn: Turn) -> None:
        self.lanes.charge(turn, round((self.now_s - turn.first_s) / TOKEN_S))
        if self.now_s + CHARGE_EVERY_S < turn.ended_s:
            self._in(CHARGE_EVERY_S, partial(self._charge, turn))

    def _end(self, worker: Worker, turn: Turn) -> None:
        worker.free += 1
        self._to_end -= 1
        self._room += 1
        self.lanes.end(turn)
        self._let_in()
        while worker.free and worker.offers and not self._is_silent(worker):
            offer = worker.offers.popleft()
            stands = affinity.offer_stands(offer.offered_ms or 0, self._now_ms())
            if offer.worker is None and stands:
                self._begin(worker, offer)
        self._pull()


def _prefix_ms(turn: Turn) -> int:
    """What the chat's last prompt and its answer would take anew."""
    if turn.previous is None:
        return 0
    asked = turn.previous.asked
    return round(PREFILL_TOKEN_S * (asked.input_tokens + asked.output_tokens) * 1000)
