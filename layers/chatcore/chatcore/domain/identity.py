"""Owns ids: how they look, and how those of a send follow from the client's message id.

A send is idempotent because everything it makes has an id derived from (user, message id): a
second try computes the same ids and finds the first.
"""

import base64
import hashlib
import re
from dataclasses import dataclass

from chatcore.domain.tiers import Tier, UserTier

MESSAGE_ID_PATTERN = r"^[A-Za-z0-9_-]{8,64}$"
ID_PATTERN = r"^[a-z]_[a-z2-7]{26}$"
MAX_ID_CHARS = 64
_MESSAGE_ID = re.compile(MESSAGE_ID_PATTERN)


@dataclass(frozen=True, slots=True)
class User:
    """A verified user, as the authorizer names him."""

    user_id: str
    tier: Tier


@dataclass(frozen=True, slots=True)
class Profile:
    """What the user pool knows of somebody. created_ms: when the account was made."""

    email: str
    email_verified: bool
    tier: UserTier
    created_ms: int


def is_message_id(value: str) -> bool:
    # fullmatch: `$` alone would let a line end pass.
    return _MESSAGE_ID.fullmatch(value) is not None


def may_be_id(value: str) -> bool:
    """Whether anything could have this id. What could not is not looked up: of some such values
    (empty, long, half a surrogate pair, a zero byte) a database or an encoder makes a fault."""
    return 0 < len(value) <= MAX_ID_CHARS and value.isascii() and value.isprintable()


def run_id_for(user_id: str, message_id: str) -> str:
    return _derive("r", user_id, message_id)


def chat_id_for(user_id: str, message_id: str) -> str:
    """The chat that a send without a chat id makes."""
    return _derive("c", user_id, message_id)


def answer_id_for(run_id: str) -> str:
    """The message id of a run's answer."""
    return _derive("m", run_id)


def background_id_for(kind: str, chat_id: str, seq: int, asked_ms: int = 0) -> str:
    """The run that makes something of a chat's messages up to that place: asked for twice, it is one.
    asked_ms: tells tries apart, where there may be several."""
    return _derive("b", kind, chat_id, str(seq), str(asked_ms))


def export_id_for(user_id: str, hour: int) -> str:
    """hour: since 1970. Asked for twice within one, it is the same export."""
    return _derive("e", user_id, str(hour))


def chat_id_from(random_bytes: bytes) -> str:
    """The id of a chat made by itself. random_bytes: at least 16 from a secure source."""
    return _derive("c", random_bytes.hex())


def digest_of(text: str) -> str:
    """What a run remembers of its message to tell a repeat from a conflict."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _derive(prefix: str, *parts: str) -> str:
    # The separator cannot occur in an id, so ("ab", "c") and ("a", "bc") differ.
    digest = hashlib.sha256("\x1f".join((prefix, *parts)).encode("utf-8")).digest()
    return f"{prefix}_{base64.b32encode(digest).decode('ascii').lower()[:26]}"
