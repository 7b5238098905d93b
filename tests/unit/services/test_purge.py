"""Purge: nothing of a deleted chat is left, whichever write was the last before a crash."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chatcore.adapters.memory.queues import MemoryInboxes
from chatcore.adapters.memory.states import MemoryPurges
from chatcore.domain import lease
from chatcore.domain.chat import Message, Role
from chatcore.domain.errors import Refusal, StoreUnavailable
from chatcore.domain.run import Status
from chatcore.domain.stream import Checkpoint
from chatcore.ports import Stores
from chatcore.services.chats import delete_chat, open_chat
from chatcore.services.purge import BATCH, PurgeState, purge
from tests.contract.sends import ALICE, claimed
from tests.unit.services.test_submit import SEND, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


def filled(desk: Desk, turns: int) -> str:
    """A chat of so many turns, each with a checkpoint, and another chat beside it."""
    desk.submitted(replace(SEND, message_id="message-other"))
    chat_id: str | None = None
    for number in range(turns):
        desk.clock.advance(10)
        send = replace(SEND, message_id=f"message-{number:04d}", chat_id=chat_id)
        run = desk.submitted(send).run
        chat_id = run.chat_id
        desk.stores.runs.put_checkpoints([Checkpoint(run.run_id, 1, 0, "Hi")], desk.clock())
        desk.complete(run.run_id)
        desk.database.ledgers[ALICE.user_id] = replace(
            desk.database.ledgers[ALICE.user_id], windows=()
        )
    assert chat_id is not None
    return chat_id


def purged(stores: Stores, chat_id: str, desk: Desk, most_steps: int = 99) -> int:
    """Step until done; how many steps it took."""
    for number in range(1, most_steps + 1):
        outcome = purge(stores, MemoryInboxes(), ALICE.user_id, chat_id, desk.clock())
        if outcome.state is PurgeState.DONE:
            return number
    raise AssertionError("the purge never ends")


def assert_nothing_left(desk: Desk, chat_id: str) -> None:
    assert [m.message_id for m in desk.database.messages.values()] == ["message-other"]
    assert [run.message_id for run in desk.database.runs.values()] == ["message-other"]
    assert desk.database.checkpoints == {}
    assert (ALICE.user_id, chat_id) not in desk.database.chats
    assert len(desk.database.chats) == 1


def test_all_of_it_goes_in_batches_and_nothing_else(desk: Desk) -> None:
    chat_id = filled(desk, turns=BATCH + 3)
    desk.stores.chats.mark_deleted(ALICE.user_id, chat_id, desk.clock())
    assert purged(desk.stores, chat_id, desk) == 2 * (BATCH + 3) // BATCH + 2
    assert_nothing_left(desk, chat_id)


def test_hides_a_chat_whose_deletion_died_before_it_could(desk: Desk) -> None:
    chat_id = filled(desk, turns=1)
    purge(desk.stores, MemoryInboxes(), ALICE.user_id, chat_id, desk.clock())
    assert isinstance(open_chat(desk.stores, ALICE, chat_id), Refusal)


def test_an_unknown_chat_is_done(desk: Desk) -> None:
    outcome = purge(desk.stores, MemoryInboxes(), ALICE.user_id, "c_1", desk.clock())
    assert (outcome.state, outcome.removed) == (PurgeState.DONE, 0)


class Crashing:
    """Counts the writes of all the stores that share `left`, and crashes after the last allowed."""

    def __init__(self, inner: Any, left: list[int]) -> None:
        self._inner = inner
        self._left = left

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if name in ("remove", "end", "request_cancel", "mark_deleted"):
                self._left[0] -= 1
                if self._left[0] == 0:
                    raise StoreUnavailable(name)
            return result

        return call


def crashing(stores: Stores, after_writes: int) -> Stores:
    left = [after_writes]
    chats: Any = Crashing(stores.chats, left)
    messages: Any = Crashing(stores.messages, left)
    runs: Any = Crashing(stores.runs, left)
    return replace(stores, chats=chats, messages=messages, runs=runs)


@pytest.mark.parametrize("after_writes", range(1, 8))
def test_a_crash_after_any_write_is_made_good_by_doing_it_again(
    desk: Desk, after_writes: int
) -> None:
    chat_id = filled(desk, turns=BATCH)
    # The first write of all is the end of a run that still waits.
    desk.submitted(replace(SEND, message_id="message-last", chat_id=chat_id))
    desk.stores.chats.mark_deleted(ALICE.user_id, chat_id, desk.clock())
    stores = crashing(desk.stores, after_writes)
    crashes = 0
    while True:
        try:
            purged(stores, chat_id, desk)
            break
        except StoreUnavailable:
            crashes += 1
    assert crashes == 1
    assert_nothing_left(desk, chat_id)
    assert set(desk.stores.ledgers.get(ALICE.user_id).active) == set(desk.database.runs)


def test_a_run_that_is_worked_on_is_waited_for_and_its_worker_is_told(desk: Desk) -> None:
    run = claimed(desk.stores, desk.submitted().run, now_ms=desk.clock())
    inboxes = MemoryInboxes()
    inboxes.open("inbox-worker-1")
    desk.stores.chats.mark_deleted(ALICE.user_id, run.chat_id, desk.clock())
    outcome = purge(desk.stores, inboxes, ALICE.user_id, run.chat_id, desk.clock())
    assert outcome.state is PurgeState.WAITING
    assert len(inboxes.receive("inbox-worker-1", 0)) == 1
    # The worker died: once its lease is over, the purge ends the run itself.
    desk.clock.advance(lease.LEASE_MS + lease.SKEW_MARGIN_MS + 1)
    purged(desk.stores, run.chat_id, desk)
    assert not desk.database.runs
    assert not desk.database.messages


@pytest.mark.parametrize("fails", ["start", "end", None])
def test_deleting_again_does_what_is_left(desk: Desk, fails: str | None) -> None:
    run = desk.submitted().run
    purges = MemoryPurges()
    plans = {fails: ["before"]} if fails else {}
    desk.plans.update(plans)
    failing_purges: Any = desk.failing(purges)
    for _ in range(2):
        try:
            delete_chat(
                desk.failing_stores,
                MemoryInboxes(),
                failing_purges,
                ALICE,
                run.chat_id,
                desk.clock(),
            )
        except StoreUnavailable:
            # Nothing has happened, or the purge has started and goes on without us.
            assert bool(purges.started) is (fails != "start")
    assert purges.started == {(ALICE.user_id, run.chat_id)}
    assert desk.database.runs[run.run_id].status is Status.CANCELLED


def test_an_answer_that_was_written_while_it_was_deleted_goes_too(desk: Desk) -> None:
    run = desk.submitted().run
    desk.stores.chats.mark_deleted(ALICE.user_id, run.chat_id, desk.clock())
    desk.complete(run.run_id)
    answer = desk.database.messages[run.chat_id, run.message_seq + 1]
    assert isinstance(answer, Message)
    assert answer.role is Role.ASSISTANT
    purged(desk.stores, run.chat_id, desk)
    assert not desk.database.messages
    assert not desk.database.runs
    assert not desk.database.chats
