"""Owns the frames of the WebSocket: what clients may say (actions), what they are told (events).

`decode` turns bytes from outside into an action or a refusal; nothing else may read a frame. The
AsyncAPI file in docs/ describes the same, and tests hold the two together.
"""

import json

import msgspec

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import MESSAGE_ID_PATTERN, is_message_id, may_be_id
from chatcore.domain.moment import rfc3339
from chatcore.domain.run import FinishReason, Run, Status, Usage
from chatcore.domain.stream import MAX_FRAME_BYTES, Delta
from chatcore.domain.waiting import Wait

MAX_OFFSET = 10_000_000
MAX_EPOCH = 1_000_000


class _Action(msgspec.Struct, frozen=True, kw_only=True, tag_field="action"):
    """What a client sends. Unknown fields are passed over, so that newer clients are understood."""


class Send(_Action, frozen=True, kw_only=True, tag="send"):
    chat_id: str | None = None
    message_id: str
    text: str


class Cancel(_Action, frozen=True, kw_only=True, tag="cancel"):
    run_id: str


class Attach(_Action, frozen=True, kw_only=True, tag="attach"):
    run_id: str
    offset: int = 0
    epoch: int = 0


class Watch(_Action, frozen=True, kw_only=True, tag="watch"):
    chat_id: str


class Ping(_Action, frozen=True, kw_only=True, tag="ping"):
    pass


Action = Send | Cancel | Attach | Watch | Ping
_ACTIONS: dict[str, type[Send] | type[Cancel] | type[Attach] | type[Watch] | type[Ping]] = {
    "send": Send,
    "cancel": Cancel,
    "attach": Attach,
    "watch": Watch,
    "ping": Ping,
}


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What a client is told."""


class RunQueued(_Event, frozen=True, kw_only=True, tag="run.queued"):
    """epoch: what is told of a later one counts, whichever comes first; position: how many runs are
    before it; estimate_s: until it starts; both None where that is not known; look_again_s: an attach
    after so long is told anew."""

    run_id: str
    chat_id: str
    message_id: str
    epoch: int
    reason: str
    position: int | None
    estimate_s: float | None
    look_again_s: float


class RunStarted(_Event, frozen=True, kw_only=True, tag="run.started"):
    run_id: str
    chat_id: str
    message_id: str
    epoch: int
    offset: int


class RunDelta(_Event, frozen=True, kw_only=True, tag="run.delta"):
    run_id: str
    epoch: int
    offset: int
    text: str


class RunRewound(_Event, frozen=True, kw_only=True, tag="run.rewound"):
    run_id: str
    epoch: int
    offset: int


class UsageFields(msgspec.Struct, frozen=True, kw_only=True):
    input_tokens: int
    cached_tokens: int
    output_tokens: int


class RunCompleted(_Event, frozen=True, kw_only=True, tag="run.completed"):
    run_id: str
    chat_id: str
    message_id: str
    epoch: int
    length: int
    usage: UsageFields
    finish_reason: str


class RunFailed(_Event, frozen=True, kw_only=True, tag="run.failed"):
    run_id: str
    chat_id: str
    message_id: str | None
    epoch: int
    length: int
    code: str
    message: str
    usage: UsageFields | None


class RunCancelled(_Event, frozen=True, kw_only=True, tag="run.cancelled"):
    run_id: str
    chat_id: str
    message_id: str | None
    epoch: int
    length: int
    usage: UsageFields | None


class Error(_Event, frozen=True, kw_only=True, tag="error"):
    code: str
    message: str
    ref: str | None = None
    retry_at: str | None = None


class Pong(_Event, frozen=True, kw_only=True, tag="pong"):
    pass


Event = (
    RunQueued
    | RunStarted
    | RunDelta
    | RunRewound
    | RunCompleted
    | RunFailed
    | RunCancelled
    | Error
    | Pong
)

_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """The frame, as UTF-8 JSON."""
    return _encoder.encode(event)


def decode(frame: str) -> Action | Refusal:
    """The action in a frame, or why it is none. The text of a send is checked by the service."""
    # surrogatepass: a half pair in the frame itself must still be measured, not crash.
    if len(frame.encode("utf-8", "surrogatepass")) > MAX_FRAME_BYTES:
        return Refusal(Code.FRAME_TOO_LARGE, f"A frame has at most {MAX_FRAME_BYTES} bytes.")
    try:
        # The standard parser, since msgspec's refuses an escaped half of a surrogate pair as bad
        # JSON, and a client is owed the better answer (text_invalid).
        raw = json.loads(frame)
    except (ValueError, RecursionError):
        return Refusal(Code.FRAME_NOT_JSON, "The frame is not JSON.")
    if not isinstance(raw, dict):
        return Refusal(Code.FRAME_NOT_OBJECT, "The frame is not a JSON object.")
    name = raw.get("action")
    kind = _ACTIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        return Refusal(Code.ACTION_UNKNOWN, f"The action is none of {', '.join(sorted(_ACTIONS))}.")
    ref = _ref_of(raw)
    try:
        action = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        return Refusal(Code.FIELD_INVALID, f"A field is missing or wrong: {error}.", ref)
    return _check(action, ref)


def _check(action: Action, ref: str | None) -> Action | Refusal:
    if isinstance(action, Send) and not is_message_id(action.message_id):
        return Refusal(Code.FIELD_INVALID, f"message_id does not match {MESSAGE_ID_PATTERN}.", ref)
    if (
        isinstance(action, Send | Watch)
        and action.chat_id is not None
        and not may_be_id(action.chat_id)
    ):
        return Refusal(Code.CHAT_NOT_FOUND, "There is no such chat.", ref)
    if isinstance(action, Cancel | Attach) and not may_be_id(action.run_id):
        return Refusal(Code.RUN_NOT_FOUND, "There is no such run.", ref)
    if isinstance(action, Attach) and not 0 <= action.offset <= MAX_OFFSET:
        return Refusal(Code.FIELD_INVALID, f"offset is not within 0 and {MAX_OFFSET}.", ref)
    if isinstance(action, Attach) and not 0 <= action.epoch <= MAX_EPOCH:
        return Refusal(Code.FIELD_INVALID, f"epoch is not within 0 and {MAX_EPOCH}.", ref)
    return action


def _ref_of(raw: dict[str, object]) -> str | None:
    """The id that the client will recognise its frame by, where it has a usable one."""
    keys = ("chat_id",) if raw["action"] == "watch" else ("message_id", "run_id")
    for key in keys:
        value = raw.get(key)
        if isinstance(value, str) and may_be_id(value):
            return value
    return None


def error_for(refusal: Refusal) -> Error:
    return Error(
        code=refusal.code,
        message=refusal.message,
        ref=refusal.ref,
        retry_at=None if refusal.retry_at_ms is None else rfc3339(refusal.retry_at_ms),
    )


def queued_for(run: Run, wait: Wait) -> RunQueued:
    return RunQueued(
        run_id=run.run_id,
        chat_id=run.chat_id,
        message_id=run.message_id,
        epoch=run.epoch,
        reason=wait.reason,
        position=wait.position,
        estimate_s=None if wait.estimate_s is None else round(wait.estimate_s, 1),
        look_again_s=round(wait.look_again_s, 1),
    )


def started_for(run: Run, offset: int) -> RunStarted:
    return RunStarted(
        run_id=run.run_id,
        chat_id=run.chat_id,
        message_id=run.message_id,
        epoch=run.epoch,
        offset=offset,
    )


def delta_for(run: Run, delta: Delta) -> RunDelta:
    return RunDelta(run_id=run.run_id, epoch=run.epoch, offset=delta.offset, text=delta.text)


def usage_for(usage: Usage) -> UsageFields:
    return UsageFields(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
    )


FAILURE_WORDS = {
    Code.PROMPT_TOO_LONG: "The message is longer than the model can read at once. Please shorten it.",
    Code.ENGINE_UNAVAILABLE: "No engine could answer in time. Please try again.",
    Code.ENGINE_ERROR: "The engine failed while it answered. Please try again.",
    Code.ATTEMPTS_EXHAUSTED: "The answer broke off several times. Please try again.",
}


def ended_for(run: Run) -> RunCompleted | RunFailed | RunCancelled:
    """The event that tells the terminal state of a run that has ended."""
    message_id = run.answer_message_id if run.length else None
    if run.status is Status.COMPLETED:
        return RunCompleted(
            run_id=run.run_id,
            chat_id=run.chat_id,
            message_id=run.answer_message_id,
            epoch=run.epoch,
            length=run.length,
            usage=usage_for(run.usage or Usage()),
            finish_reason=run.finish_reason or FinishReason.STOP,
        )
    if run.status is Status.FAILED:
        code = run.failure or Code.INTERNAL_ERROR
        return RunFailed(
            run_id=run.run_id,
            chat_id=run.chat_id,
            message_id=message_id,
            epoch=run.epoch,
            length=run.length,
            code=code,
            message=FAILURE_WORDS.get(code, "The answer could not be made. Please try again."),
            usage=None if run.usage is None else usage_for(run.usage),
        )
    return RunCancelled(
        run_id=run.run_id,
        chat_id=run.chat_id,
        message_id=message_id,
        epoch=run.epoch,
        length=run.length,
        usage=None if run.usage is None else usage_for(run.usage),
    )
