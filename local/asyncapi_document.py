"""The AsyncAPI description of the WebSocket.

Owns the prose and the examples. Names, types and which fields must be there come from the frames of
`chatcore.protocol.websocket`; a field or a frame without a word here stops the writing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec
import yaml

from chatcore.domain.errors import Code
from chatcore.domain.identity import MESSAGE_ID_PATTERN
from chatcore.domain.run import FinishReason
from chatcore.domain.stream import MAX_FRAME_BYTES
from chatcore.domain.waiting import Reason
from chatcore.protocol import websocket as ws
from chatcore.services.tickets import LIFETIME_MS

Schema = dict[str, Any]

_RUN = "r_nrsn3kx5zq6rjmx3v7c2nqk4ha"
_CHAT = "c_5wq2m7h3tqkz4ne6yd2x7r5pla"
_QUESTION = "k3V9xQz1-2b7f"
_ANSWER = "m_z6u4w2yc3kqh5d7n2rtx6gmepa"
_USAGE = ws.UsageFields(input_tokens=58, cached_tokens=32, output_tokens=24)

# One of each frame, in the order of the document.
ACTION_EXAMPLES: tuple[ws.Action, ...] = (
    ws.Send(chat_id=None, message_id=_QUESTION, text="My dog is called Biscuit."),
    ws.Cancel(run_id=_RUN),
    ws.Attach(run_id=_RUN, offset=412, epoch=1),
    ws.Watch(chat_id=_CHAT),
    ws.Ping(),
)
EVENT_EXAMPLES: tuple[ws.Event, ...] = (
    ws.RunQueued(
        run_id=_RUN,
        chat_id=_CHAT,
        message_id=_QUESTION,
        epoch=0,
        reason=Reason.BUSY,
        position=12,
        estimate_s=8.5,
        look_again_s=5.0,
    ),
    ws.RunStarted(run_id=_RUN, chat_id=_CHAT, message_id=_QUESTION, epoch=1, offset=0),
    ws.RunDelta(run_id=_RUN, epoch=1, offset=0, text="I have noted"),
    ws.RunRewound(run_id=_RUN, epoch=2, offset=380),
    ws.RunCompleted(
        run_id=_RUN,
        chat_id=_CHAT,
        message_id=_ANSWER,
        epoch=1,
        length=96,
        usage=_USAGE,
        finish_reason=FinishReason.STOP,
    ),
    ws.RunFailed(
        run_id=_RUN,
        chat_id=_CHAT,
        message_id=None,
        epoch=4,
        length=0,
        code=Code.ENGINE_UNAVAILABLE,
        message=ws.FAILURE_WORDS[Code.ENGINE_UNAVAILABLE],
        usage=ws.UsageFields(input_tokens=0, cached_tokens=0, output_tokens=0),
    ),
    ws.RunCancelled(
        run_id=_RUN, chat_id=_CHAT, message_id=_ANSWER, epoch=1, length=40, usage=_USAGE
    ),
    ws.Error(
        code=Code.BUDGET_EXHAUSTED,
        message="Your token budget is used up for now.",
        ref=_QUESTION,
        retry_at="2026-11-22T21:48:28.123Z",
    ),
    ws.Pong(),
)

_SUMMARIES: Mapping[str, str] = {
    "Send": "Ask: make a message, and a run that answers it. Saying it again is safe.",
    "Cancel": "Stop a run. Its end is told to all its viewers.",
    "Attach": "Follow a run from a place in its text on, whatever state it is in.",
    "Watch": "Be told of each run of a chat from its beginning, whoever sends it.",
    "Ping": "Keep an idle connection open.",
    "RunQueued": "The run waits for a slot: at first, or again. May come after run.started.",
    "RunStarted": "A worker has the run, or answers an attach: text follows from offset on.",
    "RunDelta": "A piece of the answer.",
    "RunRewound": "Cut the text back to offset: what was behind it is void.",
    "RunCompleted": "The answer is whole and stored.",
    "RunFailed": "The run is over without a whole answer. What there is of it is stored.",
    "RunCancelled": "The run was stopped, or given up by all. What there is of its answer is stored.",
    "Error": "An action was refused, or could not be done.",
    "Pong": "The answer to a ping.",
    "UsageFields": "What the engine did for the answer, in its own tokens.",
}

_POSITION: Schema = {"minimum": 0}
_EPOCH: Schema = {"minimum": 0, "description": "Number of the run's attempt that this belongs to."}
_LENGTH: Schema = {
    "minimum": 0,
    "description": "Code points of the stored answer: what the client must now have.",
}
_ANSWER_ID: Schema = {"description": "Id of the answer; null where there is no text of it."}

# By "Frame.field", else by "field".
_FIELDS: Mapping[str, Schema] = {
    "action": {"description": "Which action this is."},
    "type": {"description": "Which event this is."},
    "run_id": {"description": "The run. It follows from the user and the message_id of the send."},
    "chat_id": {"description": "The chat that the run belongs to."},
    "message_id": {"description": "Id of the user's message that the run answers."},
    "epoch": _EPOCH,
    "length": _LENGTH,
    "usage": {"description": "Over all epochs of the run."},
    "Send.chat_id": {"description": "The chat that it goes into; null or absent makes a new one."},
    "Send.message_id": {
        "pattern": MESSAGE_ID_PATTERN,
        "description": "Made by the client, unique for the user. The same id and text: a repeat.",
    },
    "Send.text": {
        "minLength": 1,
        "description": "Not only white space; the plan's max_text_chars is told by GET /me.",
    },
    "Watch.chat_id": {"description": "A chat of the user's."},
    "Attach.offset": {
        **_POSITION,
        "maximum": ws.MAX_OFFSET,
        "description": "Code points of the answer that the client has.",
    },
    "Attach.epoch": {
        "minimum": 0,
        "maximum": ws.MAX_EPOCH,
        "description": "The epoch that told them; 0 where it is not known.",
    },
    "RunQueued.epoch": {
        "minimum": 0,
        "description": "The attempt after which it waits, 0 before any. Void where a later one is known.",
    },
    "RunQueued.reason": {
        "enum": list(Reason),
        "description": (
            "starting: nobody is before it. busy: others are. own_runs: an earlier run of the same "
            "user is. resuming: it had a slot, and goes on with the text that it has."
        ),
    },
    "RunQueued.position": {
        "description": "How many runs are before it; null where that is not known."
    },
    "RunQueued.estimate_s": {
        "description": "Seconds until it starts, about; null where that is not known."
    },
    "RunQueued.look_again_s": {
        "description": "An attach after so many seconds is told anew, if the run still waits."
    },
    "RunStarted.offset": {
        **_POSITION,
        "description": "Where the text that follows begins, in code points.",
    },
    "RunDelta.offset": {
        **_POSITION,
        "description": "Where the text begins in the answer, in code points.",
    },
    "RunDelta.text": {"minLength": 1, "description": "Whole code points, never half of one."},
    "RunRewound.offset": {**_POSITION, "description": "How many code points stay."},
    "RunCompleted.message_id": {"description": "Id of the answer."},
    "RunCompleted.finish_reason": {
        "enum": [FinishReason.STOP, FinishReason.LENGTH],
        "description": "stop: the engine was done. length: the plan's max_output_tokens cut it.",
    },
    "RunFailed.message_id": _ANSWER_ID,
    "RunFailed.code": {
        "enum": [*ws.FAILURE_WORDS, Code.INTERNAL_ERROR],
        "description": "Why, in a stable word (see errors.md).",
    },
    "RunFailed.message": {"description": "The same as a sentence for the person."},
    "RunFailed.usage": {"description": "Over all epochs of the run; null where it is not known."},
    "RunCancelled.message_id": _ANSWER_ID,
    "RunCancelled.usage": {"description": "Over all epochs of the run; null where none began."},
    "Error.code": {"enum": list(Code), "description": "A stable word (see errors.md)."},
    "Error.message": {"description": "One sentence for the person."},
    "Error.ref": {
        "description": "message_id of the send, or run_id or chat_id, that this answers."
    },
    "Error.retry_at": {"description": "When the same may succeed (RFC 3339), where it is known."},
    "UsageFields.input_tokens": {"minimum": 0, "description": "Of the prompt."},
    "UsageFields.cached_tokens": {"minimum": 0, "description": "Of those, what a cache held."},
    "UsageFields.output_tokens": {"minimum": 0, "description": "Of the answer."},
}

_ENDS = (ws.RunCompleted, ws.RunFailed, ws.RunCancelled)
_TEXT = (ws.RunStarted, ws.RunDelta, ws.RunRewound)
# What the sender of an action may be told because of it.
_REPLIES: Mapping[str, Sequence[type]] = {
    "Send": (ws.RunQueued, *_TEXT, *_ENDS, ws.Error),
    "Cancel": (*_ENDS, ws.Error),
    "Attach": (ws.RunQueued, *_TEXT, *_ENDS, ws.Error),
    "Watch": (ws.Error,),
    "Ping": (ws.Pong,),
}


def text() -> str:
    """The document, as YAML."""
    return yaml.safe_dump(
        msgspec.to_builtins(document()), sort_keys=False, allow_unicode=True, width=100
    )


def document() -> Schema:
    """The document, as a tree."""
    actions, events = get_args(ws.Action), get_args(ws.Event)
    examples = {type(frame).__name__: frame for frame in (*ACTION_EXAMPLES, *EVENT_EXAMPLES)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "chatcore WebSocket API",
            "version": "1",
            "description": (
                "Sends, answers as they are made, cancels. docs/protocol.md tells how a client "
                f"uses it. Frames are JSON objects in text frames of at most {MAX_FRAME_BYTES} "
                "bytes. Fields and events that a client does not know are to be passed over."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "aws": {
                "host": "{api_id}.execute-api.{region}.amazonaws.com",
                "pathname": "/v1",
                "protocol": "wss",
                "description": "The stack's output WsUrl.",
                "variables": {
                    "api_id": {"description": "Id of the WebSocket API."},
                    "region": {"default": "us-east-1", "description": "AWS region."},
                },
                "security": [{"$ref": "#/components/securitySchemes/ticket"}],
            }
        },
        "channels": {
            "socket": {
                "address": "/",
                "description": "One connection. It may follow any number of the user's runs.",
                "messages": {
                    _key(kind): {"$ref": f"#/components/messages/{kind.__name__}"}
                    for kind in (*actions, *events)
                },
                "bindings": {
                    "ws": {
                        "query": {
                            "type": "object",
                            "required": ["ticket"],
                            "properties": {
                                "ticket": {"type": "string", "description": "From POST /tickets."}
                            },
                        }
                    }
                },
            }
        },
        "operations": {
            **{kind.__name__.lower(): _operation(kind) for kind in actions},
            "tell": {
                "action": "send",
                "channel": _SOCKET,
                "summary": "Whatever a viewer of a run is told, in reply to an action or later.",
                "messages": _references(events),
            },
        },
        "components": {
            "messages": {
                kind.__name__: {
                    "name": _tag(kind),
                    "summary": _SUMMARIES[kind.__name__],
                    "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
                    "examples": [{"payload": msgspec.to_builtins(examples[kind.__name__])}],
                }
                for kind in (*actions, *events)
            },
            "schemas": schemas([*actions, *events]),
            "securitySchemes": {
                "ticket": {
                    "type": "httpApiKey",
                    "name": "ticket",
                    "in": "query",
                    "description": (
                        "A ticket of POST /tickets: works once, within "
                        f"{LIFETIME_MS // 1000} seconds."
                    ),
                }
            },
        },
    }


def schemas(kinds: Sequence[type]) -> dict[str, Schema]:
    """The JSON schema of each frame and of what it is made of, by name."""
    _, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    for name, schema in components.items():
        schema["description"] = _SUMMARIES[name]
        for field, of_field in schema["properties"].items():
            words = _FIELDS.get(f"{name}.{field}") or _FIELDS[field]
            of_field.update(words)
    return components


_SOCKET = {"$ref": "#/channels/socket"}


def _operation(kind: type) -> Schema:
    return {
        "action": "receive",
        "channel": _SOCKET,
        "summary": _SUMMARIES[kind.__name__],
        "messages": _references([kind]),
        "reply": {"channel": _SOCKET, "messages": _references(_REPLIES[kind.__name__])},
    }


def _references(kinds: Sequence[type]) -> list[Schema]:
    return [{"$ref": f"#/channels/socket/messages/{_key(kind)}"} for kind in kinds]


def _key(kind: type) -> str:
    name = kind.__name__
    return name[0].lower() + name[1:]


def _tag(kind: type) -> str:
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]
