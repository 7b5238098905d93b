"""What a run leads to beside its own end: what is started, what becomes of a text, who hears of it."""

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.adapters.memory.states import MemoryCompactions, MemoryWaits
from chatcore.adapters.memory.stores import memory_stores
from chatcore.domain.chat import Chat, Message, Role
from chatcore.domain.compaction import ASK_AGAIN_MS
from chatcore.domain.context import room_for
from chatcore.domain.errors import Code, StoreUnavailable
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.run import Ending, Event, FinishReason, Kind, Run, Status, Usage
from chatcore.domain.summary import Summary, SummaryAsked
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.ports import Stores
from chatcore.protocol.queue import Job, job_for
from gpu_service.worker.aftermath import Aftermath
from gpu_service.worker.histories import Histories, Known
from gpu_service.worker.prompting import Gathered
from tests.contract.clock import TestClock
from tests.unit.services.test_submit import Failing
from tests.unit.worker.stage import ALICE, QUIET, Calls

RUN = Run(
    run_id="r_1",
    user_id=ALICE.user_id,
    chat_id="c_1",
    tier=Tier.FREE,
    message_id="message-0003",
    message_seq=50,
    digest="",
    created_ms=1_000,
    prior_seq=41,
    untitled=True,
)
ENDING = Ending(Event.COMPLETE, 2_000, "Coco.", Usage(10, 0, 5), FinishReason.STOP)
NEWEST = Message("c_1", 50, "", Role.USER, "Its name?", "r_1", 1_000)
SUMMARY = Summary("c_1", "b_1", 3, 11, "## Facts\nNone.", 5)
TITLE_RUN = replace(RUN, kind=Kind.TITLE, tier=Tier.BACKGROUND, run_id="b_title")
SUMMARY_RUN = replace(
    RUN, kind=Kind.SUMMARY, tier=Tier.BACKGROUND, run_id="b_2", summary_tokens=100, message_seq=41
)
LOWEST = Lane(Tier.BACKGROUND, RETURNS)


def turns(chars: int, count: int = 4) -> list[Message]:
    return [
        Message("c_1", 20 + n, f"m_{n}", role, "x" * chars, f"r_{n}", n)
        for n in range(count)
        for role in [Role.ASSISTANT if n % 2 else Role.USER]
    ]


@dataclass
class Desk:
    """plans: how the stores, lanes and machines fail."""

    clock: TestClock = field(default_factory=TestClock)
    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    histories: Histories = field(default_factory=Histories)
    compactions: MemoryCompactions = field(default_factory=MemoryCompactions)
    waits: MemoryWaits = field(default_factory=MemoryWaits)
    plans: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stores: Stores = memory_stores(self.database)
        self.lanes = MemoryLanes(self.clock)
        self.stores.chats.create(Chat(ALICE.user_id, "c_1", None, 1, 1))
        compactions: Any = Failing(self.compactions, self.plans)
        lanes: Any = Failing(self.lanes, self.plans)
        summaries: Any = Failing(self.stores.summaries, self.plans)
        self.aftermath = Aftermath(
            stores=replace(self.stores, summaries=summaries),
            lanes=lanes,
            compactions=compactions,
            waits=self.waits,
            calls=Calls(),
            count_tokens=len,
            logger=QUIET,
            now_ms=self.clock,
            tiers=lambda: DEFAULTS,
            worker_id="worker-1",
            histories=self.histories,
        )

    async def answered(self, known: Known, run: Run = RUN, ending: Ending = ENDING) -> None:
        await self.aftermath.answered(run, ending, Gathered(known, NEWEST))

    @property
    def titles(self) -> int:
        return self.lanes.waiting(LOWEST)


@pytest.fixture
def desk() -> Desk:
    return Desk()


HIGH = room_for(DEFAULTS[Tier.FREE]).high


def long_chat() -> Known:
    return Known.of(turns(chars=HIGH // 4), None)


async def test_the_chat_is_known_from_now_on_with_its_answer(desk: Desk) -> None:
    known = Known.of(turns(5), SUMMARY)
    await desk.answered(known)
    assert desk.histories.get("c_1", 51) is known
    question, answer = known.messages[-2:]
    assert question == replace(NEWEST, message_id="message-0003")
    assert (answer.seq, answer.text, answer.message_id) == (51, "Coco.", RUN.answer_message_id)
    assert known.summary == SUMMARY


async def test_also_where_there_was_no_answer_and_then_nothing_is_started(desk: Desk) -> None:
    known = long_chat()
    cancelled = replace(ENDING, event=Event.CANCEL, text="", finish_reason=FinishReason.CANCELLED)
    await desk.answered(known, ending=cancelled)
    assert desk.histories.get("c_1", 51) is known
    assert known.messages[-1].seq == 50
    assert (desk.titles, desk.compactions.started) == (0, [])


async def test_of_a_message_that_was_gone_nothing_is_known(desk: Desk) -> None:
    await desk.aftermath.answered(RUN, ENDING, Gathered())
    assert desk.histories.get("c_1", 51) is None
    assert desk.titles == 0


async def test_a_title_is_asked_for_of_an_untitled_chats_completed_answer(desk: Desk) -> None:
    stopped = replace(ENDING, event=Event.CANCEL, finish_reason=FinishReason.CANCELLED)
    await desk.answered(Known(), ending=stopped)
    await desk.answered(Known(), replace(RUN, untitled=False))
    assert desk.titles == 0
    await desk.answered(Known())
    assert desk.titles == 1


async def test_past_the_high_mark_a_compaction_is_started(desk: Desk) -> None:
    await desk.answered(Known.of(turns(5), None))
    assert desk.compactions.started == []
    known = long_chat()
    await desk.answered(known)
    room = room_for(DEFAULTS[Tier.FREE])
    expected = SummaryAsked(
        user_id=ALICE.user_id,
        chat_id="c_1",
        summary_id="",
        up_to_seq=23,
        summary_tokens=room.summary,
        asked_ms=desk.clock(),
        worker_id="worker-1",
        tail_tokens=room.low + room.summary,
    )
    assert desk.compactions.started == [expected]
    assert known.asked_ms == desk.clock()


async def test_it_goes_on_from_the_chats_summary(desk: Desk) -> None:
    await desk.answered(Known.of(turns(chars=HIGH // 4), SUMMARY))
    assert desk.compactions.started[0].summary_id == "b_1"
    spoken_for = replace(SUMMARY, up_to_seq=23)
    await desk.answered(Known.of(turns(chars=HIGH // 4), spoken_for))
    assert len(desk.compactions.started) == 1


async def test_it_is_not_started_again_for_a_while_unless_a_summary_comes(desk: Desk) -> None:
    known = long_chat()
    await desk.answered(known)
    desk.clock.advance(ASK_AGAIN_MS - 1)
    await desk.answered(known)
    assert len(desk.compactions.started) == 1
    desk.clock.advance(1)
    await desk.answered(known)
    assert len(desk.compactions.started) == 2
    # Up to the same place it is another try all the same.
    assert len({each.asked_ms for each in desk.compactions.started}) == 2
    known.adopt(replace(SUMMARY, up_to_seq=19))
    await desk.answered(known)
    assert len(desk.compactions.started) == 3


@pytest.mark.parametrize("method", ["send", "start"])
async def test_trouble_is_not_the_answers_and_the_next_one_asks_again(
    desk: Desk, method: str
) -> None:
    desk.plans[method] = ["before"]
    known = long_chat()
    await desk.answered(known)
    assert desk.histories.get("c_1", 51) is known
    assert desk.compactions.started == []
    await desk.answered(known, replace(RUN, message_seq=60))
    assert desk.titles >= 1
    assert len(desk.compactions.started) == 1


async def test_what_is_no_passing_trouble_is_raised(desk: Desk) -> None:
    broken = replace(desk.aftermath, tiers=dict)
    with pytest.raises(KeyError):
        await broken.answered(RUN, ENDING, Gathered(long_chat(), NEWEST))


async def taken(desk: Desk, run: Run, text: str, former: Summary | None = None) -> Ending:
    return await desk.aftermath.taken(run, Gathered(former=former), replace(ENDING, text=text))


async def test_a_title_is_given_to_a_chat_that_has_none(desk: Desk) -> None:
    ending = await taken(desk, TITLE_RUN, '"A parrot"')
    assert ending == replace(ENDING, text='"A parrot"')
    chat = desk.stores.chats.get(ALICE.user_id, "c_1")
    assert chat is not None
    assert chat.title == "A parrot"
    await taken(desk, TITLE_RUN, "Another")
    await taken(desk, TITLE_RUN, " ")
    assert desk.stores.chats.get(ALICE.user_id, "c_1") == chat


async def test_a_summary_is_stored_under_its_run(desk: Desk) -> None:
    text = "## Facts\nCoco."
    assert await taken(desk, SUMMARY_RUN, text) == replace(ENDING, text=text)
    assert desk.stores.summaries.get("c_1", "b_2") == Summary("c_1", "b_2", 1, 41, text, 2_000)
    await taken(desk, SUMMARY_RUN, text, former=SUMMARY)
    stored = desk.stores.summaries.get("c_1", "b_2")
    assert stored is not None
    assert stored.version == 4
    # It is not the chat's before it is committed.
    chat = desk.stores.chats.get(ALICE.user_id, "c_1")
    assert chat is not None
    assert chat.summary_id == ""


@pytest.mark.parametrize("text", ["", " \n", "I am sorry.", "## Facts\n" + "x" * 92])
async def test_what_is_no_summary_is_a_failure_and_not_stored(desk: Desk, text: str) -> None:
    ending = await taken(desk, SUMMARY_RUN, text)
    assert ending.event is Event.FAIL
    assert ending.finish_reason is FinishReason.FAILED
    assert ending.failure is Code.ENGINE_ERROR
    assert ending.usage == ENDING.usage
    assert desk.database.summaries == {}


@pytest.mark.parametrize("event", [Event.FAIL, Event.CANCEL])
@pytest.mark.parametrize("run", [TITLE_RUN, SUMMARY_RUN], ids=["title", "summary"])
async def test_of_a_run_that_did_not_complete_nothing_is_taken(
    desk: Desk, run: Run, event: Event
) -> None:
    ending = replace(ENDING, event=event, text="## Facts\nHalf")
    assert await desk.aftermath.taken(run, Gathered(), ending) is ending
    assert desk.database.summaries == {}
    chat = desk.stores.chats.get(ALICE.user_id, "c_1")
    assert chat is not None
    assert chat.title is None


async def test_a_summary_that_cannot_be_stored_may_be_stored_again(desk: Desk) -> None:
    desk.plans["put"] = ["before"]
    with pytest.raises(StoreUnavailable):
        await taken(desk, SUMMARY_RUN, "## Facts")
    assert (await taken(desk, SUMMARY_RUN, "## Facts")).event is Event.COMPLETE


def awaited(run: Run, token: str = "token-1") -> Job:
    return msgspec.structs.replace(job_for(run), task_token=token)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"status": Status.COMPLETED}, ""),
        ({"status": Status.FAILED, "failure": Code.ENGINE_ERROR}, "engine_error"),
        ({"status": Status.CANCELLED}, "cancelled"),
    ],
)
async def test_who_waits_hears_how_it_ended(
    desk: Desk, changes: dict[str, Any], outcome: str
) -> None:
    desk.waits.waiting.add("token-1")
    ended = replace(SUMMARY_RUN, **changes)
    await desk.aftermath.told(job_for(SUMMARY_RUN), ended)
    assert desk.waits.outcomes == {}
    for _ in range(2):
        await desk.aftermath.told(awaited(SUMMARY_RUN), ended)
        assert desk.waits.outcomes == {"token-1": outcome}


@pytest.mark.parametrize("outcome", ["", "not_made"])
async def test_who_finds_the_run_gone_tells_by_what_it_left(desk: Desk, outcome: str) -> None:
    desk.waits.waiting.add("token-1")
    if not outcome:
        await taken(desk, SUMMARY_RUN, "## Facts")
    await desk.aftermath.told(awaited(SUMMARY_RUN))
    assert desk.waits.outcomes == {"token-1": outcome}


async def test_whether_somebody_waits(desk: Desk) -> None:
    assert await desk.aftermath.is_awaited(job_for(SUMMARY_RUN))
    assert not await desk.aftermath.is_awaited(awaited(SUMMARY_RUN))
    desk.waits.waiting.add("token-1")
    assert await desk.aftermath.is_awaited(awaited(SUMMARY_RUN))
    assert desk.waits.beats == {"token-1": 1}
