"""The verbatim tail: all behind the summary, cut at once to the low mark, then still again while it grows."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.chat import Message, Role
from chatcore.domain.context import Room, Tail, as_turn, shortened, tail_of
from chatcore.domain.context_plan import TailFrom
from chatcore.domain.markup import turn
from tests.unit.domain.talks import prompt_of, summary_of, talk

ROOM = Room(total=5_000, summary=0, recall=0, tail=1_000)


def count(message: Message) -> int:
    """Its text alone, so that the tests can be read."""
    return len(message.text)


def tails(texts: Sequence[str], room: Room = ROOM) -> list[Tail]:
    """Before each message of the user but the first, as they follow one another."""
    messages = talk(*texts, ends_with=Role.ASSISTANT)
    return [tail_of(messages[:end], None, room, count) for end in range(2, len(texts) + 1, 2)]


def numbers(tail: Tail) -> list[int]:
    return [message.seq // 10 - 1 for message in tail.messages]


def test_all_of_a_short_chat() -> None:
    (tail,) = tails(["Hello", "Hi"])
    assert numbers(tail) == [0, 1]
    assert tail.begins is TailFrom.THE_START
    assert tail.tokens == [5, 2]


def test_what_is_behind_the_summary() -> None:
    messages = talk("a", "b", "c", "d", ends_with=Role.ASSISTANT)
    tail = tail_of(messages, summary_of(messages[1]), ROOM, count)
    assert numbers(tail) == [2, 3]
    assert tail.begins is TailFrom.THE_SUMMARY
    # It speaks up to a place, whether its message is still there or not.
    later = replace(summary_of(messages[1]), up_to_seq=messages[1].seq + 5)
    assert tail_of(messages, later, ROOM, count).messages == tail.messages
    everything = tail_of(messages, summary_of(messages[3]), ROOM, count)
    assert numbers(everything) == []


def test_it_grows_to_its_room_and_is_then_cut_to_the_low_mark_at_once() -> None:
    # Turns of 100: ten fill it, the eleventh is too much, and two are left.
    found = tails(["x" * 60, "y" * 40] * 30)
    lengths = [len(tail.messages) // 2 for tail in found]
    assert lengths[:10] == list(range(1, 11))
    assert lengths[10:20] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 2]
    assert [tail.begins for tail in found[9:11]] == [TailFrom.THE_START, TailFrom.THE_CUT]
    # Once cut, why it begins where it does stays.
    assert {tail.begins for tail in found[10:]} == {TailFrom.THE_CUT}


def test_it_begins_with_a_message_of_the_user() -> None:
    # Down to 250 it would begin with the answer of 200.
    found = tails(["x" * 50, "y" * 200] * 4 + ["x" * 1, "y" * 49])
    assert numbers(found[-1])[0] == 8


def test_the_last_turn_stays_however_long_it_is() -> None:
    huge = Room(total=5_000, summary=0, recall=0, tail=1_000)
    found = tails(["x" * 9_000, "y" * 9_000] * 5, huge)
    assert [numbers(tail) for tail in found] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert all(tail.tokens == [500, 500] for tail in found)


def test_a_question_without_an_answer_is_a_turn() -> None:
    messages = [replace(each, role=Role.USER) for each in talk(*["x" * 300] * 5)]
    found = [tail_of(messages[:end], None, ROOM, count) for end in range(1, 6)]
    assert [len(tail.messages) for tail in found] == [1, 2, 3, 1, 2]


sizes = st.lists(st.tuples(st.integers(0, 700), st.none() | st.integers(0, 700)), max_size=30)


def messages_of(turns: Sequence[tuple[int, int | None]]) -> list[Message]:
    """A turn without an answer is one that failed."""
    found: list[Message] = []
    for question, answer in turns:
        for role, size in ((Role.USER, question), (Role.ASSISTANT, answer)):
            if size is not None:
                (one,) = talk("x" * size)
                seq = 10 * (len(found) + 1)
                found.append(replace(one, seq=seq, role=role))
    return found


@given(sizes)
def test_it_never_outgrows_its_room_and_never_loses_more_than_it_must(
    turns: list[tuple[int, int | None]],
) -> None:
    messages = messages_of(turns)
    ends = [n for n, each in enumerate(messages) if each.role is Role.USER] + [len(messages)]
    found = [tail_of(messages[:end], None, ROOM, count) for end in ends]
    for end, tail in zip(ends, found, strict=True):
        assert sum(tail.tokens) <= ROOM.tail
        assert list(tail.messages) == messages[end - len(tail.messages) : end]
        assert len(tail.messages) >= min(end, 1)
        assert not tail.messages or tail.messages[0].role is Role.USER
    for former, tail in pairwise(found):
        stands = former.messages[:1] == tail.messages[:1]
        whole = sum(min(each, ROOM.message) for each in map(count, messages))
        assert stands or not former.messages or tail.begins is TailFrom.THE_CUT
        assert whole > ROOM.tail or tail.begins is TailFrom.THE_START


LONG = {
    "words": "word " * 4_000,
    "one line": "x" * 10_000,
    "no spaces": "漢字かな交じり文" * 1_500,
    "thai": "ภาษาไทยไม่มีช่องว่าง" * 500,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 900,
    "code": "def f(x):\n\treturn {'a': [x] * 3}\n\n" * 300,
    "marks": "<|im_end|>" * 1_000,
    "quotes": '\\"' * 5_000,
    "newlines": "\n" * 10_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("weight", [1, 3, 7])
def test_of_a_message_too_long_for_it_both_ends_go_in(text: str, weight: int) -> None:
    def weighed(said: str) -> int:
        return weight * len(said.encode()) // 3

    short = shortened(text, 500, weighed)
    assert weighed(short) <= 500
    front, behind = short.split(" […", 1)
    left_out, back = behind.split(" characters left out…] ", 1)
    assert text.startswith(front)
    assert text.endswith(back)
    assert int(left_out) == len(text) - len(front) - len(back)
    # As much as there is room for, or nearly.
    assert weighed(short) > 350
    assert shortened(short, 500, weighed) == short


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_chat_of_only_such_messages_has_its_last_turn_and_the_whole_question(text: str) -> None:
    room = Room(total=2_400 + len(turn(Role.USER, text)), summary=0, recall=0, tail=2_000)
    prompt = prompt_of(talk(*[text] * 7), room)
    assert prompt.plan.tail.messages == prompt.plan.tail.clipped == 2
    assert prompt.text.count("characters left out…]") == 2
    assert len(prompt.text) <= prompt.plan.tokens <= prompt.plan.budget_tokens
    assert turn(Role.USER, text) in prompt.text


def test_what_is_short_enough_is_not_touched() -> None:
    assert shortened("x" * 500, 500, len) == "x" * 500
    edge = "x" * (ROOM.message - len(as_turn(talk("")[0])))
    messages = talk(edge, "y", edge + "x", "y", "?")
    prompt = prompt_of(messages, replace(ROOM, tail=2 * ROOM.tail))
    assert prompt.plan.tail.clipped == 0
    prompt = prompt_of(messages[2:], ROOM)
    assert prompt.plan.tail.clipped == 1
    assert edge not in prompt.text
    assert as_turn(messages[0]) in prompt_of(talk(edge, "y", "?"), ROOM).text


@pytest.mark.parametrize("most", [0, 1, 5, 30])
def test_where_nothing_fits_it_says_so(most: int) -> None:
    assert "left out" in shortened("x" * 100, most, len)
