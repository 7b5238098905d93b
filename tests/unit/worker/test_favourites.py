"""A chat's next run goes to the worker that knows it, at no one's cost; and that one has nothing to read."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

import pytest

from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.domain.affinity import PATIENCE_MS, TWIN_DELAY_S
from chatcore.domain.beat import Beat
from chatcore.domain.calendar import LANES, Backlog, returns_of
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.identity import User
from chatcore.domain.lanes import Lane
from chatcore.domain.run import Ending, Event, FinishReason, Run, Status, Usage
from chatcore.domain.tiers import Tier
from chatcore.ports import Claimed
from chatcore.protocol.queue import Offer
from gpu_service.worker.placing import PREFILL_MS_PER_TOKEN
from gpu_service.worker.worker import Worker
from tests.simulation.engine import Script, words
from tests.unit.worker.stage import ALICE, ANSWER, Calls, Stage
from virtual_clock.loop import in_virtual_time, now_ms

P = ParamSpec("P")
T = TypeVar("T")

FREE = Lane(Tier.FREE)
KNOWN_TOKENS = 8_000
PREFIX_S = KNOWN_TOKENS * PREFILL_MS_PER_TOKEN / 1000


class Noted:
    """A store whose calls are noted, by name; or that cannot be reached."""

    def __init__(self, inner: Any, name: str, calls: list[str], away: bool = False) -> None:
        self._inner = inner
        self._name = name
        self._calls = calls
        self._away = away

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self._calls.append(f"{self._name}.{name}")
        if self._away:
            raise StoreUnavailable(name)
        method: Callable[..., Any] = getattr(self._inner, name)
        return method


@dataclass(slots=True)
class SlowDispatch(Calls):
    """Accounts take their time; nobody is to wait for that."""

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(5.0 if function.__name__ == "dispatch" else 0.001)
        return function(*args, **kwargs)


@dataclass(slots=True)
class SlowClaim(Calls):
    """What is read ahead of it is there first."""

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(0.1 if function.__name__ == "claim" else 0.001)
        return function(*args, **kwargs)


@dataclass
class Chat:
    """A chat that worker-1 has answered once: its stage, and the worker."""

    stage: Stage
    worker: Worker
    first: Run

    def next(self, message_id: str = "message-0002", **changes: Any) -> Run:
        return self.stage.send(message_id, chat_id=self.first.chat_id, **changes)


async def answered_once(**changes: Any) -> Chat:
    stage = Stage(**{"script_for": lambda prompt: words(ANSWER, 0.2), **changes})
    worker = stage.start("worker-1")
    first = stage.send(text="The first question")
    # Until it has been told that nothing waits any more.
    await asyncio.sleep(11)
    assert stage.stored(first).status is Status.COMPLETED
    return Chat(stage, worker, first)


async def left_by_its_worker(is_dead: bool = False) -> Chat:
    """The same, and nothing is known of the worker any more, or all but that it is dead."""
    chat = await answered_once()
    await chat.stage.stopped(chat.worker)
    long = replace(
        chat.stage.database.chats[ALICE.user_id, chat.first.chat_id], context_tokens=KNOWN_TOKENS
    )
    chat.stage.database.chats[ALICE.user_id, chat.first.chat_id] = long
    if is_dead:
        chat.stage.inboxes.open("worker-1")
        beats_now(chat.stage)
    return chat


def beats_now(stage: Stage) -> None:
    stage.stores.beats.put(Beat("worker-1", "worker-1", now_ms(), slots=2, free_slots=2))


def others_wait(stage: Stage) -> None:
    calendar = stage.stores.calendars.get(Tier.FREE)
    seen = replace(calendar, backlog=Backlog(now_ms(), {FREE.index: 1}, 1.0))
    assert stage.stores.calendars.publish(seen, calendar.backlog.at_ms)


def filled(stage: Stage) -> list[Lane]:
    assert isinstance(stage.lanes, MemoryLanes)
    return [lane for lane in LANES if stage.lanes.depth(lane)]


class TestTheFavourite:
    @in_virtual_time
    async def test_begins_at_once_and_its_twin_finds_the_run_over(self) -> None:
        chat = await answered_once()
        stage = chat.stage
        stage.start("worker-2")
        await asyncio.sleep(3)
        run = chat.next()
        assert filled(stage) == [returns_of(Tier.FREE)]
        await asyncio.sleep(0.3)
        assert stage.stored(run).worker_id == "worker-1"
        await asyncio.sleep(40)
        assert (stage.stored(run).status, stage.stored(run).epoch) == (Status.COMPLETED, 1)
        assert len(stage.asked) == 2
        assert filled(stage) == []

    @in_virtual_time
    async def test_of_a_warm_turn_reads_nothing_before_the_engine_is_asked(self) -> None:
        calls: list[str] = []
        chat = await answered_once(calls=SlowDispatch())
        stores = chat.stage.stores
        run = chat.next(text="The second question")
        for name in ("runs", "messages", "chats", "ledgers", "tickets"):
            watched = Noted(getattr(stores, name), name, calls)
            # In place, for a worker that has them already.
            object.__setattr__(chat.worker.parts.stores, name, watched)
        asked_of: list[str] = []

        def script_for(prompt: str) -> Script:
            asked_of.extend(calls)
            return words(ANSWER, 0.2)

        chat.stage.engine.script_for = script_for
        await asyncio.sleep(1)
        assert asked_of == ["runs.claim"]
        prompt = chat.stage.engine.prompts[-1]
        places = [
            prompt.index(part) for part in ("The first question", ANSWER, "The second question")
        ]
        assert places == sorted(places)
        await asyncio.sleep(20)
        assert chat.stage.answer(run) == ANSWER

    @in_virtual_time
    async def test_a_twin_reads_nothing_while_its_run_is_being_made(self) -> None:
        chat = await answered_once(calls=SlowClaim())
        stage, calls = chat.stage, list[str]()
        run = chat.next()
        messages = Noted(stage.stores.messages, "messages", calls)
        object.__setattr__(stage.stores, "messages", messages)
        await asyncio.sleep(TWIN_DELAY_S + 30)
        assert stage.stored(run).status is Status.COMPLETED
        assert filled(stage) == []
        assert calls == []

    @in_virtual_time
    async def test_a_twins_run_is_looked_at_and_not_claimed_in_vain(self) -> None:
        chat = await answered_once()
        stage, calls = chat.stage, list[str]()
        run = chat.next()
        object.__setattr__(stage.stores, "runs", Noted(stage.stores.runs, "runs", calls))
        await asyncio.sleep(TWIN_DELAY_S + 30)
        assert stage.stored(run).status is Status.COMPLETED
        assert filled(stage) == []
        assert calls.count("runs.claim") == 1
        # Found held, and then over.
        assert calls.count("runs.get") >= 2

    @in_virtual_time
    async def test_reads_what_another_worker_has_answered_since(self) -> None:
        chat = await answered_once()
        stage = chat.stage
        elsewhere = chat.next("message-other", text="Asked elsewhere")
        # Somebody else is quicker: the offer finds the run held, then over.
        claim = stage.stores.runs.claim(elsewhere.run_id, "worker-2", "worker-2", now_ms())
        assert isinstance(claim, Claimed)
        await asyncio.sleep(1)
        ending = Ending(
            Event.COMPLETE, now_ms(), "Said elsewhere", Usage(9, 0, 9), FinishReason.STOP
        )
        assert stage.stores.runs.end(claim.run, ending)
        await asyncio.sleep(40)
        assert filled(stage) == []
        chat.next("message-0003", text="The third question")
        await asyncio.sleep(15)
        prompt = stage.engine.prompts[-1]
        parts = (ANSWER, "Asked elsewhere", "Said elsewhere", "The third question")
        places = [prompt.index(part) for part in parts]
        assert places == sorted(places)


class TestOthers:
    @in_virtual_time
    async def test_leave_it_to_one_that_lives_for_as_long_as_its_prefix_would_take_them(
        self,
    ) -> None:
        chat = await left_by_its_worker(is_dead=True)
        stage = chat.stage
        stage.start("worker-2")
        await asyncio.sleep(1)
        beats_now(stage)
        others_wait(stage)
        run = chat.next()
        assert filled(stage) == [FREE]
        await asyncio.sleep(1)
        # Taken from the lane and offered: nobody had told it yet.
        (told,) = stage.inboxes.receive("worker-1", 0)
        assert isinstance(told, Offer)
        assert told.run_id == run.run_id
        assert stage.stored(run).status is Status.QUEUED
        assert filled(stage) == [returns_of(Tier.FREE)]
        await asyncio.sleep(PREFIX_S)
        assert stage.stored(run).worker_id == "worker-2"
        assert list(stage.inboxes.receive("worker-1", 0)) == []

    @in_virtual_time
    async def test_do_not_wait_for_one_that_is_gone(self) -> None:
        chat = await left_by_its_worker()
        stage = chat.stage
        stage.start("worker-2")
        await asyncio.sleep(1)
        run = chat.next()
        assert run.favourite == "worker-1"
        await asyncio.sleep(0.5)
        assert stage.stored(run).worker_id == "worker-2"

    @in_virtual_time
    async def test_do_not_wait_where_nothing_can_be_known_of_it(self) -> None:
        chat = await left_by_its_worker(is_dead=True)
        stage = chat.stage
        others_wait(stage)
        run = chat.next()
        away: Any = Noted(stage.stores.beats, "beats", [], away=True)
        stage.stores = replace(stage.stores, beats=away)
        stage.start("worker-2")
        await asyncio.sleep(1)
        assert stage.stored(run).worker_id == "worker-2"


@pytest.mark.parametrize("contended", [False, True], ids=["a free slot", "others wait"])
@in_virtual_time
async def test_a_worker_that_dies_with_runs_in_its_inbox_costs_them_seconds(
    contended: bool,
) -> None:
    """Their twins bring them to whoever is alive."""
    chat = await left_by_its_worker(is_dead=True)
    stage = chat.stage
    run = chat.next()
    assert filled(stage) == [returns_of(Tier.FREE)]
    if contended:
        stage.limits = replace(stage.limits, slots=1)
        for number in range(6):
            stage.send(user=User(f"user-{number}", Tier.FREE), viewer=None)
    stage.start("worker-2")
    await asyncio.sleep(60)
    ended = stage.stored(run)
    assert (ended.status, ended.epoch) == (Status.COMPLETED, 1)
    assert ended.started_ms is not None
    waited_ms = ended.started_ms - run.created_ms
    patience_ms = PATIENCE_MS if contended else 1000 * PREFIX_S
    # Until the worker is done with the one that it makes just then, too.
    assert 1000 * TWIN_DELAY_S < waited_ms < patience_ms + 2_500
    assert stage.answer(run) == ANSWER
    assert filled(stage) == []
