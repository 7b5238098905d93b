"""Purging an account: all that there is of its user goes, nobody else's, whichever write was the last before
a crash."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chatcore.adapters.memory.accounts import MemoryExportFiles, MemoryUserPool
from chatcore.domain import lease
from chatcore.domain.chat import Chat
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.identity import Profile, User, background_id_for
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Kind, Status
from chatcore.domain.stream import Checkpoint
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import Tier
from chatcore.ports import ExportFiles, Stores, Ticket, UserPool
from chatcore.services.purge import PurgeState
from chatcore.services.purge_account import (
    CHATS,
    TICKETS,
    Forgotten,
    forget,
    remove_chats,
    remove_rest,
    shut,
)
from chatcore.services.title import ask_for_title
from tests.contract.sends import ALICE, claimed
from tests.unit.services.test_submit import SEND, Desk

BOB = User("user-bob", Tier.FREE)
MOST_STEPS = 60
WRITES = (
    "put",
    "end",
    "request_cancel",
    "mark_deleted",
    "remove",
    "remove_of",
    "forget",
    "lock_out",
)


@dataclass
class House:
    """A desk with the other places where something of a user lies."""

    desk: Desk
    files: MemoryExportFiles
    pool: MemoryUserPool

    def purged(
        self,
        stores: Stores | None = None,
        files: ExportFiles | None = None,
        pool: UserPool | None = None,
    ) -> None:
        """The way of the state machine, from its beginning."""
        stores, files, pool = stores or self.desk.stores, files or self.files, pool or self.pool
        inboxes, now_ms = self.desk.inboxes, self.desk.clock
        shut(stores, inboxes, pool, ALICE.user_id, now_ms())
        for _ in range(MOST_STEPS):
            step = remove_chats(stores, inboxes, ALICE.user_id, now_ms())
            if step.state is PurgeState.DONE:
                break
        else:
            raise AssertionError("the chats never end")
        for _ in range(MOST_STEPS):
            if remove_rest(stores, files, pool, ALICE.user_id, now_ms()) is PurgeState.DONE:
                break
        after_hash = ""
        for _ in range(MOST_STEPS):
            forgetting = forget(stores, files, ALICE.user_id, after_hash)
            if forgetting.state is Forgotten.DONE:
                return
            assert forgetting.state is Forgotten.MORE
            after_hash = forgetting.after_hash
        raise AssertionError("it never forgets")

    def what_names(self, user: User) -> list[str]:
        """Whatever is anywhere and has to do with him."""
        database = self.desk.database
        chat_ids = {chat_id for (owner, chat_id) in database.chats if owner == user.user_id}
        return [
            *(f"chat {chat_id}" for chat_id in chat_ids),
            *(f"run {run.run_id}" for run in database.runs.values() if run.user_id == user.user_id),
            *(f"message {key}" for key in database.messages if key[0] in self._chat_ids(user)),
            *(f"summary {key}" for key in database.summaries if key[0] in self._chat_ids(user)),
            *(f"usage {key}" for key in database.usage if key[0] == user.user_id),
            *(f"ledger {key}" for key in database.ledgers if key == user.user_id),
            *(f"ticket {t}" for t in database.tickets.values() if t.user_id == user.user_id),
            *(f"file {key}" for key in self.files.files if key[0] == user.user_id),
            *(f"profile {key}" for key in self.pool.profiles if key == user.user_id),
        ]

    def _chat_ids(self, user: User) -> set[str]:
        return self.known_chat_ids[user.user_id]

    def __post_init__(self) -> None:
        self.known_chat_ids: dict[str, set[str]] = {ALICE.user_id: set(), BOB.user_id: set()}
        for user in (ALICE, BOB):
            self.move_in(user)

    def move_in(self, user: User) -> None:
        """Two answered chats, one of them with a summary and a title under way, an empty one, one that is
        being deleted, a run that waits, a day of usage, a ticket, an export, and an account."""
        desk = self.desk
        for number in range(2):
            send = replace(SEND, user=user, message_id=f"message-{user.user_id}-{number}")
            run = desk.submitted(send).run
            desk.stores.runs.put_checkpoints([Checkpoint(run.run_id, 1, 0, "Hi")], desk.clock())
            desk.complete(run.run_id)
            self.known_chat_ids[user.user_id].add(run.chat_id)
            desk.clock.advance(10)
        desk.stores.summaries.put(Summary(run.chat_id, "b_1", 1, 5, "## Facts", desk.clock()))
        ask_for_title(desk.stores, desk.lanes, run, desk.clock())
        for name in ("empty", "deleted"):
            chat = Chat(user.user_id, f"c_{name}_{user.user_id}", None, 1, 1)
            desk.stores.chats.create(chat)
            self.known_chat_ids[user.user_id].add(chat.chat_id)
        desk.stores.chats.mark_deleted(user.user_id, chat.chat_id, desk.clock())
        waiting = desk.submitted(replace(SEND, user=user, message_id="message-last")).run
        self.known_chat_ids[user.user_id].add(waiting.chat_id)
        desk.stores.tickets.put(
            Ticket(f"hash-{user.user_id}", user.user_id, user.tier, desk.clock() + 30_000)
        )
        self.files.put(user.user_id, "e_1", "part-00001.jsonl", b"{}\n")
        self.pool.profiles[user.user_id] = Profile(
            f"{user.user_id}@example.com", True, Tier.FREE, 1
        )


@pytest.fixture
def house() -> House:
    return House(Desk(), MemoryExportFiles(), MemoryUserPool())


def test_all_of_a_user_goes_and_nothing_of_another(house: House) -> None:
    bobs = house.what_names(BOB)
    assert len(bobs) > 10
    assert len(house.what_names(ALICE)) == len(bobs)
    house.purged()
    assert house.what_names(ALICE) == []
    assert house.what_names(BOB) == bobs
    assert {piece.run_id for piece in house.desk.database.checkpoints.values()} <= set(
        house.desk.database.runs
    )
    # What stays are ids of runs, which say that they are gone.
    assert all(run_id.startswith(("r_", "b_")) for run_id in house.desk.database.gone_run_ids)


def test_again_it_finds_nothing_and_makes_nothing(house: House) -> None:
    house.purged()
    house.purged()
    assert house.what_names(ALICE) == []


def test_a_title_that_nobody_has_made_yet_goes_too(house: House) -> None:
    titles = [run for run in house.desk.database.runs.values() if run.kind is Kind.TITLE]
    assert {run.user_id for run in titles} == {ALICE.user_id, BOB.user_id}
    house.purged()
    assert [run.user_id for run in house.desk.database.runs.values() if run.kind is Kind.TITLE] == [
        BOB.user_id
    ]
    (title,) = [run for run in titles if run.user_id == ALICE.user_id]
    assert title.run_id == background_id_for(Kind.TITLE, title.chat_id, title.message_seq)


class Crashing:
    """Counts the writes of all the ports that share `left`, and crashes after the last allowed."""

    def __init__(self, inner: Any, left: list[int]) -> None:
        self._inner = inner
        self._left = left

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if name in WRITES:
                self._left[0] -= 1
                if self._left[0] == 0:
                    raise StoreUnavailable(name)
            return result

        return call


def crashing(stores: Stores, left: list[int]) -> Stores:
    parts: dict[str, Any] = {
        name: Crashing(getattr(stores, name), left)
        for name in ("chats", "messages", "summaries", "runs", "ledgers", "usage", "tickets")
    }
    return replace(stores, **parts)


@pytest.mark.parametrize("after_writes", range(1, 40))
def test_a_crash_after_any_write_is_made_good_by_doing_it_again(
    house: House, after_writes: int
) -> None:
    bobs = house.what_names(BOB)
    left = [after_writes]
    files: Any = Crashing(house.files, left)
    pool: Any = Crashing(house.pool, left)
    crashes = 0
    while True:
        try:
            house.purged(crashing(house.desk.stores, left), files, pool)
            break
        except StoreUnavailable:
            crashes += 1
    # The last of them lie behind its end.
    assert crashes == (1 if left[0] <= 0 else 0)
    assert house.what_names(ALICE) == []
    assert house.what_names(BOB) == bobs


def test_the_crashes_reach_up_to_the_last_write(house: House) -> None:
    left = [1_000]
    files: Any = Crashing(house.files, left)
    pool: Any = Crashing(house.pool, left)
    house.purged(crashing(house.desk.stores, left), files, pool)
    assert 15 < 1_000 - left[0] < 40


def test_who_is_shut_out_cannot_sign_in_and_has_nothing_under_way(house: House) -> None:
    desk = house.desk
    shut(desk.stores, desk.inboxes, house.pool, ALICE.user_id, desk.clock())
    assert house.pool.locked_out == {ALICE.user_id}
    account = desk.stores.ledgers.get(ALICE.user_id)
    assert (account.is_closed, dict(account.active)) == (True, {})
    assert desk.stores.ledgers.get(BOB.user_id).active


def test_a_chat_whose_run_is_held_waits_behind_all_others(house: House) -> None:
    desk = house.desk
    (run,) = [
        run
        for run in desk.database.runs.values()
        if run.user_id == ALICE.user_id and run.status is Status.QUEUED and run.kind is Kind.ANSWER
    ]
    held = claimed(desk.stores, run, now_ms=desk.clock())
    desk.inboxes.open("inbox-worker-1")
    states = []
    for _ in range(4):
        step = remove_chats(desk.stores, desk.inboxes, ALICE.user_id, desk.clock())
        states.append(step.state)
    assert states[-1] is PurgeState.WAITING
    assert [chat_id for (owner, chat_id) in desk.database.chats if owner == ALICE.user_id] == [
        held.chat_id
    ]
    assert len(desk.inboxes.receive("inbox-worker-1", 0)) >= 1
    # The worker died: once its lease is over, the purge ends the run itself.
    desk.clock.advance(lease.LEASE_MS + lease.SKEW_MARGIN_MS + 1)
    house.purged()
    assert house.what_names(ALICE) == []


def test_many_chats_go_over_many_steps(house: House) -> None:
    for number in range(CHATS + 10):
        house.desk.stores.chats.create(Chat(ALICE.user_id, f"c_many_{number:04d}", None, 1, 1))
    house.purged()
    assert house.what_names(ALICE) == []


def test_many_files_and_tickets_go_over_many_steps(house: House) -> None:
    house.files.at_once = 2
    for number in range(9):
        house.files.put(ALICE.user_id, "e_2", f"part-{number:05d}.jsonl", b"{}\n")
    for number in range(TICKETS + 10):
        owner = (BOB if number % 2 else ALICE).user_id
        house.desk.stores.tickets.put(Ticket(f"t{number:06d}", owner, Tier.FREE, 1))
    bobs = house.what_names(BOB)
    house.purged()
    assert house.what_names(ALICE) == []
    assert house.what_names(BOB) == bobs


def test_until_it_is_forgotten_the_account_says_that_it_is_closed_and_no_more(
    house: House,
) -> None:
    desk = house.desk
    shut(desk.stores, desk.inboxes, house.pool, ALICE.user_id, desk.clock())
    closed_ms = desk.clock()
    while (
        remove_chats(desk.stores, desk.inboxes, ALICE.user_id, desk.clock()).state
        is not PurgeState.DONE
    ):
        desk.clock.advance(1_000)
    for _ in range(2):
        state = remove_rest(desk.stores, house.files, house.pool, ALICE.user_id, desk.clock())
        assert state is PurgeState.DONE
    account = desk.database.ledgers[ALICE.user_id]
    assert account == Ledger(ALICE.user_id, version=account.version, closed_ms=closed_ms)
    assert [named for named in house.what_names(ALICE) if not named.startswith("ticket")] == [
        f"ledger {ALICE.user_id}"
    ]


def test_an_account_that_lost_its_mark_or_got_a_chat_is_not_forgotten(house: House) -> None:
    desk = house.desk
    assert forget(desk.stores, house.files, ALICE.user_id, "").state is Forgotten.REOPENED
    house.purged()
    # As a worker of a former release writes the account: without the mark. Then somebody sends.
    desk.submitted(replace(SEND, message_id="message-late"))
    assert forget(desk.stores, house.files, ALICE.user_id, "").state is Forgotten.REOPENED
    house.purged()
    assert house.what_names(ALICE) == []


def test_the_mark_is_put_back_where_it_was_lost(house: House) -> None:
    desk = house.desk
    shut(desk.stores, desk.inboxes, house.pool, ALICE.user_id, desk.clock())
    account = desk.database.ledgers[ALICE.user_id]
    desk.database.ledgers[ALICE.user_id] = replace(account, closed_ms=0)
    remove_chats(desk.stores, desk.inboxes, ALICE.user_id, desk.clock())
    assert desk.database.ledgers[ALICE.user_id].is_closed
