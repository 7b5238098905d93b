"""History: what a chat's next prompt is built from, up to its message and no further."""

from collections.abc import Iterator

import pytest

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.stores import memory_stores
from chatcore.domain.chat import Message, Role
from chatcore.domain.summary import Summary
from chatcore.ports import Stores
from chatcore.services import history
from chatcore.services.history import read_history

SUMMARY = Summary("c_1", "b_1", 1, 20, "## Facts\nNone.", 5)


def messages(chat_id: str, *seqs: int) -> Iterator[Message]:
    for seq in seqs:
        yield Message(chat_id, seq, f"m_{seq}", Role.USER, f"Text {seq}", f"r_{seq}", seq)


@pytest.fixture
def stores() -> Stores:
    database = MemoryDatabase()
    for message in (*messages("c_1", 10, 20, 30, 40), *messages("c_2", 15, 25)):
        database.messages[message.chat_id, message.seq] = message
    database.summaries["c_1", "b_1"] = SUMMARY
    return memory_stores(database)


def test_in_reading_order_up_to_the_message_that_is_asked_for(stores: Stores) -> None:
    read = read_history(stores, "c_1", 30, "")
    assert [message.seq for message in read.messages] == [10, 20, 30]
    assert read.summary is None


def test_with_the_summary_that_is_asked_for_and_no_other(stores: Stores) -> None:
    assert read_history(stores, "c_1", 40, "b_1").summary == SUMMARY
    assert read_history(stores, "c_1", 40, "b_2").summary is None
    assert read_history(stores, "c_2", 40, "b_1").summary is None


def test_of_a_chat_that_is_gone_nothing(stores: Stores) -> None:
    assert read_history(stores, "c_3", 40, "b_1").messages == []


def test_of_a_very_long_chat_the_newest(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_MESSAGES", 2)
    read = read_history(stores, "c_1", 30, "b_1")
    assert [message.seq for message in read.messages] == [20, 30]
    assert read.summary == SUMMARY
