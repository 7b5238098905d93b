"""What of a prompt can be quoted.

Owns the choice of what counts as a statement, who made it, and which of two is the newer. It must not
rank statements by what they say, nor phrase anything.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

import demo_parts
from demo_prompt import Turn
from demo_statements import is_question, one_line, sentences, terms

_CORRECTION = re.compile(
    r"\b(?:actually|correction|no longer|any ?more|not .{1,80} but|now|instead|changed?|renamed|moved"
    r"|from now on|switched|in fact)\b",
    re.IGNORECASE,
)
_ROLE_LABEL = re.compile(r"^(?:the )?(user|assistant)(?: said)?:\s*", re.IGNORECASE)
_INSTRUCTION = re.compile(
    r"^(?:you|your|answer|reply|respond|be|do not|don't|never|always|use|keep|if|when)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"“([^“”]+)”")
_OWN_ANSWER = "demo engine"


class Source(StrEnum):
    """Who made a statement."""

    USER = "user"
    NOTES = "notes"
    ASSISTANT = "assistant"


class Age(IntEnum):
    """Where in a prompt something stands, the older first. Notes keep the newer of two statements; of
    excerpts the older may have come back alone."""

    EXCERPTS = 0
    NOTES = 1
    MESSAGES = 2


@dataclass(frozen=True)
class Statement:
    """A sentence that can be quoted. A greater age key is newer."""

    text: str
    source: Source
    age_key: tuple[Age, int]


def statements(turns: Sequence[Turn], last_user: int) -> list[Statement]:
    """All that can be quoted, oldest first; a repeated statement counts where it was last made, and as
    the user's where the user made it.

    The system part (a summary, recalled excerpts) counts as older than what users said, wherever
    it stands. Questions, and of former answers all but the quotes in them, are left out.
    """
    found: dict[tuple[str, bool], Statement] = {}
    order = itertools.count()
    for position, turn in enumerate(turns):
        for text, source, age in _quotable(turn, is_last=position == last_user):
            statement = Statement(text, source, (age, next(order)))
            key = (_folded(text), source is Source.ASSISTANT)
            former = found.get(key, statement)
            newest = max(statement, former, key=lambda each: each.age_key)
            said_by_user = Source.USER in (former.source, statement.source)
            found[key] = replace(newest, source=Source.USER) if said_by_user else newest
    return sorted(found.values(), key=lambda statement: statement.age_key)


def stated(notes: Turn | None, quoting: Turn) -> list[str]:
    """What the notes of a chat hold and its users said since, oldest first, each but once. An assistant's
    answer is made of what was said before it."""
    texts = [text for line in (demo_parts.notes(notes) if notes else ()) for text in _of_user(line)]
    for quotation in demo_parts.quotations(quoting):
        if quotation.role == "user":
            texts += _of_user(quotation.text)
    once: dict[str, str] = {}
    for text in texts:
        # What is said again moves to where it was said last.
        once.pop(_folded(text), None)
        once[_folded(text)] = text
    return [*once.values()]


def is_correction(text: str) -> bool:
    """Whether a statement says that it changes something said before."""
    return bool(_CORRECTION.search(text))


def _folded(text: str) -> str:
    """What is the same for statements that differ as a note and its message may."""
    return one_line(text).casefold()


def _quotable(turn: Turn, *, is_last: bool) -> Iterator[tuple[str, Source, Age]]:
    if demo_parts.is_excerpts(turn):
        for quotation in demo_parts.quotations(turn):
            of_assistant = quotation.role == "assistant"
            source = Source.ASSISTANT if of_assistant else Source.USER
            texts = _of_assistant(quotation.text) if of_assistant else _of_user(quotation.text)
            yield from ((text, source, Age.EXCERPTS) for text in texts)
    elif demo_parts.is_notes(turn):
        for line in demo_parts.notes(turn):
            yield from ((text, Source.NOTES, Age.NOTES) for text in _of_user(line))
    elif turn.role == "system":
        yield from ((text, source, Age.NOTES) for text, source in _of_system(turn.text))
    elif turn.role == "assistant":
        for text in _of_assistant(turn.text):
            yield text, Source.ASSISTANT, Age.MESSAGES
    elif turn.role == "user":
        asks = any(is_question(text) for text in sentences(turn.text))
        # Else the last message is a statement as a whole; it is what is being answered.
        if asks or not is_last:
            yield from ((text, Source.USER, Age.MESSAGES) for text in _of_user(turn.text))


def _of_user(text: str) -> list[str]:
    return _stating(sentences(demo_parts.without_gaps(text)))


def _of_assistant(text: str) -> list[str]:
    if _OWN_ANSWER not in text:
        return _of_user(text)
    # A former answer of this engine: only what it quoted was said by anyone.
    return _stating(each for quote in _QUOTED.findall(text) for each in sentences(quote))


def _of_system(text: str) -> Iterator[tuple[str, Source]]:
    """Of a system turn of another form: what it says of the chat, not what it tells the engine to do."""
    for sentence in sentences(text):
        label = _ROLE_LABEL.match(sentence)
        if label is None and _INSTRUCTION.match(sentence):
            continue
        said = sentence[label.end() :] if label else sentence
        of_assistant = label is not None and label[1].casefold() == "assistant"
        for each in _stating([said]):
            yield each, Source.ASSISTANT if of_assistant else Source.NOTES


def _stating(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if text and not is_question(text) and terms(text)]
