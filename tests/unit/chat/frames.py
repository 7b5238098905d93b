"""Frames of one run, as its server would say them."""

from typing import Any


def frame(kind: str, epoch: int = 1, **fields: Any) -> dict[str, Any]:
    return {"type": f"run.{kind}", "run_id": "r_1", "epoch": epoch, **fields}


def queued(epoch: int = 0, position: int | None = 3, look_again_s: float = 5.0) -> dict[str, Any]:
    told = {"reason": "busy", "position": position, "estimate_s": 2.0, "look_again_s": look_again_s}
    return frame("queued", epoch, chat_id="c_1", message_id="m_1", **told)


def started(epoch: int = 1, offset: int = 0) -> dict[str, Any]:
    return frame("started", epoch, chat_id="c_1", message_id="m_1", offset=offset)


def delta(offset: int, text: str, epoch: int = 1) -> dict[str, Any]:
    return frame("delta", epoch, offset=offset, text=text)


def ended(kind: str, length: int, epoch: int = 1) -> dict[str, Any]:
    usage = {"input_tokens": 3, "cached_tokens": 0, "output_tokens": 2}
    more = {"code": "engine_error", "message": "It failed."} if kind == "failed" else {}
    return frame(
        kind,
        epoch,
        chat_id="c_1",
        message_id="m_2",
        length=length,
        usage=usage,
        finish_reason="stop" if kind == "completed" else None,
        **more,
    )


def error(code: str, ref: str | None) -> dict[str, Any]:
    return {"type": "error", "code": code, "message": "No.", "ref": ref, "retry_at": None}
