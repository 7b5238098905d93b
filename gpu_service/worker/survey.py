"""Owns what a worker tells the others of itself and of the lanes, and what it learns from them: beats,
backlogs, and where the fronts are.

    every 1 s   the fronts, while there is work
    every 2 s   its own beat
    every 5 s   the fronts in any case; and what waits in the lanes, by whoever is the first of the fleet

Nothing of it is on the way of a prompt, and nothing breaks when it fails: others then know less.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from aws_lambda_powertools import Logger

from chatcore.domain.beat import (
    BEAT_EVERY_MS,
    Beat,
    expected_starts_per_s,
    fleet_slot_s,
    fleet_starts_per_s,
)
from chatcore.domain.calendar import LANES, Backlog, Calendar, paced, weights_beside
from chatcore.domain.errors import Retryable
from chatcore.domain.tiers import Tier
from chatcore.ports import Lanes, Stores
from gpu_service.worker.measures import of_backlog
from gpu_service.worker.pull import Puller
from gpu_service.worker.threads import Calls

LOOK_EVERY_S = 1.0
PUBLISH_EVERY_MS = 5_000


@dataclass(slots=True)
class Survey:
    """offers: how many wait at this worker for a slot."""

    stores: Stores
    lanes: Lanes
    puller: Puller
    calls: Calls
    logger: Logger
    now_ms: Callable[[], int]
    worker_id: str
    inbox: str
    slots: int
    offers: Callable[[], int]
    _beat_ms: int = 0
    _fronts_ms: int = 0
    _troubled: bool = field(default=False)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._once()
                self._troubled = False
            except Retryable as error:
                if not self._troubled:
                    self.logger.warning("survey.trouble", extra={"reason": repr(error)})
                self._troubled = True
            await asyncio.sleep(LOOK_EVERY_S)

    async def leave(self) -> None:
        """Nobody is to offer this worker anything any more."""
        try:
            await self.calls(self.stores.beats.remove, self.worker_id)
        except Retryable as error:
            # Then its last beat grows old.
            self.logger.warning("survey.trouble", extra={"reason": repr(error)})

    async def _once(self) -> None:
        now_ms = self.now_ms()
        if now_ms - self._beat_ms >= BEAT_EVERY_MS:
            await self.calls(self.stores.beats.put, self._beat(now_ms))
            self._beat_ms = now_ms
        if self.puller.has_work or now_ms - self._fronts_ms >= PUBLISH_EVERY_MS:
            await self._look_at_the_calendars()
            self._fronts_ms = now_ms

    def _beat(self, now_ms: int) -> Beat:
        pace = self.puller.pace
        return Beat(
            worker_id=self.worker_id,
            inbox=self.inbox,
            beat_ms=now_ms,
            slots=self.slots,
            free_slots=self.puller.free_slots,
            offers=self.offers(),
            starts_per_s=pace.starts_per_s(),
            slot_s=pace.slot_s(),
        )

    async def _look_at_the_calendars(self) -> None:
        calendars = [await self.calls(self.stores.calendars.get, tier) for tier in Tier]
        for calendar in calendars:
            self.puller.learn(calendar)
        now_ms = self.now_ms()
        due = [each for each in calendars if now_ms - each.backlog.at_ms >= PUBLISH_EVERY_MS]
        # One scan does for all tiers that are due.
        beats = await self.calls(self.stores.beats.all) if due else []
        for calendar in due:
            await self._publish(calendar, beats)

    async def _publish(self, former: Calendar, beats: Sequence[Beat]) -> None:
        tier = former.tier
        # Who stands on all lanes and gets nothing need not ask what is in them.
        known_empty = self.puller.sees_nothing_waiting(tier)
        lanes = [lane for lane in LANES if lane.tier is tier and not known_empty]
        waiting = await asyncio.gather(*(self.calls(self.lanes.waiting, lane) for lane in lanes))
        now_ms = self.now_ms()
        limits = self.puller.tiers[tier]
        known = {each: self.puller.calendar(each) for each in Tier}
        weights = weights_beside(tier, known, self.puller.tiers)
        expected = expected_starts_per_s(beats, tier, weights, now_ms)
        backlog = Backlog(
            now_ms,
            {lane.index: count for lane, count in zip(lanes, waiting, strict=True) if count},
            0.0 if limits.paused else expected,
        )
        told = paced(replace(former, backlog=backlog), now_ms)
        if not await self.calls(self.stores.calendars.publish, told, former.backlog.at_ms):
            return
        slot_s = fleet_slot_s(beats, tier, now_ms)
        seen = fleet_starts_per_s(beats, tier, now_ms)
        measured = of_backlog(tier, sum(waiting), slot_s, seen, limits.paused)
        # What the fleet is scaled by.
        self.logger.info("tier.backlog", extra=measured)
