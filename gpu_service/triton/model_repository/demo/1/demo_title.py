"""What the demo engine writes when it is asked for a chat's title.

Owns the choice of its words: those of the user's first message that say something, in their order.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator, Sequence

import demo_parts
from demo_prompt import Prompt
from demo_statements import terms
from demo_tokens import SCRIPTS_WITHOUT_SPACES

_MAX_WORDS = 6
_MAX_CHARS = 60
_CHARS_A_WORD = 2
"""Of a script that writes no spaces."""

_NAMELESS = "New chat"
_PIECE = re.compile(r"[^\s\"“”„«»‹›「」『』《》。，、！？；：…]+")
_WITHOUT_SPACES = re.compile(rf"[{SCRIPTS_WITHOUT_SPACES}]")


def title(prompt: Prompt) -> str:
    """At most six words, never empty."""
    said = (
        quotation.text
        for turn in prompt.turns
        if turn.role == "user"
        for quotation in demo_parts.quotations(turn)
        if quotation.role == "user"
    )
    pieces = [*_pieces(next(said, ""))]
    chosen = _within([piece for piece in pieces if terms(piece)] or pieces) or _NAMELESS
    return chosen[0].upper() + chosen[1:]


def _pieces(text: str) -> Iterator[str]:
    """What stands between spaces, without the signs around it."""
    for piece in _PIECE.findall(text):
        first, last = 0, len(piece)
        while first < last and _is_around(piece[first]):
            first += 1
        while first < last and _is_around(piece[last - 1]):
            last -= 1
        if first < last:
            yield piece[first:last]


def _is_around(character: str) -> bool:
    """Whether it is punctuation or a sign on a keyboard, or cannot be seen."""
    return character in string.punctuation or unicodedata.category(character)[0] in "PCZ"


def _within(pieces: Sequence[str]) -> str:
    """The first of the pieces, as many as a title may have."""
    words_left, chosen = _MAX_WORDS, ""
    for piece in pieces:
        if _WITHOUT_SPACES.search(piece):
            piece = piece[: words_left * _CHARS_A_WORD]
            words = -(-len(piece) // _CHARS_A_WORD)
        else:
            words = 1
        longer = f"{chosen} {piece}".lstrip()
        if words > words_left or (chosen and len(longer) > _MAX_CHARS):
            break
        words_left -= words
        chosen = longer[:_MAX_CHARS]
    return chosen
