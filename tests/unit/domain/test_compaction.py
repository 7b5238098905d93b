"""Compaction: which messages leave the tail, so that nothing is lost and the engine can read them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.chat import Message, Role
from chatcore.domain.compaction import leaving
from chatcore.domain.context import Room, as_turn, room_for
from chatcore.domain.excerpts import quotation
from chatcore.domain.ledger import prompt_tokens
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import DEFAULTS, USER_TIERS, Tier, TierLimits
from tests.unit.domain.talks import summary_of, talk

BACKGROUND = DEFAULTS[Tier.BACKGROUND]
ROOM = Room(total=4_000, summary=200, recall=0, tail=1_600)
"""Past 1,400 tokens, down to 400."""


def count(message: Message) -> int:
    """A token a character of its text, so that the tests can be read."""
    return len(message.text)


def words(text: str) -> int:
    """A counter by which a quotation takes about ten more than its text."""
    return text.count(" ") + 1


def left(
    messages: Sequence[Message],
    summary: Summary | None = None,
    room: Room = ROOM,
    background: TierLimits = BACKGROUND,
) -> Sequence[Message]:
    return leaving(messages, summary, room, background, count, words)


def answered(*texts: str) -> list[Message]:
    return talk(*texts, ends_with=Role.ASSISTANT)


def test_nothing_leaves_before_the_high_mark_is_passed() -> None:
    assert left([]) == ()
    assert left(answered(*["x" * 100] * 14)) == ()
    assert left(answered(*["x" * 100] * 13, "x" * 101)) != ()


def test_from_the_first_on_down_to_the_low_mark() -> None:
    messages = answered(*["x" * 100] * 16)
    assert left(messages) == messages[:12]
    # 1,420 and 60 more: what goes beyond the mark is a turn, not a part of one.
    messages = answered(*["x" * 95, "y" * 90] * 8)
    assert left(messages) == messages[:12]


def test_what_the_summary_speaks_for_does_not_leave_again() -> None:
    messages = answered(*["x" * 100] * 32)
    summary = summary_of(messages[15])
    assert left(messages, summary) == messages[16:28]
    assert left(messages[:28], summary) == ()
    # Also if it is not there any more.
    assert left(messages[16:], summary) == messages[16:28]


def test_what_was_cut_from_the_tail_leaves_too() -> None:
    messages = answered(*["x" * 100] * 60)
    assert left(messages) == messages[:56]


def test_the_last_turn_stays_however_long_it_is() -> None:
    messages = answered("x" * 900, "y" * 900, "x" * 900, "y" * 900)
    assert not left(messages[:2])
    assert left(messages) == messages[:2]
    assert left([*messages, *answered("z" * 9_000)]) == messages[:2]


def test_they_end_before_a_message_of_the_user() -> None:
    messages = answered(*["x" * 10, "y" * 290] * 6)
    going = left(messages)
    assert going == messages[: len(going)]
    assert messages[len(going)].role is Role.USER


def test_a_question_without_an_answer_is_a_turn() -> None:
    messages = [replace(each, role=Role.USER) for each in talk(*["x" * 300] * 6)]
    assert left(messages) == messages[:5]


def test_they_are_no_more_than_the_engine_reads_at_once() -> None:
    messages = answered(*["x " * 50] * 100)
    narrow = replace(BACKGROUND, context_tokens=1_400, max_output_tokens=200)
    going = left(messages, background=narrow)
    assert going == messages[: len(going)]
    # 800 beside what is asked; 50 words each, and the marks of a quotation.
    assert 12 <= len(going) <= 16
    assert messages[len(going)].role is Role.USER
    # What the engine has to read besides takes of it.
    summary = summary_of(answered("x")[0], "word " * 300)
    assert len(left(messages, replace(summary, up_to_seq=0), background=narrow)) < len(going)


def test_an_engine_that_cannot_read_a_single_turn_is_asked_for_nothing() -> None:
    messages = answered(*["x " * 500] * 10)
    narrow = replace(BACKGROUND, context_tokens=700, max_output_tokens=200)
    assert not left(messages, background=narrow)


def test_many_short_messages_are_counted_as_quotations() -> None:
    room = room_for(DEFAULTS[Tier.PRO])
    messages = answered(*["ok"] * 6_000)
    going = leaving(messages, None, room, BACKGROUND, lambda each: 6, words)
    # As turns it would be twice as many.
    quoted = words(quotation(messages[0]))
    assert len(going) == pytest.approx((prompt_tokens(BACKGROUND) - 400) / quoted, rel=0.02)


sizes = st.lists(st.tuples(st.integers(0, 1_200), st.none() | st.integers(0, 1_200)), max_size=40)


def messages_of(turns: Sequence[tuple[int, int | None]]) -> list[Message]:
    roles = [
        (role, size)
        for question, answer in turns
        for role, size in ((Role.USER, question), (Role.ASSISTANT, answer))
        if size is not None
    ]
    texts = answered(*("x" * size for _, size in roles))
    return [replace(each, role=role) for each, (role, _) in zip(texts, roles, strict=True)]


@given(sizes, st.integers(0, 3))
def test_nothing_is_lost_and_in_the_end_all_but_the_low_mark_is_spoken_for(
    turns: list[tuple[int, int | None]], late: int
) -> None:
    """Asked for after each turn; the summary comes some turns later, or a try is lost."""
    messages = messages_of(turns)
    ends = [n for n, each in enumerate(messages) if each.role is Role.USER and n] + [len(messages)]
    summary: Summary | None = None
    covered: list[Message] = []
    for number, end in enumerate(ends):
        known = messages[:end]
        going = left(known, summary)
        if not going or number % (late + 1):
            continue
        assert going == messages[len(covered) : len(covered) + len(going)]
        assert messages[len(covered) + len(going)].role is Role.USER
        covered += going
        summary = summary_of(going[-1])
    while going := left(messages, summary):
        covered += going
        summary = summary_of(going[-1])
    assert covered == messages[: len(covered)]
    behind = messages[len(covered) :]
    last_turn = max((n for n, each in enumerate(behind) if each.role is Role.USER), default=0)
    tokens = [min(count(each), ROOM.message) for each in behind]
    assert sum(tokens) <= max(ROOM.high, sum(tokens[last_turn:]))


@pytest.mark.parametrize("tier", USER_TIERS)
def test_a_tier_is_compacted_once_in_many_turns(tier: Tier) -> None:
    room = room_for(DEFAULTS[tier])
    messages = answered(*["x" * 40, "y" * 120] * 400)
    covered, asked_at = 0, []
    for end in range(2, 802, 2):
        summary = summary_of(messages[covered - 1]) if covered else None
        going = leaving(
            messages[:end], summary, room, BACKGROUND, lambda each: len(as_turn(each)) // 4, words
        )
        if going:
            covered += len(going)
            asked_at.append(end)
    assert len(asked_at) > 1
    assert min(later - sooner for sooner, later in pairwise(asked_at)) >= 2 * (
        (room.high - room.low) // 61
    )
