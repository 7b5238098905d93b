"""Owns the prompt: what goes in, in which order, within a token budget.

    system │ summary │ tail, verbatim          ║ excerpts │ newest message │ answer so far
    ───────┴─────────┴─────────────────────────╨──────────┴────────────────┴──────────────
    the next prompt begins with the whole of this           different each time

Left of the double line a prompt begins as the one before it: that is what an engine's prefix cache
holds. The tail only grows, message by message, until a summary replaces its older part. Where none comes
in time, the tail is cut down at once to the low mark and then grows again. Where it begins follows from
the messages and the summary alone, so any worker comes to the same, also on the way through a run.

The excerpts come last before the question for the same reason: they are chosen by the newest message.
Excerpts are lines of JSON and the summary is indented by a mark, so no text in them can end them.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from chatcore.domain.chat import Message, Role
from chatcore.domain.context_plan import (
    ContextPlan,
    CountTokens,
    SummaryPart,
    TailFrom,
    TailPart,
)
from chatcore.domain.excerpts import CountTurn, Recall, excerpts_of
from chatcore.domain.ledger import prompt_tokens
from chatcore.domain.markup import ASSISTANT, SYSTEM, USER, opening, turn
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import TierLimits

SYSTEM_PROMPT = (
    "You are a helpful assistant. Answer from the conversation where it holds the answer, and say so "
    "plainly where it does not."
)
SUMMARY_OPENING = (
    "Notes on the earlier part of this conversation, which is no longer shown in full:"
)
SYSTEM_TOKENS = 64
"""Kept for the system prompt, and for what a turn takes beside its text."""


@dataclass(frozen=True, slots=True)
class Room:
    """The most tokens of a prompt and of its parts. Past `high` the tail is to be compacted, down to
    `low`; it may grow to `tail` meanwhile. message: of one message in the tail."""

    total: int
    summary: int
    recall: int
    tail: int

    @property
    def high(self) -> int:
        return self.tail * 7 // 8

    @property
    def low(self) -> int:
        return self.tail // 4

    @property
    def message(self) -> int:
        return max(1, self.tail // 2)


@dataclass(frozen=True, slots=True)
class History:
    """messages: all that is known of the chat, in reading order, ending in the user's newest."""

    messages: Sequence[Message]
    summary: Summary | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str
    plan: ContextPlan


@dataclass(frozen=True, slots=True)
class Tail:
    """tokens: of each message, as it goes in."""

    begins: TailFrom
    messages: Sequence[Message]
    tokens: Sequence[int]


_Stable = tuple[int, Tail]
"""Tokens of the summary, 0 where it is not in, and the tail."""


def room_for(limits: TierLimits) -> Room:
    """A tier's prompt, shared out. A sixteenth stays for the newest message, which takes more where it has
    to."""
    total = prompt_tokens(limits)
    summary = min(1_024, total // 6)
    recall = min(1_024, total // 10)
    tail = total - SYSTEM_TOKENS - summary - recall - total // 16
    return Room(total, summary, recall, max(1, tail))


def build(
    history: History,
    continuation: str,
    room: Room,
    count_tokens: CountTokens,
    count_turn: CountTurn | None = None,
    recall: Recall | None = None,
    system: str = SYSTEM_PROMPT,
) -> Prompt:
    """The prompt for the answer to the last message of the history, which always goes in whole: where it
    leaves too little, excerpts give way first, then the tail's older messages, then the summary. Its
    plan has more tokens than its budget only where it does not fit alone.

    continuation: the part of the answer that is durable already; the engine goes on behind it. It takes
    of the room that an answer has, not of the prompt's: or what stands before it would have to change.
    """
    count_turn = count_turn or (lambda message: count_tokens(as_turn(message)))
    newest, older = history.messages[-1], history.messages[:-1]
    head_text, newest_text = turn(SYSTEM, system), turn(USER, newest.text)
    end_text = opening(ASSISTANT, continuation)
    head, asked, end = count_tokens(head_text), count_turn(newest), count_tokens(end_text)
    begun = count_tokens(opening(ASSISTANT))
    summary_text = _summary_turn(history.summary)
    full = count_tokens(summary_text) if summary_text else 0
    most = room.total - head - begun
    summary, tail = _stable(older, newest, history.summary, full, most, room, count_turn)
    if not summary:
        summary_text = ""
    left = most - asked - summary - sum(tail.tokens)
    former = _former(history, full, most, room, count_turn)
    first_seq = tail.messages[0].seq if tail.messages else newest.seq
    most = min(left, room.recall)
    excerpts = excerpts_of(history.messages, first_seq, most, recall, count_tokens, count_turn)
    turns = [_tail_turn(each, room, count_turn, count_tokens) for each in tail.messages]
    clipped_messages = sum(1 for each in tail.messages if count_turn(each) > room.message)
    stable = head + summary + sum(tail.tokens)
    plan = ContextPlan(
        budget_tokens=room.total + end - begun,
        tokens=stable + excerpts.tokens + asked + end,
        prefix_tokens=0 if former is None else head + _in_common((summary, tail), former),
        system_tokens=head,
        summary=(
            SummaryPart(history.summary.version, history.summary.up_to_seq, summary)
            if history.summary is not None and summary_text
            else None
        ),
        tail=TailPart(
            tail.begins,
            tail.messages[0].seq if tail.messages else 0,
            len(tail.messages),
            clipped_messages,
            sum(tail.tokens),
        ),
        recalled=excerpts.parts,
        recalled_tokens=excerpts.tokens,
        newest_tokens=asked,
        continuation_tokens=end,
        left_out=len(older) - len(tail.messages) - len(excerpts.parts),
    )
    return Prompt(
        "".join([head_text, summary_text, *turns, excerpts.text, newest_text, end_text]), plan
    )


def stable_text(
    messages: Sequence[Message],
    summary: Summary,
    room: Room,
    count_tokens: CountTokens,
    count_turn: CountTurn,
    system: str = SYSTEM_PROMPT,
) -> str:
    """What the chat's next prompt will begin with, once the summary is the chat's. messages: all so far."""
    tail = tail_of(messages, summary, room, count_turn)
    turns = (_tail_turn(each, room, count_turn, count_tokens) for each in tail.messages)
    return "".join([turn(SYSTEM, system), _summary_turn(summary), *turns])


def tail_of(
    messages: Sequence[Message], summary: Summary | None, room: Room, count_turn: CountTurn
) -> Tail:
    """The messages behind the summary that a prompt holds in full. messages: those before the newest. The
    last turn among them is never cut off, however long it is: it is what the newest most likely speaks of.
    """
    start = _first_after(messages, summary.up_to_seq) if summary is not None else 0
    begins = TailFrom.THE_SUMMARY if start else TailFrom.THE_START
    tokens = [min(count_turn(message), room.message) for message in messages[start:]]
    used = low = last_turn = 0
    for place, more in enumerate(tokens):
        used += more
        if messages[start + place].role is Role.USER:
            last_turn = place
        if used > room.tail:
            begins = TailFrom.THE_CUT
            while used > room.tail or (
                low < last_turn and (used > room.low or messages[start + low].role is not Role.USER)
            ):
                used -= tokens[low]
                low += 1
    return Tail(begins, messages[start + low :], tokens[low:])


def as_turn(message: Message) -> str:
    return turn(message.role, message.text)


def shortened(text: str, most_tokens: int, count_tokens: CountTokens) -> str:
    """The text if it has no more than so many tokens, else its beginning and its end, and how much is
    missing between. Depends on nothing else, so it is the same each time. count_tokens: of the text as it
    will stand, with whatever is around it."""
    tokens = count_tokens(text)
    if tokens <= most_tokens:
        return text
    kept = len(text) * most_tokens // tokens
    while True:
        front, back = text[: kept // 2], text[len(text) - kept // 2 :] if kept > 1 else ""
        missing = len(text) - len(front) - len(back)
        short = f"{front} […{missing} characters left out…] {back}"
        if kept <= 1 or count_tokens(short) <= most_tokens:
            return short
        kept = kept * 9 // 10


def _tail_turn(message: Message, room: Room, count_turn: CountTurn, count: CountTokens) -> str:
    if count_turn(message) <= room.message:
        return as_turn(message)
    text = shortened(message.text, room.message, lambda text: count(turn(message.role, text)))
    return turn(message.role, text)


def _within(tail: Tail, most_tokens: int) -> Tail:
    """What of the tail goes in beside a very long newest message."""
    used, first = sum(tail.tokens), 0
    while used > most_tokens and first < len(tail.tokens):
        used -= tail.tokens[first]
        first += 1
    if not first:
        return tail
    return Tail(TailFrom.THE_NEWEST, tail.messages[first:], tail.tokens[first:])


def _stable(
    older: Sequence[Message],
    newest: Message,
    summary: Summary | None,
    summary_tokens: int,
    most_tokens: int,
    room: Room,
    count_turn: CountTurn,
) -> _Stable:
    """What stands between the system prompt and the double line. summary_tokens: of its turn, 0 without
    one; most_tokens: with the newest."""
    left = most_tokens - count_turn(newest)
    used = summary_tokens if summary_tokens <= left else 0
    return used, _within(tail_of(older, summary, room, count_turn), left - used)


def _former(
    history: History, summary_tokens: int, most_tokens: int, room: Room, count_turn: CountTurn
) -> _Stable | None:
    """The same of the chat's last prompt, None for its first. Nothing where a summary came after that
    one's message: then only the prompt itself knew which it had."""
    older, summary = history.messages[:-1], history.summary
    last = next((n for n in reversed(range(len(older))) if older[n].role is Role.USER), None)
    if last is None:
        return None
    if summary is not None and summary.made_ms > older[last].created_ms:
        return 0, Tail(TailFrom.THE_START, (), ())
    return _stable(
        older[:last], older[last], summary, summary_tokens, most_tokens, room, count_turn
    )


def _in_common(now: _Stable, former: _Stable) -> int:
    """Tokens that both begin with: of the tail up to the end of the former one's, if they begin alike."""
    (summary, tail), (former_summary, former_tail) = now, former
    if summary != former_summary:
        return 0
    begins, began = tail.messages[:1], former_tail.messages[:1]
    return summary + (sum(former_tail.tokens) if began and begins == began else 0)


def _summary_turn(summary: Summary | None) -> str:
    if summary is None:
        return ""
    lines = (f"> {line}" for line in summary.text.splitlines())
    return turn(SYSTEM, "\n".join([SUMMARY_OPENING, *lines]))


def _first_after(messages: Sequence[Message], seq: int) -> int:
    """The index of the first message behind a place."""
    return bisect_right(messages, seq, key=lambda message: message.seq)
