"""Owns what a run leads to beside its own end: what an answer starts in the background, what becomes of
the text of a run in the background, and who waits for it.

    answer    ended ──▶ title asked for, where the chat has none
                    └─▶ compaction started, where its tail is past the high mark
    title     text ──▶ the chat's, if it has none ──▶ ended
    summary   text ──▶ read ahead ──▶ stored under its run ──▶ ended ──▶ the execution commits it

Died between any two: a background run's job is still in its lane, and whoever gets it does the rest; what
an answer did not start, the chat's next answer does. Nobody waits for any of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from aws_lambda_powertools import Logger

from chatcore.domain.chat import answer_of
from chatcore.domain.compaction import ASK_AGAIN_MS, leaving
from chatcore.domain.context import room_for, stable_text
from chatcore.domain.context_plan import CountTokens
from chatcore.domain.errors import Code, Retryable
from chatcore.domain.run import Ending, Event, FinishReason, Kind, Run, Status
from chatcore.domain.summary import Summary, SummaryAsked, fault_of
from chatcore.domain.tiers import Tier, Tiers
from chatcore.domain.title import title_of
from chatcore.ports import Compactions, Lanes, Stores, Waits
from chatcore.protocol.queue import Job
from chatcore.services.title import ask_for_title
from gpu_service.worker.histories import Histories, Known
from gpu_service.worker.prompting import Gathered
from gpu_service.worker.threads import Calls


@dataclass(frozen=True, slots=True)
class Aftermath:
    stores: Stores
    lanes: Lanes
    compactions: Compactions
    waits: Waits
    calls: Calls
    count_tokens: CountTokens
    logger: Logger
    now_ms: Callable[[], int]
    tiers: Callable[[], Tiers]
    worker_id: str
    histories: Histories

    async def answered(self, run: Run, ending: Ending, gathered: Gathered) -> None:
        """After an answer's end: remember the chat, and start what is due. Never raises what may pass."""
        answer = answer_of(run, ending)
        if gathered.newest is None:
            return
        known = gathered.known
        # What came with an offer has no id of its own.
        newest = replace(gathered.newest, message_id=run.message_id)
        known.extend([newest, *([answer] if answer else [])])
        self.histories.put(run.chat_id, run.message_seq + 1, known)
        if answer is None:
            return
        try:
            if run.untitled and ending.event is Event.COMPLETE:
                await self.calls(ask_for_title, self.stores, self.lanes, run, self.now_ms())
            if self.now_ms() - known.asked_ms >= ASK_AGAIN_MS:
                await self._compact(run, known)
        except Retryable as error:
            # The next answer asks again.
            self.logger.warning("background.trouble", extra={"reason": repr(error)})

    async def taken(self, run: Run, gathered: Gathered, ending: Ending) -> Ending:
        """How a run in the background really ends, once its text is where it belongs. Raises
        StoreUnavailable: the same may be done again."""
        if ending.event is not Event.COMPLETE:
            return ending
        if run.kind is Kind.TITLE:
            title = title_of(ending.text)
            if title is not None:
                await self.calls(self.stores.chats.entitle, run.user_id, run.chat_id, title)
            return ending
        fault = fault_of(ending.text, run.summary_tokens, self.count_tokens)
        if fault is not None:
            self.logger.warning("summary.not_taken", extra={"reason": fault})
            return replace(
                ending,
                event=Event.FAIL,
                finish_reason=FinishReason.FAILED,
                failure=Code.ENGINE_ERROR,
            )
        summary = _summary(run, gathered, ending.text, ending.ended_ms)
        await self.calls(self.stores.summaries.put, summary)
        return ending

    async def next_prefix(self, run: Run, gathered: Gathered, text: str) -> str | None:
        """What the chat's prompts will begin with once this text is its summary; None where the chat is not
        known here, or the text will not be taken."""
        known = self.histories.latest(run.chat_id)
        if known is None or known.room is None:
            return None
        if fault_of(text, run.summary_tokens, self.count_tokens) is not None:
            return None
        return await self.calls(
            stable_text,
            list(known.messages),
            _summary(run, gathered, text, self.now_ms()),
            known.room,
            self.count_tokens,
            known.count_turn(self.count_tokens),
        )

    async def told(self, job: Job, run: Run | None = None) -> None:
        """Whoever waits for the run hears how it ended; run: None where that is not known here, only that it
        has. Raises StoreUnavailable: the job then stays."""
        if not job.task_token:
            return
        if run is None:
            made = await self.calls(self.stores.summaries.get, job.chat_id, job.run_id)
            completed, code = made is not None, "not_made"
        else:
            completed, code = run.status is Status.COMPLETED, str(run.failure or run.status)
        if completed:
            await self.calls(self.waits.succeed, job.task_token)
            return
        cause = f"the run {job.run_id} that was to write it ended as {code}"
        await self.calls(self.waits.fail, job.task_token, code, cause)

    async def is_awaited(self, job: Job) -> bool:
        """Tells whoever waits that the run is being worked on; False where nobody waits any more."""
        return not job.task_token or await self.calls(self.waits.beat, job.task_token)

    async def _compact(self, run: Run, known: Known) -> None:
        tiers = self.tiers()
        room = room_for(tiers[run.tier])
        going = await self.calls(
            leaving,
            known.messages,
            known.summary,
            room,
            tiers[Tier.BACKGROUND],
            known.count_turn(self.count_tokens),
            self.count_tokens,
        )
        if not going:
            return
        now_ms = self.now_ms()
        asked = SummaryAsked(
            user_id=run.user_id,
            chat_id=run.chat_id,
            summary_id=known.summary_id,
            up_to_seq=going[-1].seq,
            summary_tokens=room.summary,
            asked_ms=now_ms,
            worker_id=self.worker_id,
            tail_tokens=room.low + room.summary,
        )
        await self.calls(self.compactions.start, asked)
        known.asked_ms = now_ms
        self.logger.info("compaction.asked", extra={"messages": len(going)})


def _summary(run: Run, gathered: Gathered, text: str, made_ms: int) -> Summary:
    return Summary(
        chat_id=run.chat_id,
        summary_id=run.run_id,
        version=1 + (gathered.former.version if gathered.former else 0),
        up_to_seq=run.message_seq,
        text=text,
        made_ms=made_ms,
    )
