"""Slots and accounts: who leaves his slot and goes on later, who is looked at twice, what is charged."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.domain.calendar import LANES, QUANTUM, lane_of, returns_of
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.identity import User
from chatcore.domain.lanes import Lane
from chatcore.domain.ledger import FIRST_GUESS_TOKENS, GUESS_SHARE, cost_tokens, virtual
from chatcore.domain.preemption import MAX_PREEMPTIONS
from chatcore.domain.run import Run, Status
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.ports import Received
from chatcore.protocol.queue import Job
from chatcore.services.cancel import cancel
from tests.simulation.engine import Script, words
from tests.unit.worker.stage import ALICE, ANSWER, Calls, Stage
from tests.unit.worker.test_worker import _DyingCalls, stage_saying
from virtual_clock.loop import in_virtual_time, now_ms

BOB = User("user-bob", Tier.FREE)
GUESS = round(FIRST_GUESS_TOKENS * GUESS_SHARE)


def going_on(prompt: str) -> Script:
    """An engine that goes on where the prompt ends; whoever pays asks for little."""
    said = prompt.rpartition("<|im_start|>assistant\n")[2]
    if "Quickly" in prompt:
        return words("There you are", 1.0)
    return words(ANSWER[len(said) :], 0.5)


def filled(stage: Stage) -> list[Lane]:
    assert isinstance(stage.lanes, MemoryLanes)
    return [lane for lane in LANES if stage.lanes.depth(lane)]


def one_slot(script_for: Callable[[str], Script] = going_on, **changes: Any) -> Stage:
    stage = Stage(script_for=script_for, **changes)
    stage.limits = replace(stage.limits, slots=1)
    return stage


def two_who_pay(stage: Stage, number: int) -> None:
    """As many as a worker of one slot has room for beside another's run."""
    for index in range(2):
        user = User(f"user-pro-{number}-{index}", Tier.PRO)
        stage.send(f"message-pro{number}", user, viewer=None, text="Quickly!")


class TestPreemption:
    @in_virtual_time
    async def test_hands_a_run_back_at_its_checkpoint_and_it_goes_on_later(self) -> None:
        stage = one_slot()
        stage.start()
        run = stage.send()
        await asyncio.sleep(2)
        two_who_pay(stage, 1)
        await asyncio.sleep(1)
        queued = stage.stored(run)
        assert (queued.status, queued.preemptions, queued.attempts) == (Status.QUEUED, 1, 0)
        assert queued.spent.output_tokens > 0
        assert returns_of(Tier.FREE) in filled(stage)
        told = stage.screens.frames()[-1]
        assert (told["type"], told["reason"], told["epoch"]) == ("run.queued", "resuming", 1)
        shown = stage.screens.text()
        await asyncio.sleep(30)
        ended = stage.stored(run)
        assert (ended.status, ended.epoch) == (Status.COMPLETED, 2)
        # `text` fails on a gap or a repeat.
        assert stage.answer(run) == stage.screens.text() == ANSWER
        assert 0 < len(shown) < len(ANSWER)
        assert [kind for kind in stage.screens.kinds() if kind != "run.rewound"] == [
            "run.started",
            "run.delta",
            "run.queued",
            "run.started",
            "run.delta",
            "run.completed",
        ]
        assert filled(stage) == []

    @in_virtual_time
    async def test_is_paid_by_nobody_twice(self) -> None:
        stage = one_slot()
        stage.start()
        run = stage.send()
        await asyncio.sleep(2)
        two_who_pay(stage, 1)
        await asyncio.sleep(30)
        usage = stage.stored(run).usage
        assert usage is not None
        assert usage.output_tokens == len(ANSWER.split())
        ledger = stage.stores.ledgers.get(ALICE.user_id)
        assert (ledger.settled_tokens, ledger.served) == (cost_tokens(usage),) * 2
        assert (ledger.charged, ledger.waiting, ledger.active) == ({}, (), {})

    @in_virtual_time
    async def test_happens_to_a_run_so_often_and_then_no_more(self) -> None:
        stage = one_slot(lambda prompt: words(ANSWER, 0.5 if "Quickly" in prompt else 2.0))
        stage.start()
        run = stage.send(viewer=None)
        for number in range(MAX_PREEMPTIONS + 2):
            await asyncio.sleep(1.5)
            two_who_pay(stage, number)
            await asyncio.sleep(10)
        assert stage.stored(run).preemptions == MAX_PREEMPTIONS
        await asyncio.sleep(30)
        ended = stage.stored(run)
        assert (ended.status, ended.epoch) == (Status.COMPLETED, MAX_PREEMPTIONS + 1)

    @in_virtual_time
    async def test_leaves_a_tier_that_pays_as_much_alone(self) -> None:
        stage = one_slot(lambda prompt: words(ANSWER, 0.5))
        stage.start()
        runs = [
            stage.send(user=User(f"user-pro-{number}", Tier.PRO), viewer=None)
            for number in range(5)
        ]
        await asyncio.sleep(40)
        assert {stage.stored(run).epoch for run in runs} == {1}


class TestTheSecondLook:
    """Who was put into a lane, and has been served ahead of those in it meanwhile."""

    def served_meanwhile(self, stage: Stage, user: User, numbers: int) -> None:
        ledger = stage.database.ledgers[user.user_id]
        served = replace(ledger, served=numbers * QUANTUM, tagged_tier=user.tier)
        stage.database.ledgers[user.user_id] = served

    @in_virtual_time
    async def test_moves_him_behind_them(self) -> None:
        stage = one_slot(lambda prompt: words(ANSWER, 0.5))
        alices = stage.send()
        bobs = stage.send(user=BOB)
        self.served_meanwhile(stage, ALICE, 3)
        stage.start()
        await asyncio.sleep(1)
        assert stage.stored(bobs).status is Status.RUNNING
        assert stage.stored(alices).status is Status.QUEUED
        assert lane_of(Tier.FREE, 3) in filled(stage)
        await asyncio.sleep(20)
        assert stage.stored(alices).status is Status.COMPLETED
        assert filled(stage) == []

    @in_virtual_time
    async def test_is_not_taken_where_nobody_contends(self) -> None:
        stage = Stage(script_for=lambda prompt: words(ANSWER, 0.5))
        sent: list[Lane] = []
        stage.lanes = Noted(now_ms, sent=sent)
        run = stage.send()
        self.served_meanwhile(stage, ALICE, 3)
        stage.start()
        await asyncio.sleep(1)
        assert stage.stored(run).status is Status.RUNNING
        assert sent == [Lane(Tier.FREE)]

    @in_virtual_time
    async def test_is_not_taken_of_what_comes_back(self) -> None:
        stage = one_slot(lambda prompt: words(ANSWER, 0.5))
        run = stage.send()
        self.served_meanwhile(stage, ALICE, 3)
        received = stage.lanes.receive(Lane(Tier.FREE), 0)
        assert received is not None
        stage.lanes.acknowledge(Lane(Tier.FREE), received.handle)
        stage.lanes.send(returns_of(Tier.FREE), received.item)
        stage.start()
        await asyncio.sleep(1)
        assert stage.stored(run).status is Status.RUNNING

    @in_virtual_time
    async def test_of_who_stands_where_he_is_moves_nothing(self) -> None:
        stage = one_slot(lambda prompt: words(ANSWER, 0.5))
        run = stage.send()
        stage.start()
        await asyncio.sleep(1)
        assert stage.stored(run).status is Status.RUNNING


@dataclass(slots=True)
class Noted(MemoryLanes):
    """sent, acknowledged: in which lanes, in order; calls: both."""

    sent: list[Lane] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def send(self, lane: Lane, job: Job, delay_s: int = 0) -> None:
        self.sent.append(lane)
        self.calls.append(f"send {job.run_id}")
        MemoryLanes.send(self, lane, job, delay_s)

    def acknowledge(self, lane: Lane, handle: str) -> None:
        self.calls.append("acknowledge")
        MemoryLanes.acknowledge(self, lane, handle)


class TestCharges:
    @in_virtual_time
    async def test_follow_what_a_running_run_costs(self) -> None:
        stage = stage_saying(words(ANSWER, 2.0))
        stage.start()
        run = stage.send(text="word " * 799)
        await asyncio.sleep(3)
        ledger = stage.stores.ledgers.get(ALICE.user_id)
        assert dict(ledger.charged) == {run.run_id: GUESS}
        await asyncio.sleep(4)
        charged = stage.stores.ledgers.get(ALICE.user_id).charged[run.run_id]
        assert charged > GUESS
        await asyncio.sleep(20)
        usage = stage.stored(run).usage
        assert usage is not None
        over = stage.stores.ledgers.get(ALICE.user_id)
        assert charged < cost_tokens(usage) == over.served == over.finish_tag
        assert over.charged == {}

    @in_virtual_time
    async def test_of_a_run_that_costs_less_than_was_guessed_stay_as_they_are(self) -> None:
        stage = stage_saying(words(ANSWER, 2.0))
        stage.start()
        run = stage.send()
        await asyncio.sleep(14)
        charged = stage.stores.ledgers.get(ALICE.user_id).charged
        assert dict(charged) == {run.run_id: GUESS}

    @in_virtual_time
    async def test_of_a_run_are_by_the_weight_that_it_was_admitted_with(self) -> None:
        """Weights changed mid-flight: what follows goes by the new one, in the turns too."""
        stage = stage_saying(words(ANSWER, 2.0))
        stage.start()
        run = stage.send()
        await asyncio.sleep(3)
        stage.tiers.tiers = {**DEFAULTS, Tier.FREE: replace(DEFAULTS[Tier.FREE], weight=7)}
        await asyncio.sleep(20)
        first = stage.stored(run).usage
        assert first is not None
        ledger = stage.stores.ledgers.get(ALICE.user_id)
        assert ledger.served == cost_tokens(first)
        again = stage.send("message-0002")
        assert again.weight == 7
        await asyncio.sleep(25)
        second = stage.stored(again).usage
        assert second is not None
        ledger = stage.stores.ledgers.get(ALICE.user_id)
        assert ledger.served == cost_tokens(first) + virtual(cost_tokens(second), 7)


class TestTheUsersNextRun:
    """Only the first of a user's waiting runs has a job: whoever takes it puts the next one's in."""

    @in_virtual_time
    async def test_begins_beside_the_first_where_there_is_room(self) -> None:
        stage = stage_saying(words(ANSWER, 2.0))
        stage.start()
        runs = [stage.send(f"message-000{number}") for number in range(2)]
        await asyncio.sleep(2)
        assert {stage.stored(run).status for run in runs} == {Status.RUNNING}

    @in_virtual_time
    async def test_takes_the_turn_of_one_that_is_over_before_that_job_is_let_go(self) -> None:
        stage = Stage()
        calls: list[str] = []
        first, second = (stage.send(f"message-000{number}") for number in range(2))
        lanes = stage.lanes
        stage.lanes = Noted(now_ms, calls=calls)
        stage.lanes.send(Lane(Tier.FREE), received_of(lanes).item)
        cancel(stage.stores, stage.inboxes, ALICE, first.run_id, now_ms())
        calls.clear()
        stage.start()
        await asyncio.sleep(5)
        assert calls[:2] == [f"send {second.run_id}", "acknowledge"]
        assert stage.stored(second).status is Status.COMPLETED
        assert filled(stage) == []

    @in_virtual_time
    async def test_takes_the_turn_of_one_that_was_deleted_with_its_chat(self) -> None:
        stage = Stage()
        first, second = (stage.send(f"message-000{number}") for number in range(2))
        cancel(stage.stores, stage.inboxes, ALICE, first.run_id, now_ms())
        stage.stores.runs.remove([first.run_id])
        del stage.database.chats[ALICE.user_id, first.chat_id]
        stage.start()
        await asyncio.sleep(5)
        assert stage.stored(second).status is Status.COMPLETED
        assert filled(stage) == []

    @in_virtual_time
    async def test_is_put_in_when_the_accounts_are_back_and_the_answer_does_not_wait(self) -> None:
        stage = stage_saying(words(ANSWER, 0.2), limits=replace(Stage().limits, slots=1))
        ledgers = _Throttled(stage.stores.ledgers)
        runs = [stage.send(f"message-000{number}") for number in range(2)]
        stage.stores = replace(stage.stores, ledgers=ledgers)
        stage.start()
        await asyncio.sleep(4)
        assert stage.answer(runs[0]) == stage.screens.text() == ANSWER
        # Its job is kept: should the worker die now, whoever gets it repairs the account.
        assert filled(stage) == [Lane(Tier.FREE)]
        assert stage.stored(runs[1]).status is Status.QUEUED
        ledgers.is_well = True
        await asyncio.sleep(10)
        assert stage.stored(runs[1]).status is Status.COMPLETED
        assert filled(stage) == []

    @in_virtual_time
    async def test_is_not_lost_when_the_accounts_stay_away_for_long(self) -> None:
        stage = stage_saying(words(ANSWER, 0.2), limits=replace(Stage().limits, slots=1))
        ledgers = _Throttled(stage.stores.ledgers)
        runs = [stage.send(f"message-000{number}") for number in range(2)]
        stage.stores = replace(stage.stores, ledgers=ledgers)
        stage.start()
        await asyncio.sleep(60)
        ledgers.is_well = True
        await asyncio.sleep(60)
        assert {stage.stored(run).status for run in runs} == {Status.COMPLETED}
        assert filled(stage) == []


@dataclass(slots=True)
class _Throttled:
    """Accounts that the workers cannot reach until all is well."""

    inner: Any
    is_well: bool = False

    def __getattr__(self, name: str) -> Any:
        if not self.is_well:
            raise StoreUnavailable("throttled")
        return getattr(self.inner, name)


def received_of(lanes: Any) -> Received[Job]:
    received: Received[Job] | None = lanes.receive(Lane(Tier.FREE), 0)
    assert received is not None
    return received


class TestALaneThatTheFrontHasLeft:
    @in_virtual_time
    async def test_lets_a_running_runs_job_go_to_the_returns(self) -> None:
        stage = stage_saying(words(ANSWER, 3.0))
        stage.start()
        run = stage.send()
        await asyncio.sleep(2)
        assert filled(stage) == [Lane(Tier.FREE)]
        stage.stores.calendars.advance(Tier.FREE, 4)
        await asyncio.sleep(7)
        assert filled(stage) == [returns_of(Tier.FREE)]
        await asyncio.sleep(60)
        assert (stage.stored(run).status, stage.stored(run).epoch) == (Status.COMPLETED, 1)
        assert filled(stage) == []

    @in_virtual_time
    async def test_does_not_hide_it_when_the_worker_dies(self) -> None:
        stage = stage_saying(words(ANSWER, 3.0), words("and on"), calls=_DyingCalls(alive_s=11.0))
        stage.start()
        run = stage.send()
        await asyncio.sleep(2)
        stage.stores.calendars.advance(Tier.FREE, 40)
        await asyncio.sleep(12)
        stage.calls = Calls()
        stage.start("worker-2")
        # Far behind the front nobody looks; but they look at the returns.
        await asyncio.sleep(60)
        ended = stage.stored(run)
        assert (ended.status, ended.epoch) == (Status.COMPLETED, 2)
        assert stage.answer(run) == stage.screens.text()


@dataclass(slots=True)
class _TwiceAtOnce(MemoryLanes):
    """Each message goes to two who ask, before it is hidden."""

    told: dict[str, int] = field(default_factory=dict)

    def receive(self, lane: Lane, wait_s: int) -> Received[Job] | None:
        received = MemoryLanes.receive(self, lane, wait_s)
        if received is not None:
            times = self.told[received.item.run_id] = self.told.get(received.item.run_id, 0) + 1
            if times == 1:
                MemoryLanes.hide(self, lane, received.handle, 0)
        return received


@in_virtual_time
async def test_a_message_that_two_workers_get_at_once_is_made_and_charged_by_one() -> None:
    stage = stage_saying(words(ANSWER, 0.5))
    stage.lanes = lanes = _TwiceAtOnce(now_ms)
    stage.start()
    stage.start("worker-2")
    await asyncio.sleep(1)
    runs: list[Run] = [stage.send(f"message-000{number}") for number in range(2)]
    await asyncio.sleep(60)
    assert min(lanes.told.values()) >= 2
    assert len(stage.asked) == 2
    assert {(stage.stored(run).status, stage.stored(run).epoch) for run in runs} == {
        (Status.COMPLETED, 1)
    }
    ledger = stage.stores.ledgers.get(ALICE.user_id)
    spent = sum(cost_tokens(usage) for run in runs if (usage := stage.stored(run).usage))
    assert (ledger.served, ledger.settled_runs) == (spent, 2)
    assert (ledger.charged, ledger.waiting) == ({}, ())
    assert filled(stage) == []
