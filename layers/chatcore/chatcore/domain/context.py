"""Owns the prompt: which messages go in, in which order, within a token budget, and their markup.

The markup is ChatML, which the engine's models are given by both repositories. Text of people can
never become markup: its marks are broken before it goes in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatcore.domain.chat import Message, Role

CountTokens = Callable[[str], int]

SYSTEM_PROMPT = (
    "You are a helpful assistant. Answer from the conversation where it holds the answer, and say so "
    "plainly where it does not."
)

_START = "<|im_start|>"
_END = "<|im_end|>"
_BREAK = "\u200b"
"""Zero-width space: breaks a mark in people's text without changing how it looks."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """tokens: by our own count; messages: how many of the chat's went in, and how many there were."""

    text: str
    tokens: int
    messages: int
    available: int


def build(
    history: Sequence[Message],
    continuation: str,
    budget_tokens: int,
    count_tokens: CountTokens,
    system: str = SYSTEM_PROMPT,
) -> Prompt:
    """The prompt for the answer to the last message of the history.

    history: in reading order, ending in the user's newest message, which always goes in whole;
    of the others the newest that fit, without a gap. continuation: the part of the answer that is
    durable already; the engine goes on behind it.
    """
    head = _turn("system", system)
    tail = f"{_START}{Role.ASSISTANT}\n{defused(continuation)}"
    newest = _turn(history[-1].role, history[-1].text)
    used = count_tokens(head) + count_tokens(tail) + count_tokens(newest)
    turns = [newest]
    for message in reversed(history[:-1]):
        turn = _turn(message.role, message.text)
        tokens = count_tokens(turn)
        if used + tokens > budget_tokens:
            break
        used += tokens
        turns.append(turn)
    return Prompt(
        text="".join([head, *reversed(turns), tail]),
        tokens=used,
        messages=len(turns),
        available=len(history),
    )


def defused(text: str) -> str:
    """The text with every mark in it broken, so that it stays text."""
    return text.replace("<|", f"<{_BREAK}|")


def _turn(role: str, text: str) -> str:
    return f"{_START}{role}\n{defused(text)}{_END}\n"
