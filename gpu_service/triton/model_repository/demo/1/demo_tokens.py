"""The demo engine's tokenizer.

Owns how text is cut into tokens: a ChatML mark, a word piece or a punctuation mark with its leading
space, a line break, or a few characters of a script that writes no spaces. The tokens put together
are the text exactly, and a line break never joins its neighbours, so a longer prompt keeps the
tokens of the prompt it grew from. It must not know what the text means.
"""

from __future__ import annotations

import re

# Thai, Lao, Myanmar, Khmer, kana and Han are written without spaces between words.
SCRIPTS_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)

_MARK = r"<\|[a-z_]+\|>"
_TOKEN = re.compile(
    rf"""
    {_MARK}
    | [ ]?[{SCRIPTS_WITHOUT_SPACES}]{{1,2}}
    | [ ]?(?:(?![{SCRIPTS_WITHOUT_SPACES}])[^\W\d_]){{1,7}}
    | [ ]?\d{{1,3}}
    | [ ]?(?!{_MARK})[^\w\s]
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


def split(text: str) -> list[str]:
    """The tokens of a text, in order."""
    return _TOKEN.findall(text)
