"""Owns every word for what can go wrong: stable codes, refusals, and the one exception tree.

A refusal is an expected answer and a return value. An exception is a fault: something that the
caller did not cause. Neither carries a vendor's text to a client.
"""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """What clients may rely on: once published, a code keeps its meaning."""

    UNAUTHORIZED = "unauthorized"
    FRAME_NOT_JSON = "frame_not_json"
    FRAME_NOT_OBJECT = "frame_not_object"
    FRAME_TOO_LARGE = "frame_too_large"
    BODY_NOT_JSON = "body_not_json"
    BODY_TOO_LARGE = "body_too_large"
    ACTION_UNKNOWN = "action_unknown"
    FIELD_INVALID = "field_invalid"
    TEXT_EMPTY = "text_empty"
    TEXT_TOO_LONG = "text_too_long"
    TEXT_INVALID = "text_invalid"
    CURSOR_INVALID = "cursor_invalid"
    ROUTE_NOT_FOUND = "route_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CHAT_NOT_FOUND = "chat_not_found"
    RUN_NOT_FOUND = "run_not_found"
    EXPORT_NOT_FOUND = "export_not_found"
    ACCOUNT_CLOSED = "account_closed"
    CONFIRMATION_WRONG = "confirmation_wrong"
    MESSAGE_CONFLICT = "message_conflict"
    RUN_ACTIVE = "run_active"
    TOO_MANY_ACTIVE_RUNS = "too_many_active_runs"
    BUDGET_EXHAUSTED = "budget_exhausted"
    TIER_PAUSED = "tier_paused"
    QUEUE_TOO_OLD = "queue_too_old"
    BUSY = "busy"
    INTERNAL_ERROR = "internal_error"
    # Why a run failed.
    ENGINE_UNAVAILABLE = "engine_unavailable"
    ENGINE_ERROR = "engine_error"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    PROMPT_TOO_LONG = "prompt_too_long"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An expected no.

    message: one sentence for the person; ref: the message_id or run_id it answers;
    retry_at_ms: when the same request may succeed (Unix ms), where that is known.
    """

    code: Code
    message: str
    ref: str | None = None
    retry_at_ms: int | None = None


class ChatcoreError(Exception):
    """Root of the tree. The message is for logs only."""


class Retryable(ChatcoreError):
    """The same call may succeed later."""


class Terminal(ChatcoreError):
    """The same call will fail again."""


class Conflict(Retryable):
    """Somebody else wrote first: read again and decide anew."""


class StoreUnavailable(Retryable):
    """The database or a queue throttled, timed out or failed. The write may or may not have happened."""


class EngineUnavailable(Retryable):
    """The engine cannot be reached, or did not answer within its deadline."""


class EngineFailed(Retryable):
    """The engine answered with an error or with something that is not text."""


class EngineRefused(Terminal):
    """The engine will not take this prompt with these parameters."""


class PromptTooLong(Terminal):
    """The newest message alone is more than the model can read."""


class Misconfigured(Terminal):
    """A setting or a packaged file is missing or wrong: do not start."""


class InvalidTiers(Terminal):
    """A document of tier settings that cannot be used; the message names the place and what is wrong."""
