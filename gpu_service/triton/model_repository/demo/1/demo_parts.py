"""What chatcore puts into a prompt's turns beside messages.

Owns how a prompt's task is told, and the reading of notes and of quotations. The openings are the
first words of those in chatcore.domain, which does not exist where Triton runs; a test holds the two
together. Only the place of a turn and its role decide what it is: what people wrote stands in turns
of theirs, behind a mark, or inside a line of JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from demo_prompt import Prompt, Turn

SUMMARY_TASK = "You keep the notes of a conversation"
TITLE_TASK = "You name conversations"
NOTES_OPENING = "Notes on the earlier part of this conversation"
FORMER_NOTES_OPENING = "The notes so far:"
EXCERPTS_OPENING = "Earlier messages of this conversation that may bear on the next one"

NOTHING_STATED = "(nothing was stated)"
_SAYS_NOTHING = (NOTHING_STATED, "(none)")
_INDENT = "> "
_HEADING = re.compile(r"#{1,6}\s")
_BULLET = re.compile(r"^[-*•]\s+")
_LEFT_OUT = re.compile(r"\s*\[…\d+ characters left out…\]\s*")


class Task(StrEnum):
    """What the engine is asked for."""

    ANSWER = "answer"
    SUMMARY = "summary"
    TITLE = "title"


@dataclass(frozen=True)
class Quotation:
    """A message, or its ends. role: who said it, as in a turn."""

    role: str
    text: str


def task(prompt: Prompt) -> Task:
    """Told by the first turn alone, which is never anybody's message."""
    first = prompt.turns[0] if prompt.turns else Turn("", "")
    if first.role == "system" and first.text.startswith(SUMMARY_TASK):
        return Task.SUMMARY
    if first.role == "system" and first.text.startswith(TITLE_TASK):
        return Task.TITLE
    return Task.ANSWER


def is_notes(turn: Turn) -> bool:
    """Whether the turn holds the chat's summary, for an answer or for the next summary."""
    return turn.role == "system" and turn.text.startswith((NOTES_OPENING, FORMER_NOTES_OPENING))


def is_excerpts(turn: Turn) -> bool:
    """Whether the turn holds recalled messages."""
    return turn.role == "system" and turn.text.startswith(EXCERPTS_OPENING)


def notes(turn: Turn) -> Iterator[str]:
    """The lines of the notes that say something, without headings."""
    for line in turn.text.splitlines()[1:]:
        text = line.removeprefix(_INDENT).strip()
        if text and not _HEADING.match(text) and _BULLET.sub("", text) not in _SAYS_NOTHING:
            yield text


def quotations(turn: Turn) -> Iterator[Quotation]:
    """The messages quoted in the turn, one JSON object a line; lines that hold none are passed over."""
    # Of all that may end a line JSON escapes only these.
    for line in turn.text.split("\n"):
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(said, dict):
            continue
        role, text = said.get("from"), said.get("text")
        if isinstance(role, str) and isinstance(text, str):
            # JSON can name halves of characters, which no answer could hold.
            yield Quotation(role, text.encode(errors="ignore").decode())


def without_gaps(text: str) -> str:
    """The text with a line break where chatcore left out its middle: what stands around it is no
    sentence."""
    return _LEFT_OUT.sub("\n", text)
