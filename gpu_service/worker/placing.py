"""Owns what is done with a job before its answer and beside it: whether its run belongs here and now, what
becomes of one that is not to be worked on, and the next run of its user.

    job ──▶ account served ahead? ──▶ favourite elsewhere? ──▶ claim ──▶ …
                 │ where others wait        │                    │ held, over
                 ▼                          ▼                    ▼
            its lane now               returns, for a while   hidden, or acknowledged

A look that fails keeps nobody from his answer: the run is then made here.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from aws_lambda_powertools import Logger

from chatcore.domain import lease
from chatcore.domain.affinity import Leave, leave
from chatcore.domain.calendar import Calendar, latest_number, returns_of
from chatcore.domain.errors import Retryable
from chatcore.domain.lanes import RETURNS
from chatcore.domain.run import Kind
from chatcore.domain.tiers import Tier, Tiers
from chatcore.domain.waiting import lane_for
from chatcore.ports import Held, Inboxes, Lanes, Over, Stores
from chatcore.services.dispatch import dispatch
from chatcore.services.offer import offer_to
from gpu_service.worker.delivery import Delivery
from gpu_service.worker.live import LiveRun
from gpu_service.worker.threads import Calls

PREFILL_MS_PER_TOKEN = 0.25
"""About what an engine takes (one A10G; see bench/scheduling): for how long a run that nobody else waits
behind may wait for the worker that has its prefix."""

RETRY_PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Placing:
    """tiers, calendars: as far as this worker knows them."""

    stores: Stores
    lanes: Lanes
    inboxes: Inboxes
    calls: Calls
    logger: Logger
    now_ms: Callable[[], int]
    tiers: Callable[[], Tiers]
    calendars: Callable[[Tier], Calendar]
    worker_id: str

    async def is_elsewhere(self, delivery: Delivery, contended: bool) -> bool:
        """Whether the run is not to be begun here now: then its job is where it belongs. contended:
        others may be waiting for the slot."""
        if contended and await self._belongs_later(delivery):
            return True
        return await self._is_left_to_its_favourite(delivery, contended)

    async def turned_down(self, delivery: Delivery, outcome: Held | Over) -> None:
        """What becomes of a job that could not be claimed. Raises StoreUnavailable: it stays."""
        if isinstance(outcome, Over):
            self.logger.info("job.over")
            job = delivery.job
            if job.kind is Kind.ANSWER:
                await self.calls(
                    dispatch,
                    self.stores,
                    self.lanes,
                    self.calendars(job.tier),
                    job.user_id,
                    job.run_id,
                    self.tiers()[job.tier].weight,
                    self.now_ms(),
                )
            await delivery.acknowledge()
            return
        # Held: the holder may die yet, so the job stays, to be looked at when the lease is over.
        wait_s = lease.take_over_in_ms(self.now_ms(), outcome.lease_until_ms) // 1000 + 1
        self.logger.info("job.held", extra={"again_in_s": wait_s})
        await self.hide(delivery, wait_s)

    async def dispatched(self, live: LiveRun) -> None:
        """Until the user's account knows of it, and his next run has a job in the lanes."""
        run = live.run
        for pause_s in itertools.chain(RETRY_PAUSES_S, itertools.repeat(RETRY_PAUSES_S[-1])):
            try:
                live.charged = await self.calls(
                    dispatch,
                    self.stores,
                    self.lanes,
                    self.calendars(run.tier),
                    run.user_id,
                    run.run_id,
                    run.weight,
                    self.now_ms(),
                )
                live.dispatched.set()
                return
            except Retryable as error:
                self.logger.warning("dispatch.trouble", extra={"reason": repr(error)})
                await asyncio.sleep(pause_s)

    async def hide(self, delivery: Delivery, seconds: int) -> None:
        """Keep it from all for so long, if that can be done."""
        try:
            await delivery.hide(seconds)
        except Retryable as error:
            # Then it comes back when its visibility runs out.
            self.logger.warning("job.stays_hidden", extra={"reason": repr(error)})

    async def _belongs_later(self, delivery: Delivery) -> bool:
        """Whether the user has been served ahead of those who wait: then his job is where it belongs."""
        job, lane = delivery.job, delivery.lane
        if lane is None or lane.index == RETURNS:
            return False
        try:
            ledger = await self.calls(self.stores.ledgers.get, job.user_id)
        except Retryable as error:
            # An account that is throttled keeps nobody from his answer.
            self.logger.warning("account.trouble", extra={"reason": repr(error)})
            return False
        calendar, waited_ms = self.calendars(job.tier), self.now_ms() - job.created_ms
        tag = ledger.start_tag(job.tier, calendar.virtual_time)
        number = latest_number(tag, calendar.front, waited_ms)
        if job.run_id not in ledger.waiting or number <= delivery.number:
            return False
        self.logger.info("job.moved", extra={"lanes": number - delivery.number})
        await delivery.move(lane_for(ledger, calendar, waited_ms))
        return True

    async def _is_left_to_its_favourite(self, delivery: Delivery, others_wait: bool) -> bool:
        """Whether the worker that has the chat's prefix is to make it: then it is hidden for a while."""
        job, lane = delivery.job, delivery.lane
        if lane is None or job.favourite in ("", self.worker_id):
            return False
        try:
            left = await self._offered(delivery, others_wait)
        except Retryable as error:
            # What is not known of it is no reason to wait for it.
            self.logger.warning("favourite.trouble", extra={"reason": repr(error)})
            return False
        if left is None:
            return False
        self.logger.info("job.left", extra={"for_s": left.hide_s, "offered": left.is_new})
        if lane.index == RETURNS and not left.is_new:
            await delivery.hide(left.hide_s)
        else:
            # Where it is found again, however far the front moves meanwhile.
            await delivery.move(returns_of(lane.tier), left.hide_s)
        return True

    async def _offered(self, delivery: Delivery, others_wait: bool) -> Leave | None:
        """For how long it is left to its favourite, which has been told of it; None where it is not."""
        job = delivery.job
        beat = await self.calls(self.stores.beats.get, job.favourite)
        left = leave(
            beat,
            job.offered_ms or None,
            self.now_ms(),
            round(job.prefix_tokens * PREFILL_MS_PER_TOKEN),
            others_wait,
        )
        if left is not None and left.is_new:
            offered = await self.calls(offer_to, self.inboxes, beat, job, "", left.offered_ms)
            if offered is None:
                return None
            delivery.job = offered
        return left
