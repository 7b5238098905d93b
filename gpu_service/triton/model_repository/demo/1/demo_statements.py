"""Sentences, and what kind they are.

Owns the cutting of a message into sentences, telling questions and requests from statements, and
the reduction of a sentence to the terms by which it is compared. English is known best; other
languages work as far as question marks and equal words go. It must not rank or phrase anything.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from demo_tokens import SCRIPTS_WITHOUT_SPACES

_SENTENCE_END = re.compile(r"(?<=[.!?…؟।])\s+|(?<=[.!?…][\"'”’»)\]])\s+|(?<=[。！？])\s*")
_ABBREVIATION = re.compile(r"(?:^|\s)(?:dr|mr|mrs|ms|prof|st|vs|e\.g|i\.e|no)\.$", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")

_QUESTION_MARK = re.compile(r"[?？؟][\"'”’»)\]]*$")
_FILLER = re.compile(r"^(?:(?:and|but|so|now|well|ok|okay|hey|hi|hello|please|then)\b[\s,]*)+")
_AUXILIARY = (
    r"(?:is|are|am|was|were|do|does|did|has|have|had|can|could|will|would|should|shall|may|might)"
)
_SUBJECT = r"(?:i|you|he|she|it|we|they|my|your|his|her|our|their|the|this|that|there|these|those)"
_QUESTION_OPENING = re.compile(
    rf"^(?:(?:what|which|whose|how)(?:'s|’s|(?:\s+\w+){{0,2}}?\s+{_AUXILIARY}\b)"
    rf"|(?:who|where|when|why)(?:'s|’s|\s+{_AUXILIARY}\b)"
    rf"|{_AUXILIARY}\s+{_SUBJECT}\b)"
)
_REQUEST_OPENING = re.compile(
    r"^(?:tell|remind|show|give)\s+(?:me|us)\b"
    r"|^(?:summari[sz]e|recap|list|explain|describe|write|say|count|generate|translate)\b"
)

_WORD = re.compile(rf"[{SCRIPTS_WITHOUT_SPACES}]+|(?:(?![{SCRIPTS_WITHOUT_SPACES}])[^\W_])+")
_WITHOUT_SPACES = re.compile(rf"[{SCRIPTS_WITHOUT_SPACES}]")
_CLITIC = re.compile(r"n?['’](?:s|t|re|ve|ll|d|m)\b")

_STOP_WORDS = frozenset(
    _WORD.findall(
        """
        a about above after again all also am an and any anything are as ask asked at be
        because been before being but by can chat conversation could did discuss discussed
        do does doing done everything far for from get give had has have having he hello her
        here hers hey hi him his how i if in into is it its just know let like list ll many
        may me mention mentioned might mine more most much my no not now of ok okay on once
        one only or other our ours out over please recall recap remember remind said same
        say shall she should show so some something still such summarise summarize summary
        talk talked tell than thanks that the their theirs them then there these they thing
        things this those thought till to told too under until up us very was we were what
        whatever when where which while who whom whose why will with would yes you your
        yours
        """
    )
)
_PLAIN_MARKS = {ord(mark): "'" for mark in "“”‘’"}
# What something is called is its name.
_SAME_TERM = {"cal": "nam"}


def sentences(text: str) -> list[str]:
    """The sentences of a text in order, without bullets and surrounding space."""
    found: list[str] = []
    for line in text.splitlines():
        pieces = [piece.strip() for piece in _SENTENCE_END.split(_BULLET.sub("", line))]
        joined: list[str] = []
        for piece in pieces:
            if joined and _ABBREVIATION.search(joined[-1]):
                joined[-1] = f"{joined[-1]} {piece}"
            elif piece:
                joined.append(piece)
        found.extend(joined)
    return found


def one_line(text: str) -> str:
    """The text on one line and without the marks that would close a quote early."""
    return " ".join(text.translate(_PLAIN_MARKS).split())


def clip(text: str, max_chars: int) -> str:
    """The text on one line, or as much of it as that."""
    line = one_line(text)
    return line if len(line) <= max_chars else f"{line[: max_chars - 1].rstrip()}…"


def is_question(sentence: str) -> bool:
    """Whether a sentence asks for something instead of stating it."""
    if _QUESTION_MARK.search(sentence):
        return True
    opening = _FILLER.sub("", sentence.casefold())
    if _REQUEST_OPENING.search(opening):
        return True
    return not sentence.endswith("!") and bool(_QUESTION_OPENING.search(opening))


def terms(text: str) -> frozenset[str]:
    """What a text is about: its words without endings and without words that say little.

    Text of scripts without spaces gives its pairs of neighbouring characters.
    """
    folded = _CLITIC.sub("", unicodedata.normalize("NFKC", text).casefold())
    found: set[str] = set()
    for word in _WORD.findall(folded):
        if _WITHOUT_SPACES.match(word):
            found.update(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif word not in _STOP_WORDS:
            stem = _stem(word)
            found.add(_SAME_TERM.get(stem, stem))
    return frozenset(found)


@functools.lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    """A rough stem: only equal results matter, not that they are words."""
    for ending, rest in (("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word.removesuffix(ending) + rest
            break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 3 and word.endswith("i"):
        word = word[:-1] + "y"
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word
