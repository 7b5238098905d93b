"""The thread: order of messages whatever the clocks say, and which text may be in one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.chat import (
    MAX_TITLE_CHARS,
    Role,
    answer_of,
    check_text,
    check_title,
    next_seq,
)
from chatcore.domain.errors import Code
from chatcore.domain.moment import rfc3339
from chatcore.domain.run import Ending, Event, FinishReason, Usage
from tests.unit.domain.test_run import RUN

moments_ms = st.integers(0, 2**42)


@given(moments_ms, moments_ms)
def test_a_message_comes_after_all_there_is_and_leaves_a_place_for_its_answer(
    last_seq: int, now_ms: int
) -> None:
    seq = next_seq(last_seq, now_ms)
    assert seq > last_seq
    assert seq >= now_ms
    # What admission keeps as the last place is the answer's.
    assert next_seq(seq + 1, 0) == seq + 2


def test_an_answer_stands_right_behind_its_question() -> None:
    ending = Ending(Event.COMPLETE, 9, "Hi", Usage(1, 0, 1), FinishReason.STOP)
    answer = answer_of(RUN, ending)
    assert answer is not None
    assert (answer.seq, answer.role, answer.text) == (RUN.message_seq + 1, Role.ASSISTANT, "Hi")
    assert answer.message_id == RUN.answer_message_id


@pytest.mark.parametrize(
    ("event", "text", "made"),
    [
        (Event.COMPLETE, "", True),
        (Event.COMPLETE, "x", True),
        (Event.CANCEL, "", False),
        (Event.CANCEL, "x", True),
        (Event.FAIL, "", False),
        (Event.FAIL, "x", True),
    ],
)
def test_which_ends_make_an_answer(event: Event, text: str, made: bool) -> None:
    ending = Ending(event, 9, text, Usage(), FinishReason.STOP)
    assert (answer_of(RUN, ending) is not None) == made


class TestText:
    @pytest.mark.parametrize(
        "text", ["a", "\n\ta\r\n", "😀" * 10, "a\u2028b\u200b\ufeff", "\ue000"]
    )
    def test_that_is_taken(self, text: str) -> None:
        assert check_text(text, 10) is None

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("", Code.TEXT_EMPTY),
            ("\u3000\n ", Code.TEXT_EMPTY),
            ("x" * 11, Code.TEXT_TOO_LONG),
            ("\x00" * 11, Code.TEXT_TOO_LONG),
            *((f"a{bad}", Code.TEXT_INVALID) for bad in "\x00\x08\x0b\x0c\x1b\x7f\x9f\ud800\udfff"),
        ],
    )
    def test_that_is_not(self, text: str, code: Code) -> None:
        refusal = check_text(text, 10, "message-0001")
        assert refusal is not None
        assert (refusal.code, refusal.ref) == (code, "message-0001")
        # What is said of it can be said: it holds nothing of the text.
        refusal.message.encode("utf-8")

    @given(st.text(max_size=12))
    def test_what_is_taken_survives_utf8(self, text: str) -> None:
        if check_text(text, 10) is None:
            assert text.encode("utf-8").decode("utf-8") == text

    def test_titles_have_their_own_limit(self) -> None:
        assert check_title("x" * MAX_TITLE_CHARS) is None
        too_long = check_title("x" * (MAX_TITLE_CHARS + 1))
        assert too_long is not None
        assert too_long.code is Code.TEXT_TOO_LONG


@pytest.mark.parametrize(
    ("moment_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_800_000_000_007, "2027-01-15T08:00:00.007Z"),
        (1_799_999_999_999, "2027-01-15T07:59:59.999Z"),
        (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
    ],
)
def test_moments_are_written_to_the_millisecond(moment_ms: int, text: str) -> None:
    assert rfc3339(moment_ms) == text


@given(st.integers(0, 4_102_444_800_000))
def test_moments_sort_as_text(moment_ms: int) -> None:
    assert rfc3339(moment_ms) < rfc3339(moment_ms + 1)


def test_a_run_replaced_keeps_its_answers_id() -> None:
    assert replace(RUN, epoch=9).answer_message_id == RUN.answer_message_id
