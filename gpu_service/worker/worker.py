"""Owns a worker's life: open the inbox, pull, listen, watch the engine, and leave in good order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aws_lambda_powertools import Logger

from chatcore.domain.context_plan import CountTokens
from chatcore.domain.errors import Retryable
from chatcore.domain.preemption import Candidate, victim
from chatcore.domain.stream import Place, resume_at
from chatcore.domain.tiers import Tier
from chatcore.ports import (
    AsyncPosts,
    Compactions,
    Engine,
    Inboxes,
    Lanes,
    Posted,
    Stores,
    TierSource,
    Waits,
)
from chatcore.protocol.queue import Attach, Cancel, Drain, Offer
from chatcore.protocol.websocket import Event, RunRewound, encode, started_for
from chatcore.services.attach import frames_for
from gpu_service.worker.aftermath import Aftermath
from gpu_service.worker.answer import Maker, PutSegment
from gpu_service.worker.broadcast import Broadcast
from gpu_service.worker.checkpoints import Checkpoints
from gpu_service.worker.delivery import Delivery
from gpu_service.worker.histories import MAX_BYTES, Histories
from gpu_service.worker.live import LiveRun, Stop
from gpu_service.worker.measures import SlotMeasures
from gpu_service.worker.placing import Placing
from gpu_service.worker.prompting import Prompting
from gpu_service.worker.pull import Puller
from gpu_service.worker.survey import Survey
from gpu_service.worker.threads import Calls

INBOX_POLL_S = 2
ENGINE_LOOK_S = 2.0
TIERS_LOOK_S = 10.0
"""Most looks find the settings new enough; one that does not reads them, and one that failed is made good
well within the minute in which a change is to show."""

TROUBLE_PAUSE_S = 1.0
FAREWELL_S = 5.0
"""How long the last frames may take when the worker leaves."""

EARLY_CANCELS = 1_000

DRAIN_LOOK_S = 0.2

BOUNCE_PAUSES_S = (0.1, 0.3, 1.0, 3.0)
"""Before each look at an attach to a run that this worker may have claimed, but not yet begun."""


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """calls: short AWS calls; polls: long ones."""

    stores: Stores
    lanes: Lanes
    inboxes: Inboxes
    posts: AsyncPosts
    tiers: TierSource
    compactions: Compactions
    waits: Waits
    engine: Engine
    count_tokens: CountTokens
    calls: Calls
    polls: Calls
    logger: Logger
    now_ms: Callable[[], int]
    put_segment: PutSegment = lambda segment: None


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    slots: int
    drain_s: float
    first_token_timeout_s: float
    next_token_timeout_s: float
    history_bytes: int = MAX_BYTES


@dataclass(slots=True)
class Worker:
    worker_id: str
    parts: WorkerParts
    limits: WorkerLimits
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _live: dict[str, LiveRun] = field(default_factory=dict)
    _early_cancels: dict[str, int] = field(default_factory=dict)
    _elsewhere: "set[asyncio.Task[None]]" = field(default_factory=set)

    @property
    def is_busy(self) -> bool:
        """Whether runs are in the making here."""
        return bool(self._live)

    async def run(self) -> None:
        """Until `stopping` is set and the runs in the making are over or handed back."""
        parts = self.parts
        broadcast = Broadcast(parts.posts, parts.logger)
        inbox = await parts.calls(parts.inboxes.open, self.worker_id)
        placing = Placing(
            parts.stores,
            parts.lanes,
            parts.inboxes,
            parts.calls,
            parts.logger,
            parts.now_ms,
            lambda: puller.tiers,
            lambda tier: puller.calendar(tier),
            self.worker_id,
        )
        histories = Histories(self.limits.history_bytes)
        prompting = Prompting(
            parts.stores,
            parts.calls,
            parts.count_tokens,
            parts.now_ms,
            lambda: puller.tiers,
            histories,
        )
        aftermath = Aftermath(
            parts.stores,
            parts.lanes,
            parts.compactions,
            parts.waits,
            parts.calls,
            parts.count_tokens,
            parts.logger,
            parts.now_ms,
            lambda: puller.tiers,
            self.worker_id,
            histories,
        )
        maker = Maker(
            stores=parts.stores,
            lanes=parts.lanes,
            placing=placing,
            prompting=prompting,
            aftermath=aftermath,
            engine=parts.engine,
            broadcast=broadcast,
            checkpoints=Checkpoints(parts.stores.runs, parts.calls, parts.now_ms),
            calls=parts.calls,
            logger=parts.logger,
            now_ms=parts.now_ms,
            tiers=lambda: puller.tiers,
            worker_id=self.worker_id,
            inbox=inbox,
            first_token_timeout_s=self.limits.first_token_timeout_s,
            next_token_timeout_s=self.limits.next_token_timeout_s,
            put_segment=parts.put_segment,
            live=self._live,
            early_cancels=self._early_cancels,
        )
        puller = Puller(
            parts.lanes,
            parts.stores.calendars,
            self.limits.slots,
            parts.polls,
            parts.calls,
            maker.make,
            self._preempt,
            parts.logger,
            parts.now_ms,
            await parts.calls(parts.tiers.current),
        )
        await self._watch_engine_once(puller)
        listening = asyncio.create_task(self._listen(inbox, broadcast, puller))
        survey = Survey(
            parts.stores,
            parts.lanes,
            puller,
            parts.calls,
            parts.logger,
            parts.now_ms,
            self.worker_id,
            inbox,
            self.limits.slots,
            lambda: puller.offers,
        )
        surveying = asyncio.create_task(survey.run())
        measures = SlotMeasures(puller, broadcast, parts.logger, self.limits.slots)
        measuring = asyncio.create_task(measures.run())
        watching = asyncio.create_task(self._watch_engine(puller))
        watching_tiers = asyncio.create_task(self._watch_tiers(puller))
        pulling = asyncio.create_task(puller.run())
        parts.logger.info(
            "worker.ready", extra={"worker_id": self.worker_id, "slots": self.limits.slots}
        )
        await self.stopping.wait()
        parts.logger.info("worker.draining", extra={"answers": len(puller.answers)})
        puller.stop()
        await self._drain(puller)
        await pulling
        await broadcast.drained(FAREWELL_S)
        measures.tell()
        leaving = (surveying, measuring, watching, watching_tiers, listening, *self._elsewhere)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        await survey.leave()
        await parts.calls(parts.inboxes.close, self.worker_id)
        parts.logger.info("worker.gone")

    async def _drain(self, puller: Puller) -> None:
        """Let answers finish; hand back those that do not make it in time."""
        if puller.answers:
            await asyncio.wait(puller.answers, timeout=self.limits.drain_s)
        while puller.answers:
            # Again and again: a run whose claim was on its way has only now begun.
            for live in list(self._live.values()):
                live.break_off(Stop.DRAIN)
            await asyncio.wait(puller.answers, timeout=DRAIN_LOOK_S)

    def _preempt(self, tier: Tier) -> bool:
        """Have a run of a lower tier leave its slot; False where there is none that could."""
        chosen = victim(
            (
                Candidate(
                    live.run.run_id,
                    live.run.tier,
                    live.usage.input_tokens + live.usage.output_tokens,
                    live.run.preemptions,
                )
                for live in self._live.values()
                if live.stop is None and live.ended is None and not live.frozen
            ),
            tier,
        )
        if chosen is None:
            return False
        self.parts.logger.info(
            "run.preempted", extra={"run_id": chosen.run_id, "for_tier": str(tier)}
        )
        self._live[chosen.run_id].break_off(Stop.PREEMPT)
        return True

    async def _watch_engine(self, puller: Puller) -> None:
        while True:
            await asyncio.sleep(ENGINE_LOOK_S)
            await self._watch_engine_once(puller)

    async def _watch_engine_once(self, puller: Puller) -> None:
        well = await self.parts.engine.ready()
        if well is puller.paused:
            self.parts.logger.warning("engine.ready" if well else "engine.away")
            puller.pause(not well)

    async def _watch_tiers(self, puller: Puller) -> None:
        while True:
            await asyncio.sleep(TIERS_LOOK_S)
            puller.adopt(await self.parts.calls(self.parts.tiers.refresh))

    async def _listen(self, inbox: str, broadcast: Broadcast, puller: Puller) -> None:
        while True:
            try:
                controls = await self.parts.polls(self.parts.inboxes.receive, inbox, INBOX_POLL_S)
            except Retryable as error:
                self.parts.logger.warning("inbox.trouble", extra={"reason": repr(error)})
                await asyncio.sleep(TROUBLE_PAUSE_S)
                continue
            for control in controls:
                if isinstance(control, Drain):
                    self.stopping.set()
                elif isinstance(control, Offer):
                    puller.offer(self._offered(control))
                else:
                    self._handle(control, broadcast)

    def _offered(self, offer: Offer) -> Delivery:
        job, parts = offer.job, self.parts
        return Delivery(job, job.offered_ms, None, "", 0, parts.lanes, parts.calls, text=offer.text)

    def _handle(self, control: Cancel | Attach, broadcast: Broadcast) -> None:
        live = self._live.get(control.run_id)
        self.parts.logger.info(
            "inbox.control",
            extra={"run_id": control.run_id, "kind": type(control).__name__, "here": bool(live)},
        )
        if isinstance(control, Cancel):
            if live is None:
                # Claimed a moment ago, not begun yet: it will find this. Or over: then nobody looks,
                # and it is forgotten with the others; the note on the run still tells the keeper.
                if len(self._early_cancels) >= EARLY_CANCELS:
                    self._early_cancels.clear()
                self._early_cancels[control.run_id] = control.asked_ms
            else:
                if control.connection_id:
                    broadcast.watch_end(live, control.connection_id)
                live.timings.cancel_asked_ms = control.asked_ms
                live.break_off(Stop.CANCEL)
        elif live is None:
            # Beside the listening: the next control, a cancel perhaps, does not wait for it.
            task = asyncio.create_task(self._attach_later(control, broadcast))
            self._elsewhere.add(task)
            task.add_done_callback(self._elsewhere.discard)
        else:
            attach_here(live, control, broadcast)

    async def _attach_later(self, control: Attach, broadcast: Broadcast) -> None:
        """The run is about to begin here, or it ended or moved on: then answer as a Lambda would."""
        for pause_s in BOUNCE_PAUSES_S:
            await asyncio.sleep(pause_s)
            live = self._live.get(control.run_id)
            if live is not None:
                attach_here(live, control, broadcast)
                return
            if await self._attach_elsewhere(control):
                return
        # Claimed by a call whose answer was lost: nobody makes it until its lease is over. The viewer
        # is noted on the run, and attaches again when it has heard nothing.
        self.parts.logger.warning("attach.left", extra={"run_id": control.run_id})

    async def _attach_elsewhere(self, control: Attach) -> bool:
        """False where the run is this worker's own, by what is stored: nobody else could answer."""
        parts = self.parts
        try:
            run = await parts.calls(parts.stores.runs.get, control.run_id)
            if run is None:
                return True
            if run.worker_id == self.worker_id:
                return False
            events = await parts.calls(
                frames_for,
                parts.stores,
                parts.lanes,
                parts.inboxes,
                run,
                control.connection_id,
                Place(control.offset, control.epoch),
                parts.now_ms(),
            )
        except Retryable as error:
            # The client attaches again when it has heard nothing.
            parts.logger.warning("attach.left", extra={"reason": repr(error)})
            return True
        for event in events:
            posted = await parts.posts.post(control.connection_id, encode(event))
            if posted is not Posted.SENT:
                break
        return True


def attach_here(live: LiveRun, control: Attach, broadcast: Broadcast) -> None:
    """Let the connection have the run from its place on, and live from there: no seam to race over."""
    place = Place(control.offset, control.epoch)
    offset, cut_back = resume_at(place, live.run.epoch, live.base, len(live.text))
    notices: list[Event] = [started_for(live.run, offset)]
    if cut_back:
        notices.append(RunRewound(run_id=live.run.run_id, epoch=live.run.epoch, offset=offset))
    live.add_viewer(control.connection_id)
    broadcast.watch(live, control.connection_id, offset, notices)
