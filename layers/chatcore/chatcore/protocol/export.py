"""Owns what an export consists of: lines of JSON, each of one kind, in numbered files, and the manifest
that names them. Moments are RFC 3339.

Kinds and fields may be added; what is there keeps its meaning.
"""

from collections.abc import Mapping, Sequence

import msgspec

from chatcore.domain.chat import Chat, Message, Role
from chatcore.domain.identity import Profile
from chatcore.domain.ledger import Ledger
from chatcore.domain.moment import rfc3339
from chatcore.domain.run import FinishReason
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import Tier
from chatcore.domain.usage import DayUsage
from chatcore.protocol.websocket import UsageFields, usage_for

MANIFEST = "manifest.json"


class ProfileLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="profile"):
    """email and what follows are null where the user pool knows nobody any more."""

    user_id: str
    email: str | None = None
    email_verified: bool | None = None
    tier: Tier | None = None
    created_at: str | None = None

    @classmethod
    def of(cls, user_id: str, profile: Profile | None) -> "ProfileLine":
        if profile is None:
            return cls(user_id=user_id)
        return cls(
            user_id=user_id,
            email=profile.email,
            email_verified=profile.email_verified,
            tier=profile.tier,
            created_at=rfc3339(profile.created_ms),
        )


class AccountLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="account"):
    """The token account. words: the same in sentences."""

    settled_tokens: int
    settled_runs: int
    reserved_tokens: int
    active_runs: int
    words: list[str]

    @classmethod
    def of(cls, ledger: Ledger, now_ms: int) -> "AccountLine":
        return cls(
            settled_tokens=ledger.settled_tokens,
            settled_runs=ledger.settled_runs,
            reserved_tokens=ledger.reserved_tokens,
            active_runs=len(ledger.active),
            words=_in_words(ledger, now_ms),
        )


class DayLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="usage_day"):
    """day: of UTC; runs: answers that ended on it."""

    day: str
    runs: int
    usage: UsageFields

    @classmethod
    def of(cls, day: DayUsage) -> "DayLine":
        return cls(day=day.day, runs=day.runs, usage=usage_for(day.usage))


class ChatLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="chat"):
    """Its summaries and its messages, in reading order, are the lines behind it."""

    chat_id: str
    title: str | None
    created_at: str
    last_active_at: str
    usage: UsageFields

    @classmethod
    def of(cls, chat: Chat) -> "ChatLine":
        return cls(
            chat_id=chat.chat_id,
            title=chat.title,
            created_at=rfc3339(chat.created_ms),
            last_active_at=rfc3339(chat.last_active_ms),
            usage=usage_for(chat.usage),
        )


class SummaryLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="summary"):
    """in_use: it speaks for the chat's older messages now."""

    chat_id: str
    version: int
    text: str
    made_at: str
    in_use: bool

    @classmethod
    def of(cls, summary: Summary, chat: Chat) -> "SummaryLine":
        return cls(
            chat_id=summary.chat_id,
            version=summary.version,
            text=summary.text,
            made_at=rfc3339(summary.made_ms),
            in_use=summary.summary_id == chat.summary_id,
        )


class MessageLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="message"):
    """finish_reason, usage: of an answer."""

    chat_id: str
    message_id: str
    run_id: str
    role: Role
    text: str
    created_at: str
    finish_reason: FinishReason | None
    usage: UsageFields | None

    @classmethod
    def of(cls, message: Message) -> "MessageLine":
        return cls(
            chat_id=message.chat_id,
            message_id=message.message_id,
            run_id=message.run_id,
            role=message.role,
            text=message.text,
            created_at=rfc3339(message.created_ms),
            finish_reason=message.finish_reason,
            usage=None if message.usage is None else usage_for(message.usage),
        )


Line = ProfileLine | AccountLine | DayLine | ChatLine | SummaryLine | MessageLine


class File(msgspec.Struct, frozen=True, kw_only=True):
    """bytes: its length."""

    name: str
    lines: int
    bytes: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an export has come. chat_id: of the chat that was begun last, empty before the first; seq: its
    last place that has been written, None where all of it has; counts: of lines, by their kind."""

    chat_id: str = ""
    seq: int | None = None
    files: tuple[File, ...] = ()
    counts: dict[str, int] = msgspec.field(default_factory=dict)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """counts: of lines, by their kind."""

    export_id: str
    made_at: str
    files: tuple[File, ...]
    counts: dict[str, int]


def as_object(progress: Progress) -> dict[str, object]:
    """For a state machine, which carries it from step to step."""
    found: dict[str, object] = msgspec.to_builtins(progress)
    return found


def progress_of(said: Mapping[str, object]) -> Progress:
    """What the step before has said; nothing before the first."""
    return msgspec.convert(said, Progress)


def encode_line(line: Line) -> bytes:
    """With its line end. Code points above ASCII stay as they are: people look at this."""
    return msgspec.json.encode(line) + b"\n"


def encode_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


_lines: "msgspec.json.Decoder[Line]" = msgspec.json.Decoder(Line)
_manifests = msgspec.json.Decoder(Manifest)


def decode_lines(body: bytes) -> Sequence[Line]:
    return [_lines.decode(line) for line in body.splitlines() if line]


def decode_manifest(body: bytes) -> Manifest:
    return _manifests.decode(body)


def _in_words(ledger: Ledger, now_ms: int) -> list[str]:
    said = [
        f"{ledger.settled_runs} answers have been charged, with {ledger.settled_tokens} tokens in all: "
        "input that no cache held counts once, output twice.",
        f"{len(ledger.active)} answers are in the making or wait, and {ledger.reserved_tokens} tokens are "
        "held back for them.",
    ]
    said += [
        f"Of a budget that begins anew at {rfc3339(window.ends_ms)}, {ledger.used_tokens(window)} tokens "
        "are used."
        for window in ledger.windows
        if window.ends_ms > now_ms
    ]
    return said
