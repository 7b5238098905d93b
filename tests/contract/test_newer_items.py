"""What a later release has written beside ours: left where it is, read as well as can be, or not touched."""

from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest

from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import TableNames, open_tables
from chatcore.adapters.dynamo.versions import VERSION, TooNew
from chatcore.domain.beat import Beat
from chatcore.domain.chat import Chat, Message, Role
from chatcore.domain.errors import Code, Retryable
from chatcore.domain.run import Ending, Event, FinishReason, Run, Status, Usage
from chatcore.domain.tiers import Tier
from chatcore.ports import Stores
from tests.contract.conftest import make_tables
from tests.contract.sends import ALICE, NOW_MS, admitted, claimed, send_of

LATER = {"mood": "cheerful", "parts": ["text", "picture"]}


@dataclass
class Shelf:
    """The stores, and their tables as anybody may write to them."""

    names: TableNames
    stores: Stores

    def item(self, table: str, **key: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._table(table).get_item(Key=key)["Item"]
        return found

    def change(self, table: str, key: dict[str, Any], **attributes: Any) -> None:
        item = {**self.item(table, **key), **attributes}
        self._table(table).put_item(Item=item)

    def _table(self, name: str) -> Any:
        return boto3.resource("dynamodb").Table(getattr(self.names, name))


@pytest.fixture(params=["moto", "ministack"])
def shelf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    for key, value in request.getfixturevalue(f"{request.param}_environment").items():
        monkeypatch.setenv(key, value)
    names = make_tables()
    return Shelf(names, dynamo_stores(open_tables(names)))


def ended(shelf: Shelf, run: Run) -> None:
    ending = Ending(
        Event.COMPLETE, NOW_MS, "Hi there", Usage(10, 4, 5), FinishReason.STOP, context_tokens=15
    )
    assert shelf.stores.runs.end(run, ending)


def test_what_is_not_known_here_stays_through_a_run_from_its_send_to_its_end(shelf: Shelf) -> None:
    first = claimed(shelf.stores, admitted(shelf.stores, send_of()))
    run_key, user = {"run_id": first.run_id}, {"user_id": ALICE.user_id}
    chat_key = {**user, "chat_id": first.chat_id}
    for table, key in (("runs", run_key), ("ledgers", user), ("chats", chat_key)):
        shelf.change(table, key, **LATER)
    assert shelf.stores.runs.renew(first.run_id, first.epoch, NOW_MS + 60_000)
    ended(shelf, first)
    second = admitted(shelf.stores, send_of("message-0002", chat_id=first.chat_id))
    shelf.stores.ledgers.put(
        replace(ledger := shelf.stores.ledgers.get(ALICE.user_id), version=ledger.version + 1),
        ledger.version,
    )
    for table, key in (("runs", run_key), ("ledgers", user), ("chats", chat_key)):
        assert shelf.item(table, **key).items() >= LATER.items(), table
    assert shelf.item("chats", **chat_key)["active_run_id"] == second.run_id


def test_an_end_takes_away_what_it_takes_away(shelf: Shelf) -> None:
    """Writing beside what is there must not leave behind what is not so any more."""
    run = claimed(shelf.stores, admitted(shelf.stores, send_of()))
    shelf.change("runs", {"run_id": run.run_id}, failure="engine_error")
    ended(shelf, run)
    stored = shelf.stores.runs.get(run.run_id)
    assert stored is not None
    assert (stored.status, stored.failure, stored.length) == (Status.COMPLETED, None, 8)
    assert "failure" not in shelf.item("runs", run_id=run.run_id)


def test_words_that_decide_nothing_are_read_as_the_nearest(shelf: Shelf) -> None:
    run = claimed(shelf.stores, admitted(shelf.stores, send_of()))
    ended(shelf, run)
    shelf.change(
        "runs",
        {"run_id": run.run_id},
        finish_reason="filtered",
        failure="engine_tired",
        context='{"made_of": "other parts"}',
    )
    stored = shelf.stores.runs.get(run.run_id)
    assert stored is not None
    assert (stored.finish_reason, stored.failure, stored.context) == (
        FinishReason.STOP,
        Code.INTERNAL_ERROR,
        None,
    )
    answer, *_ = shelf.stores.messages.newest(run.chat_id, 1, None).items
    shelf.change("messages", {"chat_id": run.chat_id, "seq": answer.seq}, finish_reason="filtered")
    messages: list[Message] = list(shelf.stores.messages.newest(run.chat_id, 10, None).items)
    assert {each.role: each.finish_reason for each in messages} == {
        Role.USER: None,
        Role.ASSISTANT: FinishReason.STOP,
    }


@pytest.mark.parametrize(
    "newer",
    [{"v": VERSION + 1}, {"status": "resting"}, {"kind": "picture"}, {"tier": "team"}],
    ids=str,
)
def test_a_run_that_would_be_misread_is_not_touched(shelf: Shelf, newer: dict[str, Any]) -> None:
    run = admitted(shelf.stores, send_of())
    key = {"run_id": run.run_id}
    shelf.change("runs", key, **newer)
    before = shelf.item("runs", **key)
    with pytest.raises(TooNew):
        shelf.stores.runs.get(run.run_id)
    if "v" in newer or "status" in newer:
        with pytest.raises(TooNew):
            shelf.stores.runs.claim(run.run_id, "worker-1", "inbox-1", NOW_MS)
        assert shelf.item("runs", **key) == before


@pytest.mark.parametrize("table", ["chats", "ledgers"])
def test_a_send_into_what_would_be_misread_is_busy_and_changes_nothing(
    shelf: Shelf, table: str
) -> None:
    run = claimed(shelf.stores, admitted(shelf.stores, send_of()))
    ended(shelf, run)
    key = {"user_id": ALICE.user_id}
    if table == "chats":
        key["chat_id"] = run.chat_id
    shelf.change(table, key, v=VERSION + 1)
    before = shelf.item(table, **key)
    with pytest.raises(Retryable):
        admitted(shelf.stores, send_of("message-0002", chat_id=run.chat_id))
    assert shelf.item(table, **key) == before


def test_nothing_is_of_a_version_yet(shelf: Shelf) -> None:
    """An attribute that every item had would be paid for in each of them."""
    run = admitted(shelf.stores, send_of())
    assert "v" not in shelf.item("runs", run_id=run.run_id)
    assert "v" not in shelf.item("ledgers", user_id=ALICE.user_id)


def test_a_tier_that_only_newer_workers_serve_is_passed_over_in_their_beats(shelf: Shelf) -> None:
    shelf.stores.beats.put(
        Beat(
            worker_id="worker-1",
            inbox="inbox-1",
            beat_ms=NOW_MS,
            slots=4,
            free_slots=1,
            offers=0,
            starts_per_s={Tier.FREE: 0.5},
            slot_s={Tier.FREE: 8.0},
        )
    )
    key = {"worker_id": "worker-1"}
    written = shelf.item("workers", **key)
    shelf.change("workers", key, slot_s={**written["slot_s"], "team": written["slot_s"]["free"]})
    beat = shelf.stores.beats.get("worker-1")
    assert beat is not None
    assert (beat.slot_s, beat.starts_per_s) == ({Tier.FREE: 8.0}, {Tier.FREE: 0.5})


def test_chats_of_the_first_release_keep_their_place_in_the_list(shelf: Shelf) -> None:
    """Which had the moment where there is now the hour's beginning, and moves nothing but that."""
    begin_ms = NOW_MS // 3_600_000 * 3_600_000
    moments_ms = {"c_old": begin_ms + 2, "c_moved": begin_ms + 1, "c_new": begin_ms + 3}
    for chat_id, moment_ms in moments_ms.items():
        shelf.stores.chats.create(Chat(ALICE.user_id, chat_id, None, NOW_MS, moment_ms))
    old = {"user_id": ALICE.user_id, "chat_id": "c_old"}
    shelf.change("chats", old, last_active_ms=moments_ms["c_old"], active_ms=0)
    moved = {"user_id": ALICE.user_id, "chat_id": "c_moved"}
    shelf.change("chats", moved, last_active_ms=begin_ms + 9)
    listed, after = list[str](), None
    while True:
        page = shelf.stores.chats.newest(ALICE.user_id, 1, after)
        listed += [chat.chat_id for chat in page.items]
        after = page.next_key
        if after is None:
            break
    assert listed == ["c_moved", "c_new", "c_old"]
