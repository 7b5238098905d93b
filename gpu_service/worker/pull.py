"""Owns the pulling of lanes: only for free slots, in the order of turns, never missing work.

Each lane has a task. One that last found its lane empty keeps a long poll standing as long as a slot
is free, so that new work is met at once. One that last found work polls when it is its turn: there
are as many turns as free slots. A lane with work answers within a round trip; one that does not is
taken for empty at once, so that its turn goes to the next while its poll stands on.

A standing poll may still bring a job when the last slot has just gone: it is given straight back to
the lane, for whichever worker asks next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aws_lambda_powertools import Logger

from chatcore.domain.errors import Retryable
from chatcore.domain.lanes import LANES, Lane, Turns
from chatcore.domain.tiers import Tier
from chatcore.ports import Lanes, Received
from chatcore.protocol.queue import Job
from gpu_service.worker.threads import Calls

POLL_S = 2
"""A worker that is told to stop has to wait for its standing polls, or their jobs would be hidden
from the others for a while. Shorter polls cost SQS requests, which cost nothing beside a GPU."""

TROUBLE_PAUSE_S = 1.0

DOUBT_S = 0.05
"""How long a lane with work may take to answer. Polls are long ones all the same: a short poll may come
back empty from a lane that is not."""


@dataclass(slots=True)
class Turn:
    """A slot that was given to a job. ahead: what its tier was charged for it."""

    tier: Tier
    ahead: float
    _puller: "Puller"
    _released: bool = False
    _settled: bool = False

    def release(self) -> None:
        """The engine is done with it: the slot may have the next job. Twice is once."""
        if not self._released:
            self._released = True
            self._puller.released()

    def settle(self, cost_tokens: int) -> None:
        """What was done for the job here. Only the first that is said counts."""
        if not self._settled:
            self._settled = True
            self._puller.turns.settle(self.tier, self.ahead, cost_tokens)


Start = Callable[[Lane, Received[Job], Turn], Awaitable[None]]


class Puller:
    """start: makes the answer of a job; it releases and settles its turn."""

    def __init__(
        self,
        lanes: Lanes,
        slots: int,
        polls: Calls,
        start: Start,
        logger: Logger,
        now_ms: Callable[[], int],
    ) -> None:
        self.turns = Turns()
        self._lanes = lanes
        self._free = slots
        self._polls = polls
        self._start = start
        self._logger = logger
        self._now_ms = now_ms
        self._backlogged: set[Lane] = set()
        self._sent_ms: dict[Tier, int] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self.answers: set[asyncio.Task[None]] = set()
        self.paused = False

    async def run(self) -> None:
        """Until `stop`; returns when no poll is standing any more. Answers may still be in the making."""
        await asyncio.gather(*(self._pull(lane) for lane in LANES))

    def stop(self) -> None:
        self._stopping = True
        self._changed.set()

    def pause(self, paused: bool) -> None:
        """Take no new work while the engine is unwell."""
        self.paused = paused
        self._changed.set()

    async def _pull(self, lane: Lane) -> None:
        while True:
            while not self._stopping and not self._may_poll(lane):
                self._changed.clear()
                await self._changed.wait()
            if self._stopping:
                return
            doubt = asyncio.get_running_loop().call_later(DOUBT_S, self._found_empty, lane)
            try:
                received = await self._polls(self._lanes.receive, lane, POLL_S)
            except Retryable as error:
                self._logger.warning(
                    "lane.trouble", extra={"lane": str(lane), "reason": repr(error)}
                )
                await asyncio.sleep(TROUBLE_PAUSE_S)
                continue
            finally:
                doubt.cancel()
            if received is None:
                self._found_empty(lane)
                continue
            self._backlogged.add(lane)
            self._sent_ms[lane.tier] = received.sent_ms
            await self._take(lane, received)

    def _may_poll(self, lane: Lane) -> bool:
        if self.paused or self._free <= 0:
            return False
        if lane not in self._backlogged:
            return True
        return lane.tier in self.turns.order(self._waited_s())[: self._free]

    def _waited_s(self) -> Mapping[Tier, float]:
        """For how long the next run of each tier with work has waited: about as long as its last."""
        now_ms = self._now_ms()
        return {
            lane.tier: max(0, now_ms - self._sent_ms.get(lane.tier, now_ms)) / 1000
            for lane in self._backlogged
        }

    async def _take(self, lane: Lane, received: Received[Job]) -> None:
        if self._free <= 0 or self._stopping or self.paused:
            try:
                await self._polls(self._lanes.hide, lane, received.handle, 0)
            except Retryable as error:
                self._logger.warning("job.stays_hidden", extra={"reason": repr(error)})
            return
        self._free -= 1
        ahead = self.turns.take(lane.tier, {each.tier for each in self._backlogged})
        turn = Turn(lane.tier, ahead, self)
        answer = asyncio.ensure_future(self._start(lane, received, turn))
        self.answers.add(answer)
        answer.add_done_callback(self.answers.discard)

    def _found_empty(self, lane: Lane) -> None:
        self._backlogged.discard(lane)
        self._changed.set()

    def released(self) -> None:
        """A slot is free again."""
        self._free += 1
        self._changed.set()
