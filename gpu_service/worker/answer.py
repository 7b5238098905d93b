"""Owns the making of one answer, from a delivered job to the committed end. Titles and summaries go the
same way, with nobody watching, no account and no checkpoints: their text is small, and made anew.

    claim ∥ read history ──▶ prompt ──▶ engine ──▶ text grows ──▶ settle ──▶ acknowledge
        └──▶ dispatch: the user's next run is put into the lanes         ▲
                              keeper: a checkpoint each second, the charge each three,
                              lease and visibility each five

Whatever breaks off on the way leaves the run to be claimed again: the job is only acknowledged when
the run is over, and its user's next one has a job of its own.

Where others wait for the slot, the user's account is looked at before the claim: who has been served
ahead of them meanwhile has his job put into the lane where it now belongs.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace

from aws_lambda_powertools import Logger

from chatcore.adapters.xray import Segment
from chatcore.domain import lease
from chatcore.domain.calendar import returns_of
from chatcore.domain.errors import (
    Code,
    EngineFailed,
    EngineUnavailable,
    PromptTooLong,
    Retryable,
    StoreUnavailable,
    Terminal,
)
from chatcore.domain.ledger import cost_tokens
from chatcore.domain.run import MAX_ATTEMPTS, Ending, Event, FinishReason, Kind, Run
from chatcore.domain.tiers import Tiers
from chatcore.domain.waiting import Reason, Wait
from chatcore.ports import Engine, Lanes, Over, Stores
from chatcore.protocol.queue import Job
from chatcore.protocol.websocket import Event as FrameEvent
from chatcore.protocol.websocket import RunRewound, queued_for, started_for
from chatcore.services.claim import Mine, claim
from chatcore.services.settle import settle
from gpu_service.worker.aftermath import Aftermath
from gpu_service.worker.broadcast import Broadcast
from gpu_service.worker.checkpoints import Checkpoints
from gpu_service.worker.delivery import Delivery
from gpu_service.worker.live import LiveRun, Stop
from gpu_service.worker.measures import of_claim, of_end, of_hand_back
from gpu_service.worker.placing import Placing
from gpu_service.worker.prompting import Asked, Gathered, Prompting
from gpu_service.worker.pull import Turn
from gpu_service.worker.threads import Calls
from gpu_service.worker.timings import Timings
from gpu_service.worker.tracing import segment_of

CHECKPOINT_EVERY_S = 1.0
CHARGE_EVERY_MS = 3_000
"""How often an account learns what its running runs cost beyond the guess (`make bench-scheduling`)."""

RETRY_PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 2.0)
DISPATCH_PATIENCE_S = 10.0
FAULT_PAUSE_S = 2
"""How long a run that met a fault of its engine waits before it is tried again."""


PutSegment = Callable[[Segment], None]


@dataclass(frozen=True, slots=True)
class Maker:
    """What an answer needs. put_segment: of a traced run, at its end; it never raises. tiers: their
    settings as they stand; live: the runs being made, by id; early_cancels: asked for too early, and
    when."""

    stores: Stores
    lanes: Lanes
    placing: Placing
    prompting: Prompting
    aftermath: Aftermath
    engine: Engine
    broadcast: Broadcast
    checkpoints: Checkpoints
    calls: Calls
    logger: Logger
    now_ms: Callable[[], int]
    tiers: Callable[[], Tiers]
    worker_id: str
    inbox: str
    first_token_timeout_s: float
    next_token_timeout_s: float
    put_segment: PutSegment
    live: dict[str, LiveRun]
    early_cancels: dict[str, int]

    async def make(self, delivery: Delivery, turn: Turn) -> None:
        """Never raises. The turn is released as soon as the engine is done with the run."""
        job = delivery.job
        self.logger.thread_safe_append_keys(
            run_id=job.run_id, trace_id=job.trace_id, tier=str(job.tier)
        )
        try:
            await self._make(delivery, turn)
        except Retryable as error:
            self.logger.warning("run.left", extra={"reason": repr(error)})
            await self.placing.hide(delivery, FAULT_PAUSE_S)
        except Exception:
            self.logger.exception("run.left")
        finally:
            turn.release()
            turn.settle(0)

    async def _make(self, delivery: Delivery, turn: Turn) -> None:
        job = delivery.job
        received_ms = self.now_ms()
        if await self.placing.is_elsewhere(delivery, turn.contended):
            return
        claimed = asyncio.Event()
        gathering = asyncio.create_task(self.prompting.gathered(delivery, claimed))
        try:
            outcome = await self.calls(
                claim,
                self.stores.runs,
                job.run_id,
                self.worker_id,
                self.inbox,
                self.now_ms(),
                look_first=delivery.is_twin,
            )
            if isinstance(outcome, Mine):
                claimed.set()
                live = self._begin(outcome, delivery.sent_ms, received_ms)
                keeping = [asyncio.create_task(self._keep(delivery, live))]
                if live.is_background:
                    live.dispatched.set()
                else:
                    keeping.append(asyncio.create_task(self.placing.dispatched(live)))
                try:
                    await self._answer(delivery, live, gathering, turn)
                finally:
                    turn.settle(cost_tokens(live.usage))
                    for task in keeping:
                        task.cancel()
                    if live.ended is None:
                        # Whoever goes on with it speaks; nothing more of this epoch may be heard.
                        live.break_off(Stop.LOST)
                    if self.live.get(job.run_id) is live:
                        # Else handed back, and claimed here again while its job was put back.
                        del self.live[job.run_id]
                    self.early_cancels.pop(job.run_id, None)
                return
        finally:
            gathering.cancel()
        turn.release()
        if isinstance(outcome, Over):
            await self.aftermath.told(job)
        await self.placing.turned_down(delivery, outcome)

    def _begin(self, mine: Mine, enqueued_ms: int, received_ms: int) -> LiveRun:
        run = mine.run
        base = len(mine.text)
        live = LiveRun(run, mine.text, base, self.now_ms, shown=base, durable=base)
        live.timings = Timings(run.created_ms, enqueued_ms, received_ms, self.now_ms())
        self.live[run.run_id] = live
        for connection_id in run.viewers:
            notices: list[FrameEvent] = [started_for(run, live.base)]
            if run.epoch > 1:
                notices.append(RunRewound(run_id=run.run_id, epoch=run.epoch, offset=live.base))
            self.broadcast.watch(live, connection_id, live.base, notices)
        self.logger.info(
            "run.claimed", extra={"epoch": run.epoch, "offset": live.base, **of_claim(live)}
        )
        return live

    async def _answer(
        self,
        delivery: Delivery,
        live: LiveRun,
        gathering: "asyncio.Task[Gathered]",
        turn: Turn,
    ) -> None:
        run = live.run
        fault: Exception | None = None
        reason: list[str] = []
        if run.cancel_requested or run.run_id in self.early_cancels:
            live.stop = Stop.CANCEL
            live.timings.cancel_asked_ms = self.early_cancels.get(run.run_id, 0)
        elif run.attempts < MAX_ATTEMPTS:
            live.generation = asyncio.create_task(self._generate(live, gathering, reason, turn))
            try:
                await live.generation
            except asyncio.CancelledError:
                if live.stop is None:
                    raise
            except Exception as error:
                fault = error
                self.logger.warning("engine.fault", extra={"reason": repr(error)})
        if run.kind is Kind.SUMMARY and reason and live.stop is None:
            await self._read_ahead(live, gathering.result())
        turn.release()
        live.timings.released_ms, live.timings.slot_s = self.now_ms(), turn.slot_s
        if live.stop is Stop.LOST:
            self.logger.warning("run.lost")
            return
        given_up = run.attempts + (1 if fault else 0) >= MAX_ATTEMPTS
        refused = isinstance(fault, Terminal)
        if live.stop in (Stop.DRAIN, Stop.PREEMPT) or (
            live.stop is None and fault is not None and not given_up and not refused
        ):
            await self._hand_back(delivery, live, fault)
            return
        ending = _ending(live, fault, reason, self.now_ms())
        gathered = None
        if gathering.done() and not gathering.cancelled() and not gathering.exception():
            gathered = gathering.result()
        if live.is_background and gathered is not None:
            ending = await self.aftermath.taken(run, gathered, ending)
        await self._settle(delivery, live, ending)
        if live.ended is None or live.is_background:
            return
        if gathered is not None:
            await self.aftermath.answered(run, ending, gathered)
        if ending.event is Event.FAIL:
            await self._bury(delivery.job, live.ended, fault)

    async def _generate(
        self,
        live: LiveRun,
        gathering: "asyncio.Task[Gathered]",
        reason: list[str],
        turn: Turn,
    ) -> None:
        """Raises what the engine raises, and EngineUnavailable where it is silent for too long."""
        timings = live.timings
        asked = await self.calls(self.prompting.asked, live.run, await gathering, live.text)
        live.context = asked.plan
        timings.prompted_ms = self.now_ms()
        stream = self.engine.generate(asked.text, asked.max_output_tokens)
        loop = asyncio.get_running_loop()
        timeout_s = self.first_token_timeout_s
        try:
            # One that moves on with each token: entering one anew for each costs three times as much.
            async with asyncio.timeout(timeout_s) as silence:
                async for piece in stream:
                    if not timings.first_token_ms:
                        timings.first_token_ms = self.now_ms()
                        turn.has_read()
                        timings.first_tokens = piece.usage.output_tokens
                        self._log_first_token(live, asked)
                        timeout_s = self.next_token_timeout_s
                    live.usage = piece.usage
                    live.append(piece.text)
                    if piece.finish_reason is not None:
                        timings.last_token_ms = self.now_ms()
                        reason.append(piece.finish_reason)
                        return
                    silence.reschedule(loop.time() + timeout_s)
        except TimeoutError as error:
            raise EngineUnavailable(f"no token within {timeout_s} s") from error
        finally:
            await stream.aclose()
        raise EngineFailed("the stream ended without a finish reason")

    async def _read_ahead(self, live: LiveRun, gathered: Gathered) -> None:
        """Have the engine read what the chat's next prompt will begin with, so that the first turn with the
        new summary need not wait for that. Nothing depends on it."""
        prefix = await self.aftermath.next_prefix(live.run, gathered, live.text)
        if prefix is None:
            return
        try:
            async with asyncio.timeout(self.first_token_timeout_s):
                async with aclosing(self.engine.generate(prefix, 1)) as stream:
                    async for _ in stream:
                        break
        except (Retryable, Terminal, TimeoutError) as error:
            self.logger.warning("prefix.not_read_ahead", extra={"reason": repr(error)})

    async def _keep(self, delivery: Delivery, live: LiveRun) -> None:
        """Until cancelled: make text durable, and keep lease and visibility alive."""
        renewed_ms = charged_ms = self.now_ms()
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY_S)
            async with live.keeping:
                if live.handed_back:
                    return
                try:
                    if not live.frozen:
                        await self._checkpoint(live)
                    self._look_whether_abandoned(live)
                    if self.now_ms() - renewed_ms >= lease.RENEW_EVERY_MS:
                        await self._renew(delivery, live)
                        renewed_ms = self.now_ms()
                    if self.now_ms() - charged_ms >= CHARGE_EVERY_MS:
                        await self._charge(live)
                        charged_ms = self.now_ms()
                except Retryable as error:
                    self.logger.warning("lease.trouble", extra={"reason": repr(error)})

    def _look_whether_abandoned(self, live: LiveRun) -> None:
        grace_s = self.tiers()[live.run.tier].abandon_grace_s
        if grace_s is None or live.alone_since_ms is None:
            return
        if self.now_ms() - live.alone_since_ms > grace_s * 1000:
            live.break_off(Stop.ABANDON)

    async def _charge(self, live: LiveRun) -> None:
        """What the run has cost beyond what its user's account holds for it already."""
        run, cost = live.run, live.cost()
        if live.is_background:
            return
        if live.dispatched.is_set() and cost > live.charged:
            await self.calls(self.stores.ledgers.charge, run.user_id, run.run_id, cost)
            live.charged = cost

    async def _renew(self, delivery: Delivery, live: LiveRun) -> None:
        run = live.run
        until_ms = lease.until(self.now_ms())
        renewed = await self.calls(
            self.stores.runs.renew, run.run_id, run.epoch, until_ms, live.cost()
        )
        if renewed is None:
            if live.ended is None:
                live.break_off(Stop.LOST)
            return
        live.renewed(renewed)
        if renewed.cancel_requested:
            # The message to the inbox may have been lost; the note on the run was not.
            live.break_off(Stop.CANCEL)
        if not await self.aftermath.is_awaited(delivery.job):
            live.break_off(Stop.CANCEL)
        await delivery.keep(self.placing.calendars(run.tier).front)

    async def _checkpoint(self, live: LiveRun) -> None:
        if live.is_background:
            return
        for piece in live.next_checkpoints():
            if not live.may_speak():
                return
            await self.checkpoints.put(piece)
            live.durable = piece.offset + len(piece.text)

    async def _hand_back(self, delivery: Delivery, live: LiveRun, fault: Exception | None) -> None:
        # Behind whatever the keeper has under way: its hiding of the job must not come after ours.
        async with live.keeping:
            live.frozen = live.handed_back = True
            await self._checkpoint(live)
            run = live.run
            ours = await self.calls(
                self.stores.runs.hand_back,
                run.run_id,
                run.epoch,
                live.total(),
                fault is not None,
                live.stop is Stop.PREEMPT,
            )
        if not ours:
            self.logger.warning("run.lost")
            await self.placing.hide(delivery, 0)
            return
        self.logger.info(
            "run.handed_back",
            extra={
                "offset": live.durable,
                "why": str(live.stop or "fault"),
                **of_hand_back(live),
            },
        )
        self.broadcast.farewell(live, queued_for(run, Wait(Reason.RESUMING)))
        await self._until_dispatched(live)
        await delivery.move(returns_of(run.tier), FAULT_PAUSE_S if fault else 0)

    async def _until_dispatched(self, live: LiveRun) -> None:
        """Before the job is let go: the next run of its user must have one of its own. Raises
        StoreUnavailable: the job then comes back, and whoever gets it sees to that."""
        try:
            async with asyncio.timeout(DISPATCH_PATIENCE_S):
                await live.dispatched.wait()
        except TimeoutError as error:
            raise StoreUnavailable("the account is not written") from error

    async def _settle(self, delivery: Delivery, live: LiveRun, ending: Ending) -> None:
        """Tries until it is known how the run ended; else the lease runs out, and another settles."""
        for pause_s in (*RETRY_PAUSES_S, None):
            try:
                stored = await self.calls(settle, self.stores.runs, live.run, ending)
                break
            except Retryable as error:
                self.logger.warning("settle.trouble", extra={"reason": repr(error)})
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
        if stored is None:
            self.logger.warning("run.lost")
            return
        live.ended = stored
        live.changed()
        self.logger.info(
            "run.ended",
            extra={
                "status": str(stored.status),
                "length": stored.length,
                **of_end(live, stored),
            },
        )
        await self._until_dispatched(live)
        await self.aftermath.told(delivery.job, stored)
        await delivery.acknowledge()
        segment = segment_of(live, stored, self.now_ms())
        if segment is not None:
            await self.calls(self.put_segment, segment)

    async def _bury(self, job: Job, run: Run, fault: Exception | None) -> None:
        """After the end is committed: the user has his answer, this is for whoever looks into it."""
        why = {
            "reason": str(run.failure),
            "fault": repr(fault)[:500] if fault else "",
            "epoch": str(run.epoch),
            "attempts": str(run.attempts),
            "worker_id": self.worker_id,
            "trace_id": run.trace_id,
        }
        await self.calls(self.lanes.bury, job, why)

    def _log_first_token(self, live: LiveRun, asked: Asked) -> None:
        """The hops of the way to the first token, which `make bench-ttft` reads, and how the prompt was
        made up: numbers and places, no text."""
        plan, timings = asked.plan, live.timings
        self.logger.info(
            "run.first_token",
            extra={
                "epoch": live.run.epoch,
                "kind": str(live.run.kind),
                "prompt_tokens": asked.tokens,
                "context": None if plan is None else asdict(plan),
                "created_ms": timings.created_ms,
                "enqueued_ms": timings.enqueued_ms,
                "received_ms": timings.received_ms,
                "claimed_ms": timings.claimed_ms,
                "prompted_ms": timings.prompted_ms,
                "first_token_ms": timings.first_token_ms,
            },
        )


def _ending(live: LiveRun, fault: Exception | None, reasons: Sequence[str], now_ms: int) -> Ending:
    """How a run that will not go on ends; its text is what the viewers have been shown, or all."""
    completed = live.stop is None and fault is None and bool(reasons)
    if not completed and live.stop is not Stop.ABANDON:
        live.cut_to_shown()
    live.frozen = True
    ending = Ending(
        event=Event.COMPLETE,
        ended_ms=now_ms,
        text=live.text,
        usage=live.total(),
        finish_reason=FinishReason.LENGTH if reasons == ["length"] else FinishReason.STOP,
        context_tokens=live.usage.input_tokens + live.usage.output_tokens or None,
        context=live.context,
        gone=frozenset(live.gone),
    )
    if completed:
        return ending
    if live.stop is Stop.CANCEL:
        return replace(ending, event=Event.CANCEL, finish_reason=FinishReason.CANCELLED)
    if live.stop is Stop.ABANDON:
        return replace(ending, event=Event.CANCEL, finish_reason=FinishReason.ABANDONED)
    return replace(
        ending,
        event=Event.FAIL,
        finish_reason=FinishReason.FAILED,
        failure=_failure(fault),
    )


def _failure(fault: Exception | None) -> Code:
    if fault is None:
        return Code.ATTEMPTS_EXHAUSTED
    if isinstance(fault, PromptTooLong):
        return Code.PROMPT_TOO_LONG
    return Code.ENGINE_UNAVAILABLE if isinstance(fault, EngineUnavailable) else Code.ENGINE_ERROR
