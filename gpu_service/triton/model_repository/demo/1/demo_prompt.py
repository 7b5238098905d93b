"""The ChatML prompt as turns.

Owns the reading of the prompt text. Only the raw marks separate turns: the prompt renderer takes
care that no message text holds one, so a line such as "assistant" inside a message stays text. It
must not judge what a turn says.
"""

from __future__ import annotations

from dataclasses import dataclass

_START = "<|im_start|>"
_END = "<|im_end|>"


@dataclass(frozen=True)
class Turn:
    """One entry of the prompt."""

    role: str
    text: str


@dataclass(frozen=True)
class Prompt:
    """The turns before the answer, and the beginning of the answer that was already given.

    `given` is empty for a new answer; it holds the committed text when a run is continued.
    """

    turns: tuple[Turn, ...]
    given: str


def parse(text: str) -> Prompt:
    """Read a prompt. Text without any mark counts as one message of a user."""
    if _START not in text:
        return Prompt((Turn("user", text),), "")
    turns: list[Turn] = []
    given = ""
    for piece in text.split(_START)[1:]:
        role, _, rest = piece.partition("\n")
        body, end, _ = rest.partition(_END)
        if role == "assistant" and not end:
            given = body
        else:
            turns.append(Turn(role, body))
    return Prompt(tuple(turns), given)
