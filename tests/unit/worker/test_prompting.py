"""What a worker gathers for a run, and what it then asks the engine."""

import asyncio
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.adapters.memory.stores import memory_stores
from chatcore.domain import compaction, title
from chatcore.domain.chat import Message, Role
from chatcore.domain.errors import EngineRefused, PromptTooLong
from chatcore.domain.lanes import Lane
from chatcore.domain.run import Kind, Run, Usage
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.ports import Stores
from chatcore.protocol.queue import job_for
from gpu_service.worker.delivery import Delivery
from gpu_service.worker.histories import Histories, Known
from gpu_service.worker.prompting import MAX_TITLE_TOKENS, Gathered, Prompting
from tests.unit.worker.stage import Calls

RUN = Run(
    run_id="r_1",
    user_id="user-alice",
    chat_id="c_1",
    tier=Tier.FREE,
    message_id="message-0003",
    message_seq=50,
    digest="",
    created_ms=1_800_000_000_050,
    prior_seq=41,
)
SUMMARY = Summary("c_1", "b_1", 1, 21, "## Facts\nNone.", 5)
LIMITS = DEFAULTS[Tier.FREE]


def messages() -> list[Message]:
    return [
        Message("c_1", seq, f"m_{seq}", role, f"Text {seq}", f"r_{seq}", 1_800_000_000_000 + seq)
        for seq, role in (
            (20, Role.USER),
            (21, Role.ASSISTANT),
            (40, Role.USER),
            (41, Role.ASSISTANT),
            (50, Role.USER),
        )
    ]


@dataclass
class Desk:
    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    histories: Histories = field(default_factory=Histories)

    def __post_init__(self) -> None:
        self.stores: Stores = memory_stores(self.database)
        for message in messages():
            self.database.messages[message.chat_id, message.seq] = message
        self.database.summaries["c_1", "b_1"] = SUMMARY
        self.prompting = Prompting(
            self.stores, Calls(), len, lambda: 1_800_000_000_100, lambda: DEFAULTS, self.histories
        )

    def delivery(self, run: Run = RUN, text: str = "", offered_ms: int = 0) -> Delivery:
        job = msgspec.structs.replace(job_for(run), offered_ms=offered_ms)
        lane = Lane(run.tier) if not text else None
        lanes = MemoryLanes(lambda: 0)
        return Delivery(job, 0, lane, "", 0, lanes, Calls(), text=text)

    async def gathered(self, run: Run = RUN, text: str = "") -> Gathered:
        return await self.prompting.gathered(self.delivery(run, text), asyncio.Event())

    def forget(self) -> None:
        """The stores: what is known is all there is."""
        self.database.messages.clear()
        self.database.summaries.clear()


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_chat_that_is_not_known_is_read(desk: Desk) -> None:
    gathered = await desk.gathered(replace(RUN, summary_id="b_1"))
    assert gathered.newest == messages()[-1]
    assert gathered.known.messages == messages()[:-1]
    assert gathered.known.summary == SUMMARY
    # Only what an answer has ended is kept for the next.
    assert desk.histories.get("c_1", 41) is None


async def test_one_that_is_known_is_not_and_its_message_came_with_the_offer(desk: Desk) -> None:
    known = Known.of(messages()[:-1], SUMMARY)
    desk.histories.put("c_1", 41, known)
    desk.forget()
    gathered = await desk.gathered(replace(RUN, summary_id="b_1"), text="Text 50")
    assert gathered.known is known
    assert gathered.newest == replace(messages()[-1], message_id="", run_id="r_1")
    assert known.messages == messages()[:-1]


async def test_one_whose_message_did_not_come_with_the_job_is_read(desk: Desk) -> None:
    desk.histories.put("c_1", 41, Known.of(messages()[:-1], None))
    assert (await desk.gathered()).newest == messages()[-1]


async def test_one_that_is_known_from_before_is_read(desk: Desk) -> None:
    desk.histories.put("c_1", 21, Known.of(messages()[:2], None))
    gathered = await desk.gathered(text="Text 50")
    assert gathered.known.messages == messages()[:-1]


async def test_a_summary_that_has_come_since_is_read_alone(desk: Desk) -> None:
    known = Known.of(messages()[:-1], None)
    known.asked_ms = 5
    desk.histories.put("c_1", 41, known)
    desk.database.messages.clear()
    gathered = await desk.gathered(replace(RUN, summary_id="b_1"), text="Text 50")
    assert gathered.known is known
    assert (known.summary, known.asked_ms) == (SUMMARY, 0)
    desk.forget()
    await desk.gathered(replace(RUN, summary_id="b_1"), text="Text 50")
    assert known.summary == SUMMARY


async def test_an_offers_twin_reads_nothing_before_it_is_claimed(desk: Desk) -> None:
    claimed = asyncio.Event()
    delivery = desk.delivery(offered_ms=5)
    gathering = asyncio.create_task(desk.prompting.gathered(delivery, claimed))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not gathering.done()
    claimed.set()
    assert (await gathering).newest == messages()[-1]


async def test_a_message_that_is_gone_is_not_answered(desk: Desk) -> None:
    del desk.database.messages["c_1", 50]
    gathered = await desk.gathered()
    assert (gathered.newest, gathered.known.messages) == (None, [])
    with pytest.raises(EngineRefused):
        desk.prompting.asked(RUN, gathered, "")


async def test_an_answer_is_asked_for_with_the_chat_and_what_it_recalls(desk: Desk) -> None:
    gathered = await desk.gathered(replace(RUN, summary_id="b_1"))
    asked = desk.prompting.asked(RUN, gathered, "So far")
    assert asked.text.endswith("<|im_start|>assistant\nSo far")
    assert "> ## Facts" in asked.text
    assert "<|im_start|>user\nText 40" in asked.text
    assert asked.plan is not None
    assert asked.tokens == asked.plan.tokens == len(asked.text)
    assert asked.plan.tail.messages == 2


async def test_it_may_have_what_is_left_of_its_output(desk: Desk) -> None:
    gathered = await desk.gathered()
    most = LIMITS.max_output_tokens

    def output_tokens(spent: int, continuation: str) -> int:
        run = replace(RUN, spent=Usage(output_tokens=spent))
        return desk.prompting.asked(run, gathered, continuation).max_output_tokens

    assert output_tokens(0, "") == most
    assert output_tokens(100, "") == most - 100
    # A worker that died has left its text, but not what it spent.
    assert output_tokens(0, "x" * 300) == most - 300
    assert output_tokens(500, "x" * 300) == most - 500
    assert output_tokens(most + 5, "") == 1


async def test_a_long_continuation_is_no_prompt_that_is_too_long(desk: Desk) -> None:
    gathered = await desk.gathered()
    prompt = LIMITS.context_tokens - LIMITS.max_output_tokens
    asked = desk.prompting.asked(RUN, gathered, "x" * prompt)
    assert asked.tokens > prompt


async def test_a_message_that_does_not_fit_alone_is_refused(desk: Desk) -> None:
    gathered = await desk.gathered()
    assert gathered.newest is not None
    huge = replace(gathered, newest=replace(gathered.newest, text="x" * LIMITS.context_tokens))
    with pytest.raises(PromptTooLong):
        desk.prompting.asked(RUN, huge, "")


TITLE_RUN = replace(RUN, kind=Kind.TITLE, tier=Tier.BACKGROUND, message_id="", message_seq=40)
SUMMARY_RUN = replace(
    RUN,
    kind=Kind.SUMMARY,
    tier=Tier.BACKGROUND,
    message_id="",
    prior_seq=21,
    message_seq=41,
    summary_id="b_1",
    summary_tokens=300,
)


async def test_a_title_is_made_of_a_turn(desk: Desk) -> None:
    gathered = await desk.gathered(TITLE_RUN)
    assert gathered.messages == messages()[2:4]
    asked = desk.prompting.asked(TITLE_RUN, gathered, "")
    assert asked.text == title.title_prompt(messages()[2:4])
    assert (asked.tokens, asked.max_output_tokens) == (len(asked.text), MAX_TITLE_TOKENS)
    assert asked.plan is None


async def test_a_summary_is_made_of_the_former_and_of_what_leaves(desk: Desk) -> None:
    gathered = await desk.gathered(SUMMARY_RUN)
    assert gathered.messages == messages()[2:4]
    assert gathered.former == SUMMARY
    asked = desk.prompting.asked(SUMMARY_RUN, gathered, "")
    assert asked.text == compaction.summary_prompt(SUMMARY, messages()[2:4], 300, len)
    # Half as much again as it may have: one that was cut off would not show that it is too long.
    assert asked.max_output_tokens == 450
    first = replace(SUMMARY_RUN, summary_id="", prior_seq=0, message_seq=21)
    gathered = await desk.gathered(first)
    assert (gathered.messages, gathered.former) == (messages()[:2], None)


@pytest.mark.parametrize("run", [TITLE_RUN, SUMMARY_RUN], ids=["title", "summary"])
async def test_of_messages_that_are_gone_nothing_is_asked(desk: Desk, run: Run) -> None:
    desk.forget()
    gathered = await desk.gathered(run)
    with pytest.raises(EngineRefused):
        desk.prompting.asked(run, gathered, "")


async def test_a_prompt_in_the_background_is_no_longer_than_its_tier_reads(desk: Desk) -> None:
    gathered = await desk.gathered(SUMMARY_RUN)
    long = replace(gathered, messages=[replace(messages()[0], text="x" * 400)] * 60)
    with pytest.raises(PromptTooLong):
        desk.prompting.asked(SUMMARY_RUN, long, "")
