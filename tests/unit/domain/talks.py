"""Owns chats as the tests of prompts need them: messages in turn, ten places and a second apart."""

from collections.abc import Sequence

from chatcore.domain.chat import Message, Role
from chatcore.domain.context import SYSTEM_PROMPT, History, Prompt, Room, build
from chatcore.domain.excerpts import Recall, Recalled
from chatcore.domain.markup import ASSISTANT, SYSTEM, USER, opening, turn
from chatcore.domain.summary import Summary

START_MS = 1_800_000_000_000
START, END = "<|im_start|>", "<|im_end|>"
HEAD = turn(SYSTEM, SYSTEM_PROMPT)
BEGUN = opening(ASSISTANT)
PLENTY = Room(total=10**9, summary=10**8, recall=10**8, tail=10**8)


def message(number: int, text: str, role: Role) -> Message:
    seq = 10 * (number + 1)
    return Message("c_1", seq, f"m_{seq}", role, text, f"r_{seq}", START_MS + 1_000 * number)


def talk(*texts: str, ends_with: Role = Role.USER) -> list[Message]:
    """Questions and answers in turn."""
    roles = [Role.ASSISTANT, Role.USER] if ends_with is Role.USER else [Role.USER, Role.ASSISTANT]
    return [
        message(number, text, roles[(len(texts) - number) % 2]) for number, text in enumerate(texts)
    ]


def summary_of(
    up_to: Message, text: str = "## Facts\nNone.", made_ms: int = 0, version: int = 1
) -> Summary:
    return Summary("c_1", f"b_{version}", version, up_to.seq, text, made_ms)


def prompt_of(
    messages: Sequence[Message],
    room: Room = PLENTY,
    continuation: str = "",
    summary: Summary | None = None,
    recall: Recall | None = None,
) -> Prompt:
    """With a token a character."""
    return build(History(messages, summary), continuation, room, len, recall=recall)


def recalling(*messages: Message) -> Recall:
    """These come back, whatever is asked, and nothing is missing."""
    return lambda text, before_seq: Recalled(messages)


def asked(text: str, continuation: str = "") -> str:
    """How a prompt ends."""
    return turn(USER, text) + opening(ASSISTANT, continuation)
