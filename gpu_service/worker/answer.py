"""Owns the making of one answer, from a delivered job to the committed end.

    claim ∥ read history ──▶ prompt ──▶ engine ──▶ text grows ──▶ settle ──▶ acknowledge
                              keeper: a checkpoint each second, lease and visibility each five

Whatever breaks off on the way leaves the run to be claimed again: the job is only acknowledged when
the run is over.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aws_lambda_powertools import Logger

from chatcore.domain import lease
from chatcore.domain.chat import Message
from chatcore.domain.context import CountTokens, build
from chatcore.domain.errors import (
    Code,
    EngineFailed,
    EngineUnavailable,
    PromptTooLong,
    Retryable,
    Terminal,
)
from chatcore.domain.lanes import Lane
from chatcore.domain.ledger import cost_tokens, prompt_tokens
from chatcore.domain.run import MAX_ATTEMPTS, Ending, Event, FinishReason, Run
from chatcore.domain.tiers import LIMITS, Tier
from chatcore.ports import Engine, Held, Lanes, Over, Received, Stores
from chatcore.protocol.queue import Job
from chatcore.protocol.websocket import Event as FrameEvent
from chatcore.protocol.websocket import RunRewound, started_for
from chatcore.services.claim import Mine, claim
from chatcore.services.history import read_history
from chatcore.services.settle import settle
from gpu_service.worker.broadcast import Broadcast
from gpu_service.worker.checkpoints import Checkpoints
from gpu_service.worker.live import LiveRun, Stop
from gpu_service.worker.pull import Turn
from gpu_service.worker.threads import Calls

CHECKPOINT_EVERY_S = 1.0
RETRY_PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 2.0)
FAULT_PAUSE_S = 2
"""How long a run that met a fault of its engine waits before it is tried again."""


@dataclass(frozen=True, slots=True)
class Maker:
    """What an answer needs. live: the runs being made, by id; early_cancels: asked for too early."""

    stores: Stores
    lanes: Lanes
    engine: Engine
    broadcast: Broadcast
    checkpoints: Checkpoints
    calls: Calls
    count_tokens: CountTokens
    logger: Logger
    now_ms: Callable[[], int]
    worker_id: str
    inbox: str
    first_token_timeout_s: float
    next_token_timeout_s: float
    live: dict[str, LiveRun]
    early_cancels: set[str]
    abandon_grace_s: Mapping[Tier, float] = field(default_factory=dict)

    async def make(self, lane: Lane, received: Received[Job], turn: Turn) -> None:
        """Never raises. The turn is released as soon as the engine is done with the run."""
        job = received.item
        self.logger.thread_safe_append_keys(
            run_id=job.run_id, trace_id=job.trace_id, tier=str(job.tier)
        )
        try:
            await self._make(lane, received, turn)
        except Retryable as error:
            self.logger.warning("run.left", extra={"reason": repr(error)})
            await self._hide(lane, received.handle, FAULT_PAUSE_S)
        except Exception:
            self.logger.exception("run.left")
        finally:
            turn.release()
            turn.settle(0)

    async def _make(self, lane: Lane, received: Received[Job], turn: Turn) -> None:
        job = received.item
        received_ms = self.now_ms()
        limits = LIMITS[job.tier]
        budget_tokens = prompt_tokens(limits)
        history = asyncio.create_task(
            self.calls(
                read_history,
                self.stores.messages,
                job.chat_id,
                job.message_seq,
                budget_tokens,
            )
        )
        try:
            outcome = await self.calls(
                claim, self.stores.runs, job.run_id, self.worker_id, self.inbox, self.now_ms()
            )
            if isinstance(outcome, Mine):
                live = self._begin(outcome)
                live_keeper = asyncio.create_task(self._keep(lane, received.handle, live))
                timings = _Timings(
                    received.sent_ms, live.run.created_ms, received_ms, self.now_ms()
                )
                try:
                    await self._answer(lane, received, live, history, turn, timings)
                finally:
                    turn.settle(cost_tokens(live.usage))
                    live_keeper.cancel()
                    if live.ended is None:
                        # Whoever goes on with it speaks; nothing more of this epoch may be heard.
                        live.break_off(Stop.LOST)
                    if self.live.get(job.run_id) is live:
                        # Else handed back, and claimed here again while its job was put back.
                        del self.live[job.run_id]
                    self.early_cancels.discard(job.run_id)
                return
        finally:
            history.cancel()
        turn.release()
        await self._turned_down(lane, received.handle, outcome)

    async def _turned_down(self, lane: Lane, handle: str, outcome: Held | Over) -> None:
        if isinstance(outcome, Over):
            self.logger.info("job.over")
            await self.calls(self.lanes.acknowledge, lane, handle)
            return
        # Held: the holder may die yet, so the job stays, to be looked at when the lease is over.
        wait_s = lease.take_over_in_ms(self.now_ms(), outcome.lease_until_ms) // 1000 + 1
        self.logger.info("job.held", extra={"again_in_s": wait_s})
        await self._hide(lane, handle, wait_s)

    def _begin(self, mine: Mine) -> LiveRun:
        run = mine.run
        base = len(mine.text)
        live = LiveRun(run, mine.text, base, self.now_ms, shown=base, durable=base)
        self.live[run.run_id] = live
        for connection_id in run.viewers:
            notices: list[FrameEvent] = [started_for(run, live.base)]
            if run.epoch > 1:
                notices.append(RunRewound(run_id=run.run_id, epoch=run.epoch, offset=live.base))
            self.broadcast.watch(live, connection_id, live.base, notices)
        self.logger.info("run.claimed", extra={"epoch": run.epoch, "offset": live.base})
        return live

    async def _answer(
        self,
        lane: Lane,
        received: Received[Job],
        live: LiveRun,
        history: "asyncio.Task[Sequence[Message]]",
        turn: Turn,
        timings: "_Timings",
    ) -> None:
        job, handle = received.item, received.handle
        run = live.run
        fault: Exception | None = None
        reason: list[str] = []
        if run.cancel_requested or run.run_id in self.early_cancels:
            live.stop = Stop.CANCEL
        elif run.attempts < MAX_ATTEMPTS:
            live.generation = asyncio.create_task(self._generate(live, history, reason, timings))
            try:
                await live.generation
            except asyncio.CancelledError:
                if live.stop is None:
                    raise
            except Exception as error:
                fault = error
                self.logger.warning("engine.fault", extra={"reason": repr(error)})
        turn.release()
        if live.stop is Stop.LOST:
            self.logger.warning("run.lost")
            return
        given_up = run.attempts + (1 if fault else 0) >= MAX_ATTEMPTS
        refused = isinstance(fault, Terminal)
        if live.stop is Stop.DRAIN or (
            live.stop is None and fault is not None and not given_up and not refused
        ):
            await self._hand_back(lane, handle, live, fault)
            return
        ending = _ending(live, fault, reason, self.now_ms())
        await self._settle(lane, handle, live, ending)
        if ending.event is Event.FAIL and live.ended is not None:
            await self._bury(job, live.ended, fault)

    async def _generate(
        self,
        live: LiveRun,
        history: "asyncio.Task[Sequence[Message]]",
        reason: list[str],
        timings: "_Timings",
    ) -> None:
        """Raises what the engine raises, and EngineUnavailable where it is silent for too long."""
        run = live.run
        limits = LIMITS[run.tier]
        max_output_tokens = max(1, limits.max_output_tokens - run.spent.output_tokens)
        prompt = await self.calls(
            build,
            await history,
            live.text,
            limits.context_tokens - max_output_tokens,
            self.count_tokens,
        )
        if prompt.tokens > limits.context_tokens - max_output_tokens:
            raise PromptTooLong(f"{prompt.tokens} tokens")
        timings.prompted_ms = self.now_ms()
        stream = self.engine.generate(prompt.text, max_output_tokens)
        loop = asyncio.get_running_loop()
        timeout_s = self.first_token_timeout_s
        try:
            # One that moves on with each token: entering one anew for each costs three times as much.
            async with asyncio.timeout(timeout_s) as silence:
                async for piece in stream:
                    if not timings.first_token_ms:
                        timings.first_token_ms = self.now_ms()
                        self._log_first_token(live, timings, prompt.tokens, prompt.messages)
                        timeout_s = self.next_token_timeout_s
                    live.usage = piece.usage
                    live.append(piece.text)
                    if piece.finish_reason is not None:
                        reason.append(piece.finish_reason)
                        return
                    silence.reschedule(loop.time() + timeout_s)
        except TimeoutError as error:
            raise EngineUnavailable(f"no token within {timeout_s} s") from error
        finally:
            await stream.aclose()
        raise EngineFailed("the stream ended without a finish reason")

    async def _keep(self, lane: Lane, handle: str, live: LiveRun) -> None:
        """Until cancelled: make text durable, and keep lease and visibility alive."""
        renewed_ms = self.now_ms()
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
                        await self._renew(lane, handle, live)
                        renewed_ms = self.now_ms()
                except Retryable as error:
                    self.logger.warning("lease.trouble", extra={"reason": repr(error)})

    def _look_whether_abandoned(self, live: LiveRun) -> None:
        grace_s = self.abandon_grace_s.get(live.run.tier)
        if grace_s is None or live.alone_since_ms is None:
            return
        if self.now_ms() - live.alone_since_ms > grace_s * 1000:
            live.break_off(Stop.ABANDON)

    async def _renew(self, lane: Lane, handle: str, live: LiveRun) -> None:
        run = live.run
        until_ms = lease.until(self.now_ms())
        renewed = await self.calls(self.stores.runs.renew, run.run_id, run.epoch, until_ms)
        if renewed is None:
            if live.ended is None:
                live.break_off(Stop.LOST)
            return
        live.renewed(renewed)
        if renewed.cancel_requested:
            # The message to the inbox may have been lost; the note on the run was not.
            live.break_off(Stop.CANCEL)
        await self.calls(self.lanes.hide, lane, handle, lease.HIDDEN_S)

    async def _checkpoint(self, live: LiveRun) -> None:
        for piece in live.next_checkpoints():
            if not live.may_speak():
                return
            await self.checkpoints.put(piece)
            live.durable = piece.offset + len(piece.text)

    async def _hand_back(
        self, lane: Lane, handle: str, live: LiveRun, fault: Exception | None
    ) -> None:
        # Behind whatever the keeper has under way: its hiding of the job must not come after ours.
        async with live.keeping:
            live.frozen = live.handed_back = True
            await self._checkpoint(live)
            run = live.run
            ours = await self.calls(
                self.stores.runs.hand_back, run.run_id, run.epoch, live.total(), fault is not None
            )
        if ours:
            self.logger.info("run.handed_back", extra={"offset": live.durable})
        else:
            self.logger.warning("run.lost")
        await self._hide(lane, handle, FAULT_PAUSE_S if fault else 0)

    async def _settle(self, lane: Lane, handle: str, live: LiveRun, ending: Ending) -> None:
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
                "output_tokens": ending.usage.output_tokens,
                "input_tokens": ending.usage.input_tokens,
                "cached_tokens": ending.usage.cached_tokens,
                "total_ms": ending.ended_ms - stored.created_ms,
            },
        )
        await self.calls(self.lanes.acknowledge, lane, handle)

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

    async def _hide(self, lane: Lane, handle: str, seconds: int) -> None:
        try:
            await self.calls(self.lanes.hide, lane, handle, seconds)
        except Retryable as error:
            # Then it comes back when its visibility runs out.
            self.logger.warning("job.stays_hidden", extra={"reason": repr(error)})

    def _log_first_token(
        self, live: LiveRun, timings: "_Timings", prompt_tokens: int, messages: int
    ) -> None:
        """The hops of the way to the first token; `make bench-ttft` reads this line."""
        self.logger.info(
            "run.first_token",
            extra={
                "epoch": live.run.epoch,
                "prompt_tokens": prompt_tokens,
                "prompt_messages": messages,
                "created_ms": timings.created_ms,
                "enqueued_ms": timings.enqueued_ms,
                "received_ms": timings.received_ms,
                "claimed_ms": timings.claimed_ms,
                "prompted_ms": timings.prompted_ms,
                "first_token_ms": timings.first_token_ms,
            },
        )


@dataclass(slots=True)
class _Timings:
    """Moments on the way to the first token, in Unix ms; 0 for those not reached."""

    enqueued_ms: int
    created_ms: int
    received_ms: int
    claimed_ms: int
    prompted_ms: int = 0
    first_token_ms: int = 0


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
