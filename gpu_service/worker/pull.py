"""Owns the pulling of lanes: only for free slots, in the order of turns, never missing work.

Each lane has a task. One that last found its lane empty keeps a long poll standing as long as there is
room, so that new work is met at once. One that last found work polls when it is its turn: between tiers
there are as many turns as free slots, within a tier the nearest lane with work goes first. A lane with
work answers within a round trip; one that does not is taken for empty at once, so that its turn goes to
the next while its poll stands on.

A standing poll may still bring a job when the last slot has just gone, when a nearer lane has got work,
or when the tier has just been paused: it is given straight back to the lane, for whichever worker asks
next. A paused tier's lanes are not polled.

For which tier there is room, and when somebody has to make some, is `chatcore.domain.slots`'.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aws_lambda_powertools import Logger

from chatcore.domain.affinity import offer_stands
from chatcore.domain.calendar import LANES, Calendar, number_in, rank
from chatcore.domain.errors import Retryable
from chatcore.domain.lanes import BY_PRIORITY, RETURNS, Lane, Turns
from chatcore.domain.slots import Slots
from chatcore.domain.tiers import Tier, Tiers
from chatcore.ports import CalendarStore, Lanes, Received
from chatcore.protocol.queue import Job
from gpu_service.worker.delivery import Delivery
from gpu_service.worker.pace import Pace
from gpu_service.worker.threads import Calls

POLL_S = 5
"""A worker that is told to stop has to wait for its standing polls, or their jobs would be hidden
from the others for a while. Shorter polls cost more SQS requests."""

TROUBLE_PAUSE_S = 1.0

DOUBT_S = 0.05
"""How long a lane with work may take to answer. Polls are long ones all the same: a short poll may come
back empty from a lane that is not."""


@dataclass(slots=True)
class Turn:
    """A slot that was given to a job. ahead: what its tier was charged for it; contended: whether others
    may be waiting for it; slot_s: for how long it was kept, once it is released."""

    tier: Tier
    ahead: float
    contended: bool
    began_s: float
    _puller: "Puller"
    slot_s: float = 0.0
    _has_read: bool = False
    _released: bool = False
    _settled: bool = False

    def has_read(self) -> None:
        """The engine has read its prompt. Twice is once."""
        if not self._has_read:
            self._has_read = True
            self._puller.has_read(self.tier)

    def release(self) -> None:
        """The engine is done with it: the slot may have the next job. Twice is once."""
        self.has_read()
        if not self._released:
            self._released = True
            self.slot_s = self._puller.pace.now_s() - self.began_s
            self._puller.pace.ended(self.tier, self.slot_s)
            self._puller.released(self.tier)

    def settle(self, cost_tokens: int) -> None:
        """What was done for the job here. Only the first that is said counts."""
        if not self._settled:
            self._settled = True
            self._puller.turns.settle(self.tier, self.ahead, cost_tokens)


Start = Callable[[Delivery, Turn], Awaitable[None]]
Preempt = Callable[[Tier], bool]


class Puller:
    """start: makes the answer of a job; it releases and settles its turn. preempt: has a run of a tier
    below this one leave its slot; False where there is none that could."""

    def __init__(
        self,
        lanes: Lanes,
        calendars: CalendarStore,
        slots: int,
        polls: Calls,
        calls: Calls,
        start: Start,
        preempt: Preempt,
        logger: Logger,
        now_ms: Callable[[], int],
        tiers: Tiers,
    ) -> None:
        self.turns = Turns()
        self._slots = Slots(slots, self.turns)
        self.pace = Pace(lambda: now_ms() / 1000)
        self._lanes = lanes
        self._calendars = calendars
        self._polls = polls
        self._calls = calls
        self._start = start
        self._preempt = preempt
        self._logger = logger
        self._now_ms = now_ms
        self._known = {tier: Calendar(tier) for tier in BY_PRIORITY}
        self._backlogged: set[Lane] = set()
        self._in_doubt = set(LANES)
        self._sent_ms: dict[Tier, int] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._advances: set[asyncio.Task[None]] = set()
        self._offers: list[Delivery] = []
        self.answers: set[asyncio.Task[None]] = set()
        self.paused = False
        self.adopt(tiers)

    @property
    def free_slots(self) -> int:
        return 0 if self.paused or self._stopping else max(0, self._slots.free)

    @property
    def running(self) -> Mapping[Tier, int]:
        """Runs that have a slot."""
        return self._slots.running

    @property
    def offers(self) -> int:
        """How many wait here for a slot."""
        now_ms = self._now_ms()
        self._offers = [each for each in self._offers if offer_stands(each.job.offered_ms, now_ms)]
        return len(self._offers)

    def offer(self, delivery: Delivery) -> None:
        """A run whose chat this worker knows: begun at once where there is room, or when there is some
        while the offer stands."""
        self._offers.append(delivery)
        self._serve_offers()

    @property
    def has_work(self) -> bool:
        """Whether something waits or runs here, as far as is known."""
        return bool(self._backlogged or self.answers)

    def sees_nothing_waiting(self, tier: Tier) -> bool:
        """Whether polls stand on all lanes of the tier, and have found nothing."""
        unsure = self._backlogged | self._in_doubt
        return self._has_room(tier) and not any(lane.tier is tier for lane in unsure)

    async def run(self) -> None:
        """Until `stop`; returns when no poll is standing any more. Answers may still be in the making."""
        await asyncio.gather(*(self._pull(lane) for lane in LANES))

    def stop(self) -> None:
        self._stopping = True
        self._changed.set()

    def pause(self, paused: bool) -> None:
        """Take no new work while the engine is unwell."""
        self.paused = paused
        self._serve_offers()
        self._changed.set()

    def calendar(self, tier: Tier) -> Calendar:
        """As far as this worker knows."""
        return self._known[tier]

    def learn(self, calendar: Calendar) -> None:
        """It was stored like that a moment ago; what this worker has seen of the front since then counts."""
        front = max(calendar.front, self._known[calendar.tier].front)
        self._known[calendar.tier] = replace(calendar, front=front)
        self._changed.set()

    def moved_on(self, tier: Tier, front: int) -> None:
        """The front is there, whoever moved it."""
        self.learn(replace(self._known[tier], front=front))

    def adopt(self, tiers: Tiers) -> None:
        """Go by these settings from now on: their weights and slots, and which tiers are paused."""
        self.tiers = tiers
        self.turns.weights = {tier: limits.weight for tier, limits in tiers.items()}
        self._slots.overcommit = {tier: each.overcommit_slots for tier, each in tiers.items()}
        self._serve_offers()
        self._changed.set()

    async def _pull(self, lane: Lane) -> None:
        stands_empty = False
        while True:
            while not self._stopping and not self._may_poll(lane):
                stands_empty = False
                self._changed.clear()
                await self._changed.wait()
            if self._stopping:
                self._no_doubt(lane)
                return
            if not stands_empty:
                self._in_doubt.add(lane)
            doubt = asyncio.get_running_loop().call_later(DOUBT_S, self._found_empty, lane)
            try:
                received = await self._polls(self._lanes.receive, lane, POLL_S)
            except Retryable as error:
                stands_empty = False
                self._logger.warning(
                    "lane.trouble", extra={"lane": str(lane), "reason": repr(error)}
                )
                await asyncio.sleep(TROUBLE_PAUSE_S)
                continue
            finally:
                doubt.cancel()
                self._no_doubt(lane)
            stands_empty = received is None
            if received is None:
                self._found_empty(lane)
                continue
            self._backlogged.add(lane)
            self._sent_ms[lane.tier] = received.sent_ms
            await self._take(lane, received)

    def _may_poll(self, lane: Lane) -> bool:
        if not self._has_room(lane.tier) or self._is_behind_another(lane):
            return False
        return lane not in self._backlogged or self._slots.is_turn_of(lane.tier, self._waited_s())

    def _has_room(self, tier: Tier) -> bool:
        if self.paused or self._stopping or self.tiers[tier].paused:
            return False
        return self._slots.has_room(tier)

    def _is_behind_another(self, lane: Lane) -> bool:
        """Whether a nearer lane of the tier has work."""
        front = self._known[lane.tier].front
        mine = rank(lane, front)
        return any(each.tier is lane.tier and rank(each, front) < mine for each in self._backlogged)

    def _nearer_is_in_doubt(self, lane: Lane) -> bool:
        """Whether a nearer lane of the tier was not asked yet, or a moment ago, and may have work."""
        front = self._known[lane.tier].front
        mine = rank(lane, front)
        return any(each.tier is lane.tier and rank(each, front) < mine for each in self._in_doubt)

    def _would_move_the_front(self, lane: Lane) -> bool:
        front = self._known[lane.tier].front
        return lane.index != RETURNS and number_in(lane, front) > front

    def _waited_s(self) -> Mapping[Tier, float]:
        """For how long the next run of each tier with work has waited: about as long as its last."""
        now_ms = self._now_ms()
        return {
            lane.tier: max(0, now_ms - self._sent_ms.get(lane.tier, now_ms)) / 1000
            for lane in self._with_work()
        }

    def _with_work(self) -> Sequence[Lane]:
        """Lanes that may be served and last had work: a paused tier's turn is the others'."""
        return [lane for lane in self._backlogged if not self.tiers[lane.tier].paused]

    async def _take(self, lane: Lane, received: Received[Job]) -> None:
        while self._would_move_the_front(lane) and self._nearer_is_in_doubt(lane):
            # Many lanes are asked at once when the nearest has run empty: a further one that is quicker
            # to answer must not make the front pass by those with work between.
            self._changed.clear()
            await self._changed.wait()
        if not self._has_room(lane.tier) or self._is_behind_another(lane):
            try:
                await self._polls(self._lanes.hide, lane, received.handle, 0)
            except Retryable as error:
                self._logger.warning("job.stays_hidden", extra={"reason": repr(error)})
            return
        number = self._front_moved_to(lane)
        delivery = Delivery(
            received.item,
            received.sent_ms,
            lane,
            received.handle,
            number,
            self._lanes,
            self._calls,
        )
        self._give_slot(delivery, lane.tier)

    def _give_slot(self, delivery: Delivery, tier: Tier) -> None:
        grant = self._slots.give(tier, {each.tier for each in self._with_work()})
        turn = Turn(tier, grant.ahead, grant.contended, self.pace.now_s(), self)
        self.pace.began(tier)
        answer = asyncio.ensure_future(self._start(delivery, turn))
        self.answers.add(answer)
        answer.add_done_callback(self.answers.discard)
        if grant.crowded:
            self._preempt(tier)

    def _front_moved_to(self, lane: Lane) -> int:
        """The lane's number, which is the front's if no nearer lane has work."""
        front = self._known[lane.tier].front
        if lane.index == RETURNS:
            return front
        number = number_in(lane, front)
        if number > front:
            self.moved_on(lane.tier, number)
            advance = asyncio.create_task(self._advance(lane.tier, number))
            self._advances.add(advance)
            advance.add_done_callback(self._advances.discard)
        return number

    async def _advance(self, tier: Tier, front: int) -> None:
        try:
            self.moved_on(tier, await self._calls(self._calendars.advance, tier, front))
        except Retryable as error:
            # The next one that is moved carries it along.
            self._logger.warning("calendar.trouble", extra={"reason": repr(error)})

    def _found_empty(self, lane: Lane) -> None:
        self._backlogged.discard(lane)
        # Its turn goes to the next, which may be an offer's.
        self._serve_offers()
        self._no_doubt(lane)

    def _no_doubt(self, lane: Lane) -> None:
        self._in_doubt.discard(lane)
        self._changed.set()

    def _serve_offers(self) -> None:
        """Before the lanes: it was their turn when they were offered."""
        if not self.offers:
            return
        for delivery in list(self._offers):
            tier = delivery.job.tier
            waited_s = {**self._waited_s(), tier: 0.0}
            if self._has_room(tier) and self._slots.is_turn_of(tier, waited_s):
                self._offers.remove(delivery)
                self._give_slot(delivery, tier)

    def released(self, tier: Tier) -> None:
        """A slot is free again."""
        self._slots.release(tier)
        self._serve_offers()
        self._changed.set()

    def has_read(self, tier: Tier) -> None:
        """The engine has read a prompt of the tier."""
        self._slots.has_read(tier)
        self._serve_offers()
        self._changed.set()
