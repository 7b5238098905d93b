"""Cancel: in every state, once, by its owner only."""

from dataclasses import replace
from typing import Any

import pytest

from chatcore.adapters.memory.queues import MemoryInboxes
from chatcore.domain import lease
from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import User
from chatcore.domain.ledger import cost_tokens
from chatcore.domain.run import FinishReason, Run, Status, Usage
from chatcore.domain.stream import Checkpoint
from chatcore.domain.tiers import Tier
from chatcore.protocol.queue import Cancel
from chatcore.services.cancel import TRIES, cancel
from tests.contract.clock import TestClock
from tests.contract.sends import ALICE, claimed
from tests.unit.services.test_submit import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def inboxes() -> MemoryInboxes:
    inboxes = MemoryInboxes()
    inboxes.open("inbox-worker-1")
    return inboxes


def cancelled(desk: Desk, inboxes: MemoryInboxes, run: Run) -> Run:
    outcome = cancel(desk.stores, inboxes, ALICE, run.run_id, desk.clock())
    assert isinstance(outcome, Run)
    return outcome


def test_a_queued_run_is_over_at_once_and_costs_nothing(desk: Desk, inboxes: MemoryInboxes) -> None:
    run = desk.submitted().run
    ended = cancelled(desk, inboxes, run)
    assert (ended.status, ended.finish_reason) == (Status.CANCELLED, FinishReason.CANCELLED)
    ledger = desk.stores.ledgers.get(ALICE.user_id)
    assert (ledger.active, ledger.settled_tokens) == ({}, 0)
    assert len(desk.database.messages) == 1


def test_a_running_run_is_left_to_its_worker_which_is_told(
    desk: Desk, inboxes: MemoryInboxes
) -> None:
    run = claimed(desk.stores, desk.submitted().run, now_ms=desk.clock())
    outcome = cancelled(desk, inboxes, run)
    assert (outcome.status, outcome.cancel_requested) == (Status.RUNNING, True)
    assert list(inboxes.receive("inbox-worker-1", 0)) == [
        Cancel(run_id=run.run_id, asked_ms=desk.clock())
    ]


def test_a_worker_that_is_gone_but_may_still_speak_gets_the_note(
    desk: Desk, inboxes: MemoryInboxes
) -> None:
    run = claimed(desk.stores, desk.submitted().run, now_ms=desk.clock())
    inboxes.close("inbox-worker-1")
    assert cancelled(desk, inboxes, run).cancel_requested


def test_a_run_whose_lease_is_over_ends_here_with_its_durable_text_and_its_cost(
    desk: Desk, inboxes: MemoryInboxes
) -> None:
    run = claimed(desk.stores, desk.submitted().run, now_ms=desk.clock())
    spent = Usage(input_tokens=9, output_tokens=4)
    desk.database.runs[run.run_id] = replace(run, spent=spent)
    desk.stores.runs.put_checkpoints([Checkpoint(run.run_id, 1, 0, "so far")], desk.clock())
    desk.clock.advance(lease.LEASE_MS + lease.SKEW_MARGIN_MS)
    assert cancelled(desk, inboxes, run).status is Status.RUNNING
    desk.clock.advance(1)
    ended = cancelled(desk, inboxes, run)
    assert (ended.status, ended.length, ended.usage) == (Status.CANCELLED, 6, spent)
    answer = desk.database.messages[run.chat_id, run.message_seq + 1]
    assert answer.text == "so far"
    assert desk.stores.ledgers.get(ALICE.user_id).settled_tokens == cost_tokens(spent)


def test_a_run_that_is_over_stays_as_it_is(desk: Desk, inboxes: MemoryInboxes) -> None:
    run = desk.submitted().run
    desk.complete(run.run_id)
    before = desk.database.runs[run.run_id]
    assert cancelled(desk, inboxes, run) == before
    assert desk.database.runs[run.run_id] == before


@pytest.mark.parametrize("user", [User("user-bob", Tier.PRO)])
def test_another_users_run_is_not_there(desk: Desk, inboxes: MemoryInboxes, user: User) -> None:
    run = desk.submitted().run
    for run_id in (run.run_id, "r_" + "a" * 26):
        outcome = cancel(desk.stores, inboxes, user, run_id, desk.clock())
        assert isinstance(outcome, Refusal)
        assert outcome.code is Code.RUN_NOT_FOUND
    assert desk.database.runs[run.run_id].status is Status.QUEUED


def test_a_run_that_is_claimed_in_between_is_left_to_its_worker(
    desk: Desk, inboxes: MemoryInboxes
) -> None:
    run = desk.submitted().run

    class ClaimedFirst:
        """The run as it was before the claim, once."""

        def __init__(self, runs: Any) -> None:
            self._runs = runs
            self._stale = [run]

        def get(self, run_id: str) -> Run | None:
            if self._stale:
                seen = self._stale.pop()
                claimed(desk.stores, run, now_ms=desk.clock())
                return seen
            found: Run | None = self._runs.get(run_id)
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self._runs, name)

    runs: Any = ClaimedFirst(desk.stores.runs)
    stores = replace(desk.stores, runs=runs)
    outcome = cancel(stores, inboxes, ALICE, run.run_id, desk.clock())
    assert isinstance(outcome, Run)
    assert (outcome.status, outcome.cancel_requested) == (Status.RUNNING, True)


def test_a_run_that_always_changes_is_a_refusal_to_try_again(inboxes: MemoryInboxes) -> None:
    desk = Desk(TestClock())
    run = desk.submitted().run

    class NeverEnds:
        tries = 0

        def __init__(self, runs: Any) -> None:
            self._runs = runs

        def end(self, *args: object) -> bool:
            NeverEnds.tries += 1
            return False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._runs, name)

    runs: Any = NeverEnds(desk.stores.runs)
    stores = replace(desk.stores, runs=runs)
    outcome = cancel(stores, inboxes, ALICE, run.run_id, desk.clock())
    assert isinstance(outcome, Refusal)
    assert outcome.code is Code.BUSY
    assert NeverEnds.tries == TRIES
