"""Reading what the server says over the WebSocket.

Owns shapes only. What is not of a known shape is read as None and passed over: a newer server may say
more than this client understands, and API Gateway puts in frames of its own.
"""

import json
from typing import Any

from chat.transcript import Frame

MAX_FRAME_BYTES = 32_768

_TEXT, _COUNT, _SECONDS = (str,), (int,), (int, float)
_NOTHING = type(None)

_ENDED: dict[str, tuple[type, ...]] = {
    "run_id": _TEXT,
    "chat_id": _TEXT,
    "message_id": (str, _NOTHING),
    "epoch": _COUNT,
    "length": _COUNT,
    "usage": (dict, _NOTHING),
}
_SHAPES: dict[str, dict[str, tuple[type, ...]]] = {
    "run.queued": {
        "run_id": _TEXT,
        "chat_id": _TEXT,
        "message_id": _TEXT,
        "epoch": _COUNT,
        "reason": _TEXT,
        "position": (int, _NOTHING),
        "estimate_s": (int, float, _NOTHING),
        "look_again_s": _SECONDS,
    },
    "run.started": {
        "run_id": _TEXT,
        "chat_id": _TEXT,
        "message_id": _TEXT,
        "epoch": _COUNT,
        "offset": _COUNT,
    },
    "run.delta": {"run_id": _TEXT, "epoch": _COUNT, "offset": _COUNT, "text": _TEXT},
    "run.rewound": {"run_id": _TEXT, "epoch": _COUNT, "offset": _COUNT},
    "run.completed": {**_ENDED, "finish_reason": (str, _NOTHING)},
    "run.failed": {**_ENDED, "code": _TEXT, "message": _TEXT},
    "run.cancelled": _ENDED,
    "error": {
        "code": _TEXT,
        "message": _TEXT,
        "ref": (str, _NOTHING),
        "retry_at": (str, _NOTHING),
    },
    "pong": {},
}


def encode(frame: Frame) -> str:
    return json.dumps(frame, ensure_ascii=False)


def fits(frame: Frame) -> bool:
    """Whether the server takes a frame of this size."""
    # surrogatepass: half of a pair must still be measured; the server says what is wrong with it.
    return len(encode(frame).encode("utf-8", "surrogatepass")) <= MAX_FRAME_BYTES


def read(said: str | bytes) -> Frame | None:
    """The frame with exactly the fields that its type is known to have; those that may be null and are
    left out are None."""
    raw = _parsed(said)
    kind = raw.get("type")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        return None
    frame: Frame = {"type": kind}
    for name, kinds in shape.items():
        value = raw.get(name)
        if not _fits(value, kinds):
            return None
        frame[name] = value
    return frame


def is_of_gateway(said: str | bytes) -> bool:
    """Whether API Gateway itself says that an action failed: it could not run what takes it."""
    raw = _parsed(said)
    return "type" not in raw and isinstance(raw.get("message"), str)


def _parsed(said: str | bytes) -> dict[str, Any]:
    """Empty for what is no JSON object."""
    try:
        raw = json.loads(said)
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}


def _fits(value: Any, kinds: tuple[type, ...]) -> bool:  # noqa: ANN401 - JSON
    # A bool is an int to Python, and no count or time of ours is below zero.
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return not isinstance(value, int | float) or value >= 0
