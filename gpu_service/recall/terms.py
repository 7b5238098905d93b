"""Owns how text becomes terms: what a message is indexed by and what a query asks for.

Words are folded and stemmed by their script. A script that writes no spaces gives groups of characters.
An identifier of code gives itself and its parts. It must not know messages or how terms are weighed
against each other.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping

import Stemmer

from gpu_service.recall.words import CHANGES, QUESTIONS, STOP, WEAK

MAX_TERM_CHARS = 40
"""Of a longer word (encoded bytes, a hash) that much is its term."""

WEAK_WEIGHT = 0.5

_UNSPACED = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_UNSPACED_LONG = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Alphabets without spaces (Thai, Lao, Burmese, Khmer): two letters say too little there."""

_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0dff"
"""They belong to the letters before them; Python's \\w leaves some of them out."""

_TOKEN = re.compile(
    f"(?P<unspaced>[{_UNSPACED}]+)"
    f"|(?P<long>[{_UNSPACED_LONG}]+)"
    r"|(?P<sign>[\u2600-\u27bf\U0001f300-\U0001faff]|[A-Za-z](?:\+\+|#))"
    f"|(?P<word>(?:(?![{_UNSPACED}{_UNSPACED_LONG}])[\\w{_MARKS}])+)"
)
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_CASED_INSIDE = re.compile(r"[a-z][A-Z]")

_STEMMERS = (
    # The last character of a script's block: the first that is not less names the stemmer.
    ("\u024f", Stemmer.Stemmer("english")),
    ("\u03ff", Stemmer.Stemmer("greek")),
    ("\u052f", Stemmer.Stemmer("russian")),
    ("\u05ff", None),
    ("\u06ff", Stemmer.Stemmer("arabic")),
    ("\u08ff", None),
    ("\u097f", Stemmer.Stemmer("hindi")),
)


def terms(text: str) -> Iterator[str]:
    """In the order of the text, as often as they are there."""
    # Half of all messages are plain: nothing in them has another form.
    text = text if text.isascii() else unicodedata.normalize("NFKC", text)
    for found in _TOKEN.finditer(text):
        kind, token = found.lastgroup, found[0]
        if kind == "word":
            yield from _of_word(token)
        elif kind == "sign":
            yield token.lower()
        else:
            yield from _of_run(token, 2 if kind == "unspaced" else 3)


def asked(query: str) -> Mapping[str, float]:
    """The terms of a query, each with how much it says, in (0, 1]."""
    return {term: WEAK_WEIGHT if says_little(term) else 1.0 for term in terms(query)}


def says_little(term: str) -> bool:
    """A word of any question, or one letter out of a run that has better terms."""
    return term in _WEAK_STEMS or (len(term) == 1 and term > "\u2fff")


def takes_back(text: str) -> bool:
    """Whether it has words of change, as a message has that corrects an earlier one."""
    plain = f" {' '.join(text.lower().translate(_NO_SIGNS).split())} "
    return any(words in plain for words in CHANGES)


_NO_SIGNS = str.maketrans(dict.fromkeys('.,;:!?()"“”„«»…—–。,、!?¡¿', " "))


def _of_word(token: str) -> Iterator[str]:
    lowered = token.lower()
    word = _stem_of.get(lowered)
    if word is None:
        word = _remembered(lowered)
    if word:
        yield word
    if len(token) > 3 and ("_" in token or _CASED_INSIDE.search(token)):
        for part in _CAMEL.findall(token):
            if len(part) > 1 and (stem := _remembered(part.lower())) and stem != word:
                yield stem


_stem_of: dict[str, str] = {}
"""Of words met before; empty for a stop word. Stemming is most of what a message costs."""

_MAX_REMEMBERED = 50_000


def _remembered(lowered: str) -> str:
    word = _stem_of.get(lowered)
    if word is None:
        if len(_stem_of) >= _MAX_REMEMBERED:
            _stem_of.clear()
        word = _stem_of[lowered] = _stemmed(_folded(lowered).strip("_")[:MAX_TERM_CHARS])
    return word


def _folded(word: str) -> str:
    """Without accents in Latin script: people leave them out."""
    if word.isascii() or word[0] > "\u024f":
        return word
    parts = unicodedata.normalize("NFD", word)
    return "".join(part for part in parts if not unicodedata.combining(part))


def _stemmed(word: str) -> str:
    if not word or word in STOP:
        return ""
    for last, stemmer in _STEMMERS:
        if word[0] <= last:
            return stemmer.stemWord(word) if stemmer is not None else word
    return word


def _of_run(run: str, length: int) -> Iterator[str]:
    """Groups of characters between the words that any sentence is built with; single characters too
    where each is nearly a word."""
    for part in QUESTIONS.sub(" ", run).split():
        if length == 2:
            yield from (letter for letter in part if letter > "\u30ff")
        if len(part) <= length:
            if len(part) > 1 or part <= "\u30ff":
                yield part
        else:
            for at in range(len(part) - length + 1):
                yield part[at : at + length]


_WEAK_STEMS = frozenset(_stemmed(word) for word in WEAK)
