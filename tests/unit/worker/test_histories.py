"""Chats in a worker's memory: only as they really are, and no more of them than there is room for."""

import gc
import sys
from types import ModuleType

import pytest

from chatcore.domain.chat import Message, Role
from chatcore.domain.context import as_turn
from chatcore.domain.excerpts import Recalled
from chatcore.domain.run import FinishReason, Usage
from chatcore.domain.summary import Summary
from gpu_service.worker.histories import OVERHEAD_BYTES, Histories, Known, size_bytes

SUMMARY = Summary("c_1", "b_1", 1, 20, "## Facts\nNone.", 5)


def message(text: str = "", seq: int = 1) -> Message:
    return Message("c_1", seq, "m_1", Role.USER, text, "r_1", 1_800_000_000_000)


def known(chars: int, *more: Message) -> Known:
    return Known.of([message("x" * chars), *more], None)


ROOM = known(100).all_bytes()


def test_a_chat_is_known_up_to_its_last_place_and_to_no_other() -> None:
    histories = Histories()
    chat = Known.of([message("Hello", 5), message("Hi", 6)], SUMMARY)
    histories.put("c_1", 6, chat)
    assert histories.get("c_1", 6) is chat
    # Another worker has answered since; or its chat was asked of by a job from before.
    assert histories.get("c_1", 8) is None
    assert histories.get("c_1", 4) is None
    assert histories.get("c_2", 6) is None


def test_a_newer_state_takes_the_place_and_the_room_of_the_former() -> None:
    histories = Histories()
    histories.put("c_1", 6, known(1_000))
    newer = known(10)
    histories.put("c_1", 8, newer)
    assert histories.get("c_1", 6) is None
    assert histories.get("c_1", 8) is newer
    assert histories.used_bytes == newer.all_bytes()


def test_the_same_chat_that_grew_is_counted_as_it_is_now() -> None:
    histories = Histories()
    chat = known(10)
    histories.put("c_1", 6, chat)
    chat.extend([message("y" * 5_000, 7)])
    histories.put("c_1", 8, chat)
    assert histories.used_bytes == chat.all_bytes() > 5_000


def test_what_was_not_asked_for_longest_goes_first() -> None:
    histories = Histories(max_bytes=3 * ROOM)
    for name in ("c_1", "c_2", "c_3"):
        histories.put(name, 1, known(100))
    assert histories.get("c_1", 1) is not None
    histories.put("c_4", 1, known(100))
    kept = [name for name in ("c_1", "c_2", "c_3", "c_4") if histories.get(name, 1)]
    assert kept == ["c_1", "c_3", "c_4"]
    assert histories.used_bytes == histories.max_bytes


def test_asking_for_another_state_keeps_nothing_longer() -> None:
    histories = Histories(max_bytes=2 * ROOM)
    for name in ("c_1", "c_2"):
        histories.put(name, 1, known(100))
    histories.get("c_1", 2)
    histories.put("c_3", 1, known(100))
    assert histories.get("c_1", 1) is None


def test_it_is_bytes_that_count_and_not_chats() -> None:
    histories = Histories(max_bytes=10 * ROOM)
    for number in range(5):
        histories.put(f"c_{number}", 1, known(100))
    histories.put("c_big", 1, known(100 + 9 * ROOM))
    assert histories.get("c_big", 1) is not None
    assert [number for number in range(5) if histories.get(f"c_{number}", 1)] == []


def test_one_that_is_too_big_for_all_the_room_is_not_kept_and_pushes_out_nobody() -> None:
    histories = Histories(max_bytes=2 * ROOM)
    histories.put("c_1", 1, known(100))
    histories.put("c_big", 1, known(100))
    histories.put("c_big", 3, known(100 + 2 * ROOM))
    assert histories.get("c_big", 3) is None
    # Nor is what it was before.
    assert histories.get("c_big", 1) is None
    assert histories.get("c_1", 1) is not None
    assert histories.used_bytes == ROOM


def test_it_never_holds_more_than_it_may() -> None:
    histories = Histories(max_bytes=20 * ROOM)
    for number in range(300):
        histories.put(f"c_{number % 40}", number, known(number * 37 % 9_000))
        assert histories.used_bytes <= histories.max_bytes
    assert histories.used_bytes > histories.max_bytes / 2


def test_each_message_is_counted_once() -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return len(text)

    chat = Known.of([message("Hello", 5), message("Hi", 6)], None)
    for _ in range(2):
        count_turn = chat.count_turn(count)
        assert [count_turn(each) for each in chat.messages] == [
            len(as_turn(each)) for each in chat.messages
        ]
    assert counted == [as_turn(each) for each in chat.messages]


def test_another_summary_may_be_asked_to_be_replaced_at_once() -> None:
    chat = Known.of([message()], None)
    assert chat.summary_id == ""
    chat.asked_ms = 5
    chat.adopt(SUMMARY)
    assert (chat.summary, chat.summary_id, chat.asked_ms) == (SUMMARY, "b_1", 0)


def test_a_history_ends_with_the_newest_and_leaves_the_chat_as_it_is() -> None:
    chat = Known.of([message("Hello", 5)], SUMMARY)
    history = chat.history(message("Hi", 7))
    assert [each.seq for each in history.messages] == [5, 7]
    assert history.summary == SUMMARY
    assert len(chat.messages) == 1


def test_recall_knows_what_came_since_it_was_last_asked() -> None:
    chat = Known.of([message("My sister lives in Lisbon", 5), message("I see", 6)], None)
    recall = chat.recall(1_800_000_000_000)
    assert recall("Where does my sister live?", 5) == Recalled()
    chat.extend([message("The parrot is called Coco", 7), message("Nice", 8)])
    (found, *_) = recall("What is the parrot called?", 9).messages
    assert found.seq == 7
    assert chat.messages[2] is found


@pytest.mark.parametrize(
    "text",
    ["", "plain", "a" * 5_000, "é" * 5_000, "a" * 4_999 + "字", "字" * 5_000, "a" * 4_999 + "😀"],
    ids=["empty", "ascii", "long ascii", "latin", "one of BMP", "BMP", "one emoji"],
)
def test_its_size_is_what_the_interpreter_takes(text: str) -> None:
    # A text made at run time, as those that are read are: constants may share their memory.
    made = message("".join(list(text)))
    beside = (made, made.message_id, made.run_id, made.chat_id, made.seq, made.created_ms)
    true_bytes = sys.getsizeof(made.text) + sum(map(sys.getsizeof, beside))
    assert true_bytes <= size_bytes(made) <= true_bytes + OVERHEAD_BYTES


def test_what_stands_beside_the_text_of_an_answer_fits_what_is_counted_for_it() -> None:
    answer = stored("", 1)
    usage = answer.usage
    assert usage is not None
    beside = (
        answer,
        answer.chat_id,
        answer.seq,
        answer.message_id,
        answer.run_id,
        answer.created_ms,
        usage,
        usage.input_tokens,
        usage.cached_tokens,
        usage.output_tokens,
    )
    assert sys.getsizeof("") + sum(map(sys.getsizeof, beside)) <= OVERHEAD_BYTES


def stored(text: str, number: int) -> Message:
    """As it is read: nothing of it shares memory with another."""
    return Message(
        chat_id=f"c_{number:026d}",
        seq=1_800_000_000_001 + number,
        message_id=f"m_{number:026d}",
        role=Role.ASSISTANT,
        text=text,
        run_id=f"r_{number:026d}",
        created_ms=1_800_000_000_000 + number,
        finish_reason=FinishReason.STOP,
        usage=Usage(2_000 + number, 1_000 + number, 3_000 + number),
    )


def true_bytes(chat: Known) -> int:
    """All that hangs on it, but what the interpreter has anyway."""
    seen: set[int] = set()
    left: list[object] = [chat]
    total = 0
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, type | ModuleType) or callable(each):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        left += gc.get_referents(each)
    return total


@pytest.mark.parametrize(("messages", "words"), [(1, 1), (10, 20), (300, 3), (300, 60), (40, 900)])
@pytest.mark.parametrize("letter", ["a", "字", "😀"])
def test_a_chats_size_is_honest(messages: int, words: int, letter: str) -> None:
    texts = (" ".join(f"{letter}{n * m % 977}" for m in range(words)) for n in range(messages))
    chat = Known.of([stored(text, number) for number, text in enumerate(texts)], None)
    chat.adopt(Summary("c_1", "b_1", 1, 5, letter * 4_000, 5))
    count_turn = chat.count_turn(len)
    for each in chat.messages:
        count_turn(each)
    chat.recall(1_800_000_000_000)("What about 500?", chat.messages[-1].seq)
    held = true_bytes(chat)
    assert held <= chat.all_bytes() <= 3 * held + 4_000
