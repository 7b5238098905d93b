"""Owns the durable thread: chats, messages, and which text may be in a message."""

import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.run import Ending, Event, FinishReason, Run, Usage

MAX_TITLE_CHARS = 200

STALE_COMPACTION_MS = 2 * 3600 * 1000
"""After so long a compaction that was begun is taken for dead: twice what its state machine has."""

MAX_WATCHERS = 8
"""Each run of the chat is posted to all of them, whether they are still there or not."""

_ALLOWED_CONTROLS = frozenset("\n\r\t")


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Chat:
    """last_seq: the greatest place given to a message; context_tokens: prompt and answer of the
    last run as the engine counted them; worker_id: who made the last answer, and may have its prefix
    cached; deleted_ms: hidden since then, being purged; usage: of all its answers; summary_id: of the
    summary that speaks for its older messages, empty where there is none; compacting: the run that is
    making the next one, since compacting_ms, empty where none is; watchers: connections that have it
    open, as far as is known, and are viewers of each of its runs from the beginning."""

    user_id: str
    chat_id: str
    title: str | None
    created_ms: int
    last_active_ms: int
    last_seq: int = 0
    context_tokens: int = 0
    worker_id: str | None = None
    active_run_id: str | None = None
    deleted_ms: int | None = None
    usage: Usage = field(default_factory=Usage)
    summary_id: str = ""
    compacting: str = ""
    compacting_ms: int = 0
    watchers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Message:
    """seq: place in the chat (see `next_seq`)."""

    chat_id: str
    seq: int
    message_id: str
    role: Role
    text: str
    run_id: str
    created_ms: int
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


def with_watcher(watchers: frozenset[str], connection_id: str) -> frozenset[str]:
    """One more. Where there are too many, most of them are long gone: all begin anew with this one, and
    who is still there is found at his next send, or looks again."""
    more = watchers | {connection_id}
    return more if len(more) <= MAX_WATCHERS else frozenset({connection_id})


def next_seq(last_seq: int, now_ms: int) -> int:
    """The place of the next message: the clock, but never behind what is there already.

    Lambdas' clocks differ by some ms; a plain clock could put an answer before its question.
    The place after the returned one is kept for the answer.
    """
    return max(now_ms, last_seq + 1)


def answer_of(run: Run, ending: Ending) -> Message | None:
    """The message that the ending makes: always for a completed run, else only where there is text."""
    if ending.event is not Event.COMPLETE and not ending.text:
        return None
    return Message(
        chat_id=run.chat_id,
        seq=run.message_seq + 1,
        message_id=run.answer_message_id,
        role=Role.ASSISTANT,
        text=ending.text,
        run_id=run.run_id,
        created_ms=ending.ended_ms,
        finish_reason=ending.finish_reason,
        usage=ending.usage,
    )


def check_text(text: str, max_chars: int, ref: str | None = None) -> Refusal | None:
    """Why a message of this text is refused, or None. Text is kept as sent, never repaired."""
    if not text.strip():
        return Refusal(Code.TEXT_EMPTY, "The message is empty.", ref)
    if len(text) > max_chars:
        return Refusal(
            Code.TEXT_TOO_LONG,
            f"The message has {len(text)} characters; your plan allows {max_chars}.",
            ref,
        )
    return _check_characters(text, "message", ref)


def check_title(title: str) -> Refusal | None:
    if not title.strip():
        return Refusal(Code.TEXT_EMPTY, "The title is empty.")
    if len(title) > MAX_TITLE_CHARS:
        return Refusal(Code.TEXT_TOO_LONG, f"A title has at most {MAX_TITLE_CHARS} characters.")
    return _check_characters(title, "title", None)


def _check_characters(text: str, what: str, ref: str | None) -> Refusal | None:
    for position, character in enumerate(text):
        # Cs: half of a surrogate pair, which no UTF-8 can hold. Cc: control characters.
        category = unicodedata.category(character)
        if category == "Cs" or (category == "Cc" and character not in _ALLOWED_CONTROLS):
            return Refusal(
                Code.TEXT_INVALID,
                f"The {what} has a character at position {position} that text cannot hold "
                f"(U+{ord(character):04X}).",
                ref,
            )
    return None
