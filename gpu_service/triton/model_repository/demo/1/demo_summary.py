"""What the demo engine writes when it is asked for a chat's notes.

Owns which statements stay in the notes, and their form. They are kept word for word, so that an
answer can quote them many summaries later; all under the first heading, since the order of the lines
is their age. Like an answer they depend on the prompt alone.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import demo_parts
import demo_tokens
from demo_known import is_correction, stated
from demo_prompt import Prompt, Turn
from demo_statements import clip, terms

_MAX_CHARS = 300
"""Of a statement: as much of it as an answer quotes."""

_ASKED_WORDS = re.compile(r"\bin at most (\d{1,6}) words\b")
_ASKED_SECTIONS = re.compile(r"\bbeginning with ##: ([^.,]+)")
_DEFAULT_WORDS = 300
_DEFAULT_SECTION = "Facts"

_WORD = re.compile(r"[^\W_]+(?:['’.,:/-][^\W_]+)*")
_NUMBER = re.compile(r"\d")
_OF_THE_USER = re.compile(
    r"\b(?:my|our|mine|ours|i am|i'm|i have|remember|meine?[nmrs]?|ich bin|mon|mes|je suis|mis?|soy"
    r"|мо[йяеёи]|мо(?:его|ей|ему|ю|их))\b|我|私|僕|나의|내 ",
    re.IGNORECASE,
)
_RARE_TERMS = 3
"""So many rare terms are enough: a long statement is not a better one."""

_FEW_TERMS = 2
"""One that has fewer says less, however rare they are."""

_SHORT_WORDS = 8
"""Shorter ones than that are not preferred to each other."""


def summary(prompt: Prompt) -> str:
    """The notes, within the words that the prompt allows; never empty."""
    users = [turn for turn in prompt.turns if turn.role == "user"]
    quoting = users[-1] if users else Turn("user", "")
    former = next((turn for turn in prompt.turns if demo_parts.is_notes(turn)), None)
    # What is asked is said last, behind everything that people wrote.
    asked = quoting.text.rpartition("\n")[2]
    words, section = _ASKED_WORDS.search(asked), _ASKED_SECTIONS.search(asked)
    heading = f"## {section[1] if section else _DEFAULT_SECTION}"
    allowed = (int(words[1]) if words else _DEFAULT_WORDS) - _words(heading)
    texts = list(dict.fromkeys(clip(text, _MAX_CHARS) for text in stated(former, quoting)))
    lines = [_line(text) for text in _best(_without_corrected(texts), allowed)]
    return "\n".join([heading, *(lines or [_line(demo_parts.NOTHING_STATED)])])


def _line(text: str) -> str:
    return f"- {text}"


def _words(line: str) -> int:
    """The words of a line as those reckon who allow them: one and a half tokens each, in any script.

    A vocabulary makes hardly more tokens of common text than this engine does; the more bytes a
    character has in UTF-8, the rarer it is, and may take more than one.
    """
    by_characters = sum(len(character.encode()) ** 2 for character in line) / 6
    tokens = max(len(demo_tokens.split(line)) + 1, by_characters)
    return math.ceil(tokens * 2 / 3)


def _without_corrected(texts: Sequence[str]) -> list[str]:
    """The statements without those that a later one corrects: it says that it changes something, and
    repeats at least half of what the other was about, and most of its words."""
    about, words = [terms(text) for text in texts], [_word_set(text) for text in texts]
    kept = [*range(len(texts))]
    for later in range(len(texts)):
        if is_correction(texts[later]):
            kept = [
                each
                for each in kept
                if each >= later
                or 2 * len(about[each] & about[later]) < len(about[each])
                or 2 * len(words[each] & words[later]) <= len(words[each])
            ]
    return [texts[each] for each in kept]


def _word_set(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def _best(texts: Sequence[str], allowed_words: int) -> list[str]:
    """The statements that say most for their length, as many as are allowed, in their order; of equal ones
    the newest."""
    held = [terms(text) for text in texts]
    frequency = Counter(term for each in held for term in each)
    worth = [
        _worth(text, [frequency[term] for term in each if not _NUMBER.search(term)])
        for text, each in zip(texts, held, strict=True)
    ]
    chosen: list[int] = []
    left = allowed_words
    for place in sorted(range(len(texts)), key=lambda each: (worth[each], each), reverse=True):
        size = _words(_line(texts[place]))
        if size <= left:
            left -= size
            chosen.append(place)
    return [texts[place] for place in sorted(chosen)]


def _worth(text: str, frequencies: Sequence[int]) -> float:
    """Numbers, names, and what the user says of himself count; but what is said over and over, each time
    with another number, says little. frequencies: of its terms, among all statements."""
    rarest = sorted(frequencies)[:_RARE_TERMS]
    rarity = sum(1 / each for each in rarest) / max(_FEW_TERMS, len(rarest))
    marks = (_NUMBER.search(text), _names(text), _OF_THE_USER.search(text))
    says = rarity * (1 + sum(bool(mark) for mark in marks))
    return says / math.sqrt(max(_SHORT_WORDS, _words(text)))


def _names(text: str) -> bool:
    """Whether a word inside the sentence begins with a capital letter and says more than `I`."""
    return any(word[0].isupper() and terms(word) for word in _WORD.findall(text)[1:])
