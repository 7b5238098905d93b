"""Owns cursors: a place in a list, opaque to clients.

A forged one that has the right form only names another place in the same user's own list.
"""

import base64
import binascii
import json

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import may_be_id

MAX_CHARS = 200


def encode(key: tuple[int, str]) -> str:
    packed = json.dumps(key, separators=(",", ":")).encode("ascii")
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def decode(cursor: str, named: bool) -> tuple[int, str] | Refusal:
    """named: whether this list's places have a name. One that nothing could have (of another list's
    cursor, or forged) would be a fault of the database's, not an empty page."""
    refusal = Refusal(Code.CURSOR_INVALID, "The cursor is not one that this list gave out.")
    if len(cursor) > MAX_CHARS or not cursor.isascii():
        return refusal
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        key = json.loads(packed)
    except (binascii.Error, ValueError, RecursionError):
        return refusal
    match key:
        case [int(position), str(name)] if type(position) is int and 0 <= position < 10**15:
            sound = may_be_id(name) if named else name == ""
            return (position, name) if sound else refusal
    return refusal
