"""Chats in a worker's memory: only as they really are, and no more of them than there is room for."""

import sys

import pytest

from chatcore.domain.chat import Message, Role
from chatcore.domain.run import FinishReason, Usage
from gpu_service.worker.histories import OVERHEAD_BYTES, Histories, size_bytes


def message(text: str = "", seq: int = 1) -> Message:
    return Message("c_1", seq, "m_1", Role.USER, text, "r_1", 1_800_000_000_000)


def test_a_chat_is_known_up_to_its_last_place_and_to_no_other() -> None:
    histories = Histories()
    known = [message("Hello", 5), message("Hi", 6)]
    histories.put("c_1", 6, known)
    assert histories.get("c_1", 6) == known
    # Another worker has answered since; or its chat was asked of by a job from before.
    assert histories.get("c_1", 8) is None
    assert histories.get("c_1", 4) is None
    assert histories.get("c_2", 6) is None


def test_a_newer_state_takes_the_place_and_the_room_of_the_former() -> None:
    histories = Histories()
    histories.put("c_1", 6, [message("x" * 1_000)])
    histories.put("c_1", 8, [message("x" * 10)])
    assert histories.get("c_1", 6) is None
    assert histories.get("c_1", 8) == [message("x" * 10)]
    assert histories.used_bytes == OVERHEAD_BYTES + 10


def test_what_was_not_asked_for_longest_goes_first() -> None:
    histories = Histories(max_bytes=3 * (OVERHEAD_BYTES + 100))
    for name in ("c_1", "c_2", "c_3"):
        histories.put(name, 1, [message("x" * 100)])
    assert histories.get("c_1", 1) is not None
    histories.put("c_4", 1, [message("x" * 100)])
    known = [name for name in ("c_1", "c_2", "c_3", "c_4") if histories.get(name, 1)]
    assert known == ["c_1", "c_3", "c_4"]
    assert histories.used_bytes == histories.max_bytes


def test_asking_for_another_state_keeps_nothing_longer() -> None:
    histories = Histories(max_bytes=2 * (OVERHEAD_BYTES + 100))
    for name in ("c_1", "c_2"):
        histories.put(name, 1, [message("x" * 100)])
    histories.get("c_1", 2)
    histories.put("c_3", 1, [message("x" * 100)])
    assert histories.get("c_1", 1) is None


def test_it_is_bytes_that_count_and_not_chats() -> None:
    histories = Histories(max_bytes=10 * (OVERHEAD_BYTES + 100))
    for number in range(5):
        histories.put(f"c_{number}", 1, [message("x" * 100)])
    histories.put("c_big", 1, [message("x" * (histories.max_bytes - 2 * OVERHEAD_BYTES))])
    assert histories.get("c_big", 1) is not None
    assert [number for number in range(5) if histories.get(f"c_{number}", 1)] == []


def test_one_that_is_too_big_for_all_the_room_is_not_kept() -> None:
    histories = Histories(max_bytes=1_000)
    histories.put("c_big", 1, [message("x" * 1_000)])
    assert histories.get("c_big", 1) is None
    assert histories.used_bytes == 0


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
    usage = Usage(2_000, 1_000, 3_000)
    answer = Message(
        chat_id="c_" + "a" * 26,
        seq=1_800_000_000_001,
        message_id="m_" + "a" * 26,
        role=Role.ASSISTANT,
        text="",
        run_id="r_" + "a" * 26,
        created_ms=1_800_000_000_000,
        finish_reason=FinishReason.STOP,
        usage=usage,
    )
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
