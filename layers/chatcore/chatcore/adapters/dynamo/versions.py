"""Owns what this release makes of items that another release has written.

Two releases run beside each other whenever functions or workers are replaced, and after a step back
(docs/upgrades.md). So an item may hold what this release does not know:

- an attribute: passed over in reading, and left where it is in writing. An item that may be there
  already is written by `changes`, never put as a whole.
- a word that decides nothing, such as why an answer ended: read as the nearest that is known.
- a word that decides, such as a run's status: `TooNew`. Nothing is done with the item.
- a version (`v`) above VERSION: `TooNew`, too. It is raised only for a change that this release would
  misread, and absent means 1, so that no item carries it yet.

TooNew is retryable: a client is told `busy`, and a job stays in its lane for a newer worker.
"""

from enum import StrEnum
from typing import TypeVar

from pynamodb.expressions.update import Action
from pynamodb.models import Model

from chatcore.domain.errors import Retryable

VERSION = 1

_Word = TypeVar("_Word", bound=StrEnum)


class TooNew(Retryable):
    """An item of a later release than this one."""


def check(version: float | None, what: str) -> None:
    """Raises TooNew for an item that this release would misread. what: for the log."""
    if version is not None and version > VERSION:
        raise TooNew(f"{what} is of version {int(version)}, and this release reads {VERSION}")


def known(words: type[_Word], word: str) -> _Word:
    """Raises TooNew where the word is none of them."""
    try:
        return words(word)
    except ValueError:
        raise TooNew(f"{words.__name__} {word!r} is not known to this release") from None


def known_or(words: type[_Word], word: str | None, otherwise: _Word) -> _Word | None:
    """None for none, and `otherwise` for a word that is none of them."""
    try:
        return words(word) if word else None
    except ValueError:
        return otherwise


def changes(item: Model) -> list[Action]:
    """What makes of a stored item this one, beside whatever it holds that is not known here."""
    keys = {item._hash_keyname, item._range_keyname}
    found: list[Action] = []
    for name, attribute in item.get_attributes().items():
        if name in keys:
            continue
        value = getattr(item, name)
        found.append(attribute.remove() if value is None else attribute.set(value))
    return found
