"""Closing an account: nothing new is taken, whatever was on its way; and deleting it takes its address."""

from dataclasses import replace
from typing import Any

import pytest

from chatcore.adapters.memory.queues import MemoryInboxes
from chatcore.adapters.memory.states import MemoryAccountPurges
from chatcore.domain.errors import Code, Refusal, StoreUnavailable
from chatcore.domain.run import Status
from chatcore.domain.tiers import DEFAULTS
from chatcore.services.accounts import Closed, close, delete_account
from chatcore.services.chats import create_chat
from chatcore.services.submit import submit
from tests.contract.sends import ALICE, claimed
from tests.unit.services.orders import Scene, Stepped, in_every_order
from tests.unit.services.test_submit import SEND, Desk

EMAIL = "alice@example.com"


@pytest.fixture
def desk() -> Desk:
    return Desk()


def delete(desk: Desk, purges: Any, confirmed: str = EMAIL, stores: Any = None) -> Closed | Refusal:
    return delete_account(
        stores or desk.stores, desk.inboxes, purges, ALICE, EMAIL, confirmed, desk.clock()
    )


def test_nothing_new_is_taken_in_a_closed_account(desk: Desk) -> None:
    first = desk.submitted().run
    closed = close(desk.stores, desk.inboxes, ALICE.user_id, desk.clock())
    assert closed.closed_ms == desk.clock()
    assert [run.run_id for run in closed.ended_runs] == [first.run_id]
    assert closed.ended_runs[0].viewers == {"socket-1"}
    assert desk.database.runs[first.run_id].status is Status.CANCELLED
    # A new send, a repeat, one into a chat that is there, a chat of its own.
    for send in (
        replace(SEND, message_id="message-0002"),
        SEND,
        replace(SEND, message_id="message-0003", chat_id=first.chat_id),
    ):
        assert desk.refused(send) is Code.ACCOUNT_CLOSED
    refusal = create_chat(desk.stores, ALICE, None, bytes(16), desk.clock())
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.ACCOUNT_CLOSED
    assert len(desk.database.chats) == len(desk.database.runs) == 1


def test_closing_again_leaves_the_first_moment(desk: Desk) -> None:
    first = close(desk.stores, desk.inboxes, ALICE.user_id, desk.clock())
    desk.clock.advance(5_000)
    again = close(desk.stores, desk.inboxes, ALICE.user_id, desk.clock())
    assert again == first
    assert desk.database.ledgers[ALICE.user_id].version == 1


def test_a_run_that_a_worker_holds_is_left_to_it_and_it_is_told(desk: Desk) -> None:
    run = claimed(desk.stores, desk.submitted().run, now_ms=desk.clock())
    inbox = desk.inboxes.open("inbox-worker-1")
    closed = close(desk.stores, desk.inboxes, ALICE.user_id, desk.clock())
    assert closed.ended_runs == ()
    assert desk.database.runs[run.run_id].cancel_requested
    assert len(desk.inboxes.receive(inbox, 0)) == 1
    # Its end still finds the account, and the mark outlives it.
    desk.clock.advance(60_000)
    close(desk.stores, desk.inboxes, ALICE.user_id, desk.clock())
    account = desk.stores.ledgers.get(ALICE.user_id)
    assert (account.is_closed, dict(account.active)) == (True, {})


def test_of_a_send_and_a_closing_at_once_no_run_is_left() -> None:
    """In every order of their calls: the send is refused, or its run is ended."""

    def scene() -> Scene:
        desk = Desk()
        stores = replace(
            desk.stores, runs=_stepped(desk.stores.runs), ledgers=_stepped(desk.stores.ledgers)
        )
        return Scene(
            desk,
            [
                lambda: submit(stores, desk.lanes, desk.inboxes, DEFAULTS, SEND, desk.clock()),
                lambda: close(stores, desk.inboxes, ALICE.user_id, desk.clock()),
            ],
        )

    statuses = set()
    for desk in in_every_order(scene):
        assert desk.stores.ledgers.get(ALICE.user_id).is_closed
        runs = list(desk.database.runs.values())
        assert all(run.status is Status.CANCELLED for run in runs)
        statuses.add(len(runs))
    # Both have been seen: refused, and admitted before.
    assert statuses == {0, 1}


def _stepped(port: Any) -> Any:
    return Stepped(port)


@pytest.mark.parametrize("confirmed", ["", "bob@example.com", "alice"])
def test_deleting_takes_the_accounts_address(desk: Desk, confirmed: str) -> None:
    purges = MemoryAccountPurges()
    refusal = delete(desk, purges, confirmed)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.CONFIRMATION_WRONG
    assert purges.started == set()
    assert desk.database.ledgers == {}


def test_who_has_no_address_cannot_confirm_with_none(desk: Desk) -> None:
    purges = MemoryAccountPurges()
    outcome = delete_account(desk.stores, desk.inboxes, purges, ALICE, "", "", desk.clock())
    assert isinstance(outcome, Refusal)
    assert purges.started == set()


@pytest.mark.parametrize("confirmed", [EMAIL, " Alice@Example.com\n"])
def test_deleting_starts_the_purge_and_closes(desk: Desk, confirmed: str) -> None:
    purges = MemoryAccountPurges()
    assert isinstance(delete(desk, purges, confirmed), Closed)
    assert purges.started == {ALICE.user_id}
    assert desk.stores.ledgers.get(ALICE.user_id).is_closed


@pytest.mark.parametrize("fails", ["start", "put", "end", None])
def test_deleting_again_does_what_is_left(desk: Desk, fails: str | None) -> None:
    run = desk.submitted().run
    purges = MemoryAccountPurges()
    desk.plans.update({fails: ["before"]} if fails else {})
    stores = replace(desk.failing_stores, ledgers=desk.failing(desk.stores.ledgers))
    for _ in range(2):
        try:
            delete(desk, desk.failing(purges), stores=stores)
        except StoreUnavailable:
            # Nothing has happened, or the purge has started and goes on without us.
            assert bool(purges.started) is (fails != "start")
    assert purges.started == {ALICE.user_id}
    assert desk.database.runs[run.run_id].status is Status.CANCELLED
    assert desk.stores.ledgers.get(ALICE.user_id).is_closed


def test_an_account_that_is_written_all_the_time_is_closed_later(desk: Desk) -> None:
    desk.plans["put"] = ["conflict"] * 3
    stores = replace(desk.stores, ledgers=desk.failing(desk.stores.ledgers))
    close(stores, MemoryInboxes(), ALICE.user_id, desk.clock())
    assert desk.stores.ledgers.get(ALICE.user_id).is_closed
