"""Submit: exactly one run, one charge, and at least one job, whatever fails on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.queues import MemoryInboxes, MemoryLanes
from chatcore.adapters.memory.stores import memory_stores
from chatcore.domain.admission import Send
from chatcore.domain.affinity import TWIN_DELAY_S
from chatcore.domain.beat import Beat
from chatcore.domain.calendar import LANES, QUANTUM, Backlog, lane_of, returns_of
from chatcore.domain.errors import Code, Conflict, Refusal, StoreUnavailable
from chatcore.domain.identity import User
from chatcore.domain.lanes import Lane
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Ending, Event, FinishReason, Status, Usage
from chatcore.domain.tiers import DEFAULTS, Tier, Tiers
from chatcore.domain.waiting import Reason
from chatcore.ports import Claimed
from chatcore.protocol.queue import Offer
from chatcore.services.submit import TRIES, Submitted, submit
from tests.contract.clock import TestClock

ALICE = User("user-alice", Tier.FREE)
SEND = Send(ALICE, None, "message-0001", "Hello", viewer="socket-1")
LANE = Lane(Tier.FREE)


class Failing:
    """A port that fails as planned: for each call of a method, what happens around it."""

    def __init__(self, inner: Any, plans: dict[str, list[str]]) -> None:
        self._inner = inner
        self._plans = plans

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            plan = self._plans.get(name) or ["well"]
            step = plan.pop(0)
            if step == "before":
                raise StoreUnavailable("before")
            if step == "conflict":
                raise Conflict("somebody else wrote first")
            result = method(*args, **kwargs)
            if step == "after":
                raise StoreUnavailable("after")
            return result

        return call


@dataclass
class Desk:
    clock: TestClock = field(default_factory=TestClock)
    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    plans: dict[str, list[str]] = field(default_factory=dict)
    tiers: Tiers = field(default_factory=lambda: DEFAULTS)
    inboxes: MemoryInboxes = field(default_factory=MemoryInboxes)

    def __post_init__(self) -> None:
        self.lanes = MemoryLanes(self.clock)
        self.stores = memory_stores(self.database)
        self.failing_stores = replace(
            self.stores,
            runs=self.failing(self.stores.runs),
            beats=self.failing(self.stores.beats),
        )
        self.failing_lanes = self.failing(self.lanes)
        self.failing_inboxes = self.failing(self.inboxes)

    def submit(self, send: Send = SEND) -> Submitted | Refusal:
        return submit(
            self.failing_stores,
            self.failing_lanes,
            self.failing_inboxes,
            self.tiers,
            send,
            self.clock(),
        )

    def submitted(self, send: Send = SEND) -> Submitted:
        outcome = self.submit(send)
        assert isinstance(outcome, Submitted)
        return outcome

    def refused(self, send: Send = SEND) -> Code:
        outcome = self.submit(send)
        assert isinstance(outcome, Refusal)
        assert outcome.ref == send.message_id
        return outcome.code

    def complete(self, run_id: str) -> None:
        claim = self.stores.runs.claim(run_id, "worker", "inbox", self.clock())
        assert isinstance(claim, Claimed)
        ending = Ending(Event.COMPLETE, self.clock(), "Hi", Usage(10, 0, 5), FinishReason.STOP)
        assert self.stores.runs.end(claim.run, ending)

    def failing(self, inner: Any) -> Any:
        return Failing(inner, self.plans)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def assert_sent_once(desk: Desk) -> None:
    (run,) = desk.database.runs.values()
    assert run.status is Status.QUEUED
    assert len(desk.database.messages) == len(desk.database.chats) == 1
    (ledger,) = desk.database.ledgers.values()
    assert ledger.active == {run.run_id: run.reserved_tokens}
    received = desk.lanes.receive(LANE, 0)
    assert received is not None
    assert received.item.run_id == run.run_id


def test_a_send_makes_one_run_with_its_message_its_charge_and_its_job(desk: Desk) -> None:
    submitted = desk.submitted()
    assert not submitted.repeat
    assert submitted.run.viewers == {"socket-1"}
    assert_sent_once(desk)
    assert desk.lanes.depth(LANE) == 1


@pytest.mark.parametrize(
    ("method", "plan"),
    [
        ("view", ["before"]),
        ("view", ["after", "before"]),
        ("admit", ["before"]),
        ("admit", ["after"]),
        ("admit", ["before", "after"]),
        ("admit", ["conflict"]),
        ("admit", ["conflict", "before", "conflict"]),
    ],
)
def test_a_fault_that_passes_is_not_noticed(desk: Desk, method: str, plan: list[str]) -> None:
    desk.plans[method] = list(plan)
    desk.submitted()
    assert_sent_once(desk)


@pytest.mark.parametrize("method", ["view", "admit"])
@pytest.mark.parametrize("step", ["before", "after"])
def test_a_store_that_stays_away_is_said_so_and_sending_again_works(
    desk: Desk, method: str, step: str
) -> None:
    desk.plans.update({method: [step] * TRIES, "view": [step] * TRIES})
    with pytest.raises(StoreUnavailable):
        desk.submit()
    desk.plans.clear()
    desk.submitted()
    assert_sent_once(desk)


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_lane_that_fails_leaves_a_run_that_the_next_send_puts_in_it(
    desk: Desk, step: str
) -> None:
    desk.plans["send"] = [step]
    with pytest.raises(StoreUnavailable):
        desk.submit()
    assert desk.submitted().repeat
    assert_sent_once(desk)


def test_a_repeat_says_how_the_run_stands_and_charges_nothing(desk: Desk) -> None:
    first = desk.submitted().run
    before = desk.database.ledgers[ALICE.user_id]
    again = desk.submitted()
    assert again.repeat
    assert again.run == first
    assert desk.database.ledgers[ALICE.user_id] == before
    assert_sent_once(desk)


def test_a_repeat_of_a_run_that_is_worked_on_or_over_makes_no_job(desk: Desk) -> None:
    run = desk.submitted().run
    received = desk.lanes.receive(LANE, 0)
    assert received is not None
    desk.lanes.acknowledge(LANE, received.handle)
    desk.complete(run.run_id)
    again = desk.submitted()
    assert (again.repeat, again.run.status) == (True, Status.COMPLETED)
    assert desk.lanes.depth(LANE) == 0


def test_conflicts_without_end_are_a_refusal(desk: Desk) -> None:
    desk.plans["admit"] = ["conflict"] * TRIES
    assert desk.refused() is Code.BUSY
    assert desk.database.runs == {}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", Code.TEXT_EMPTY),
        (" \n\t ", Code.TEXT_EMPTY),
        ("x" * (DEFAULTS[Tier.FREE].max_text_chars + 1), Code.TEXT_TOO_LONG),
        ("a\ud800b", Code.TEXT_INVALID),
        ("a\x00b", Code.TEXT_INVALID),
        ("a\x85b", Code.TEXT_INVALID),
    ],
)
def test_text_that_cannot_be_taken_is_refused_before_anything_is_read(
    desk: Desk, text: str, code: Code
) -> None:
    desk.plans["view"] = ["before"] * TRIES
    assert desk.refused(replace(SEND, text=text)) is code


def test_the_longest_text_is_taken_as_it_is(desk: Desk) -> None:
    text = "a" * (DEFAULTS[Tier.FREE].max_text_chars - 103) + "😀" * 100 + "\n\té"
    desk.submitted(replace(SEND, text=text))
    (message,) = desk.database.messages.values()
    assert message.text == text


def test_a_text_that_no_prompt_can_hold_is_refused_before_it_costs_anything(desk: Desk) -> None:
    characters = DEFAULTS[Tier.FREE].max_text_chars - 1
    assert desk.refused(replace(SEND, text="字" * characters)) is Code.TEXT_TOO_LONG
    assert not desk.database.messages
    assert not desk.database.ledgers


def test_the_same_id_for_another_text_or_chat_is_a_conflict(desk: Desk) -> None:
    run = desk.submitted().run
    assert desk.refused(replace(SEND, text="Other")) is Code.MESSAGE_CONFLICT
    assert desk.refused(replace(SEND, chat_id="c_" + "a" * 26)) is Code.MESSAGE_CONFLICT
    assert desk.submitted(replace(SEND, chat_id=run.chat_id)).repeat


def test_two_users_may_use_the_same_message_id(desk: Desk) -> None:
    first = desk.submitted().run
    second = desk.submitted(replace(SEND, user=User("user-bob", Tier.PRO))).run
    assert first.run_id != second.run_id
    assert first.chat_id != second.chat_id


def test_a_chat_has_one_run_at_a_time_and_takes_the_next_when_it_is_over(desk: Desk) -> None:
    run = desk.submitted().run
    second = replace(SEND, message_id="message-0002", chat_id=run.chat_id)
    assert desk.refused(second) is Code.RUN_ACTIVE
    desk.complete(run.run_id)
    assert desk.submitted(second).run.message_seq > run.message_seq + 1


def test_a_foreign_or_deleted_chat_is_not_there(desk: Desk) -> None:
    run = desk.submitted().run
    bob = User("user-bob", Tier.PRO)
    foreign = replace(SEND, user=bob, chat_id=run.chat_id, message_id="message-0002")
    assert desk.refused(foreign) is Code.CHAT_NOT_FOUND
    desk.complete(run.run_id)
    desk.stores.chats.mark_deleted(ALICE.user_id, run.chat_id, desk.clock())
    late = replace(SEND, chat_id=run.chat_id, message_id="message-0003")
    assert desk.refused(late) is Code.CHAT_NOT_FOUND


def filled(desk: Desk) -> list[str]:
    """The lanes in which there are jobs, hidden ones too."""
    return [str(lane) for lane in LANES if desk.lanes.depth(lane)]


def backlog(desk: Desk, waiting: int, starts_per_s: float = 1.0) -> None:
    """As somebody has just seen the front lane."""
    calendar = desk.stores.calendars.get(Tier.FREE)
    seen = Backlog(desk.clock(), {LANE.index: waiting}, starts_per_s)
    former_ms = calendar.backlog.at_ms
    assert desk.stores.calendars.publish(replace(calendar, backlog=seen), former_ms)


class TestItsLane:
    def test_is_where_its_user_has_been_served_up_to(self, desk: Desk) -> None:
        desk.stores.calendars.advance(Tier.FREE, 10)
        far = Ledger(ALICE.user_id, 1, served=12 * QUANTUM, tagged_tier=Tier.FREE)
        desk.database.ledgers[ALICE.user_id] = far
        desk.submitted()
        assert filled(desk) == [str(lane_of(Tier.FREE, 12))]

    def test_is_the_front_for_who_was_away(self, desk: Desk) -> None:
        desk.stores.calendars.advance(Tier.FREE, 10)
        away = Ledger(ALICE.user_id, 1, served=3 * QUANTUM, tagged_tier=Tier.FREE)
        desk.database.ledgers[ALICE.user_id] = away
        desk.submitted()
        assert filled(desk) == [str(lane_of(Tier.FREE, 10))]

    def test_is_none_behind_an_own_run(self, desk: Desk) -> None:
        first = desk.submitted()
        second = desk.submitted(replace(SEND, message_id="message-0002"))
        assert first.wait is not None
        assert second.wait is not None
        assert (first.wait.reason, second.wait.reason) == (Reason.STARTING, Reason.OWN_RUNS)
        assert desk.lanes.depth(LANE) == 1
        # And looking again does not put it in either.
        assert desk.submitted(replace(SEND, message_id="message-0002")).repeat
        assert desk.lanes.depth(LANE) == 1


class TestAQueueThatIsTooOld:
    def test_takes_nobody_who_would_wait_for_longer_than_his_tiers_patience(
        self, desk: Desk
    ) -> None:
        max_wait_s = DEFAULTS[Tier.FREE].max_wait_s
        backlog(desk, round(max_wait_s) + 30)
        outcome = desk.submit()
        assert isinstance(outcome, Refusal)
        assert (outcome.code, outcome.ref) == (Code.QUEUE_TOO_OLD, SEND.message_id)
        assert outcome.retry_at_ms == desk.clock() + 30_000
        assert (desk.database.runs, desk.database.ledgers) == ({}, {})
        assert filled(desk) == []

    def test_takes_him_when_it_is_shorter(self, desk: Desk) -> None:
        backlog(desk, round(DEFAULTS[Tier.FREE].max_wait_s))
        submitted = desk.submitted()
        assert submitted.wait is not None
        assert submitted.wait.reason is Reason.BUSY

    def test_keeps_who_is_in_it(self, desk: Desk) -> None:
        desk.submitted()
        backlog(desk, 9_999)
        assert desk.submitted().repeat

    def test_counts_only_as_long_as_it_is_known(self, desk: Desk) -> None:
        backlog(desk, 9_999)
        desk.clock.advance(60_000)
        desk.submitted()


class TestOffering:
    """Of a run to the worker that made the chat's last answer."""

    def test_puts_its_twin_into_the_returns_a_little_later(self, desk: Desk) -> None:
        second = known_to_a_worker(desk)
        run = desk.submitted(second).run
        (told,) = desk.inboxes.receive("worker", 0)
        assert isinstance(told, Offer)
        assert (told.run_id, told.text) == (run.run_id, second.text)
        assert (told.job.prior_seq, told.job.prefix_tokens) == (run.prior_seq, run.prefix_tokens)
        assert filled(desk) == [str(returns_of(Tier.FREE))]
        assert desk.lanes.receive(returns_of(Tier.FREE), 0) is None
        desk.clock.advance(1000 * TWIN_DELAY_S)
        twin = desk.lanes.receive(returns_of(Tier.FREE), 0)
        assert twin is not None
        assert twin.item == told.job
        assert twin.item.offered_ms == desk.clock() - 1000 * TWIN_DELAY_S

    def test_is_not_done_where_somebody_waits_already(self, desk: Desk) -> None:
        second = known_to_a_worker(desk)
        backlog(desk, 1)
        desk.submitted(second)
        assert list(desk.inboxes.receive("worker", 0)) == []
        received = desk.lanes.receive(LANE, 0)
        assert received is not None
        # It is offered when its turn comes: by whoever takes it then.
        assert (received.item.favourite, received.item.offered_ms) == ("worker", 0)

    @pytest.mark.parametrize("gone", ["no beat", "old", "full", "no inbox"])
    def test_to_one_that_is_gone_or_full_leaves_it_in_its_lane(self, desk: Desk, gone: str) -> None:
        second = known_to_a_worker(desk)
        if gone == "no beat":
            desk.stores.beats.remove("worker")
        elif gone == "old":
            desk.clock.advance(60_000)
        elif gone == "full":
            desk.stores.beats.put(replace(beat(desk), offers=3))
        else:
            desk.inboxes.close("worker")
        desk.submitted(second)
        # The twin of an offer comes before it; one too many is harmless.
        twin = [str(returns_of(Tier.FREE))] if gone == "no inbox" else []
        assert filled(desk) == [*twin, str(LANE)]
        assert desk.lanes.receive(LANE, 0) is not None

    @pytest.mark.parametrize("plans", [{"get": ["before"]}, {"get": ["after"]}])
    def test_that_meets_trouble_does_not_fail_the_send(
        self, desk: Desk, plans: dict[str, list[str]]
    ) -> None:
        second = known_to_a_worker(desk)
        desk.plans.update(plans)
        desk.submitted(second)
        assert desk.plans["get"] == []
        assert filled(desk) == [str(LANE)]

    @pytest.mark.parametrize("step", ["before", "after"])
    def test_to_an_inbox_in_trouble_does_not_fail_the_send(self, desk: Desk, step: str) -> None:
        second = known_to_a_worker(desk)
        plans = {"send": [step]}
        desk.failing_inboxes = Failing(desk.inboxes, plans)
        desk.submitted(second)
        assert plans["send"] == []
        assert filled(desk) == [str(returns_of(Tier.FREE)), str(LANE)]


def beat(desk: Desk) -> Beat:
    return Beat("worker", "worker", desk.clock(), slots=2, free_slots=1)


def known_to_a_worker(desk: Desk) -> Send:
    """The next send of a chat whose last answer a worker has made that has room."""
    run = desk.submitted().run
    received = desk.lanes.receive(LANE, 0)
    assert received is not None
    desk.lanes.acknowledge(LANE, received.handle)
    desk.complete(run.run_id)
    # As who served the run has noted.
    desk.database.ledgers[ALICE.user_id] = replace(desk.database.ledgers[ALICE.user_id], waiting=())
    desk.stores.beats.put(beat(desk))
    desk.inboxes.open("worker")
    return replace(SEND, message_id="message-0002", chat_id=run.chat_id, text="And then?")
