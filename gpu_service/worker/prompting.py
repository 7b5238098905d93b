"""Owns what a worker gathers for a run, and the prompt that it makes of it.

Gathering runs beside the claim, so it goes by what the job says: an answer needs the chat, which is read
only where it is not known here; a title needs a turn of it, a summary what leaves the tail.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chatcore.domain.chat import Message, Role
from chatcore.domain.compaction import summary_prompt
from chatcore.domain.context import build, room_for
from chatcore.domain.context_plan import ContextPlan, CountTokens
from chatcore.domain.errors import EngineRefused, PromptTooLong
from chatcore.domain.ledger import prompt_tokens
from chatcore.domain.run import Kind, Run
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import Tiers
from chatcore.domain.title import title_prompt
from chatcore.ports import Stores
from chatcore.protocol.queue import Job
from chatcore.services.history import read_history
from gpu_service.worker.delivery import Delivery
from gpu_service.worker.histories import Histories, Known
from gpu_service.worker.threads import Calls

MAX_TITLE_TOKENS = 48
"""Six words take less in any script; what runs on is cut."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """known: the chat without the message to be answered, which is `newest`; of a run in the background
    messages and former are what it is made of."""

    known: Known = field(default_factory=Known)
    newest: Message | None = None
    messages: Sequence[Message] = ()
    former: Summary | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the engine is asked. plan: None of a run in the background."""

    text: str
    tokens: int
    max_output_tokens: int
    plan: ContextPlan | None = None


@dataclass(frozen=True, slots=True)
class Prompting:
    stores: Stores
    calls: Calls
    count_tokens: CountTokens
    now_ms: Callable[[], int]
    tiers: Callable[[], Tiers]
    histories: Histories

    async def gathered(self, delivery: Delivery, claimed: asyncio.Event) -> Gathered:
        """What the run's prompt is made of. Raises StoreUnavailable."""
        job = delivery.job
        if job.kind is Kind.ANSWER:
            return await self._chat(delivery, claimed)
        if job.kind is Kind.TITLE:
            messages = await self.calls(
                self.stores.messages.between,
                job.chat_id,
                job.message_seq - 1,
                job.message_seq + 1,
            )
            return Gathered(messages=messages)
        return await self.calls(self._leaving, job)

    def asked(self, run: Run, gathered: Gathered, continuation: str) -> Asked:
        """Raises PromptTooLong where it is more than the tier may have of the engine, EngineRefused where
        there is nothing (any more) to make a prompt of."""
        limits = self.tiers()[run.tier]
        if run.kind is not Kind.ANSWER:
            asked = self._background(run, gathered)
            if asked.tokens > prompt_tokens(limits):
                raise PromptTooLong(f"{asked.tokens} tokens")
            return asked
        if gathered.newest is None:
            raise EngineRefused("the message to be answered is not there")
        known = gathered.known
        known.room = room_for(limits)
        prompt = build(
            known.history(gathered.newest),
            continuation,
            known.room,
            self.count_tokens,
            known.count_turn(self.count_tokens),
            known.recall(self.now_ms()),
        )
        if prompt.plan.tokens > prompt.plan.budget_tokens:
            raise PromptTooLong(f"{prompt.plan.tokens} tokens")
        # Of a worker that died only the text is known, not what it spent.
        made_tokens = max(run.spent.output_tokens, self.count_tokens(continuation))
        output_tokens = max(1, limits.max_output_tokens - made_tokens)
        return Asked(prompt.text, prompt.plan.tokens, output_tokens, prompt.plan)

    def _background(self, run: Run, gathered: Gathered) -> Asked:
        if not gathered.messages:
            raise EngineRefused("the messages are not there")
        if run.kind is Kind.TITLE:
            text, output_tokens = title_prompt(gathered.messages), MAX_TITLE_TOKENS
        else:
            text = summary_prompt(
                gathered.former, gathered.messages, run.summary_tokens, self.count_tokens
            )
            # One that is too long is to be told from one that was cut off.
            output_tokens = run.summary_tokens * 3 // 2
        return Asked(text, self.count_tokens(text), output_tokens)

    async def _chat(self, delivery: Delivery, claimed: asyncio.Event) -> Gathered:
        job = delivery.job
        if job.offered_ms and delivery.lane is not None:
            # An offer's twin: most likely its run is being made already, and this is read for nothing.
            await claimed.wait()
        known = self.histories.get(job.chat_id, job.prior_seq) if delivery.text else None
        if known is None:
            history = await self.calls(
                read_history, self.stores, job.chat_id, job.message_seq, job.summary_id
            )
            if not history.messages or history.messages[-1].seq != job.message_seq:
                return Gathered()
            *older, newest = history.messages
            known = Known.of(older, history.summary)
            return Gathered(known, newest)
        if job.summary_id and known.summary_id != job.summary_id:
            known.adopt(await self.calls(self.stores.summaries.get, job.chat_id, job.summary_id))
        return Gathered(known, _message_of(job, delivery.text))

    def _leaving(self, job: Job) -> Gathered:
        former = None
        if job.summary_id:
            former = self.stores.summaries.get(job.chat_id, job.summary_id)
        messages = self.stores.messages.between(job.chat_id, job.prior_seq, job.message_seq)
        return Gathered(messages=messages, former=former)


def _message_of(job: Job, text: str) -> Message:
    """The user's message that came with an offer, as far as a prompt needs it."""
    return Message(
        chat_id=job.chat_id,
        seq=job.message_seq,
        message_id="",
        role=Role.USER,
        text=text,
        run_id=job.run_id,
        created_ms=job.created_ms,
    )
