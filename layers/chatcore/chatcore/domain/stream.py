"""Owns how an answer becomes frames: what to send next, how much of it, and how soon.

Offsets are in Unicode code points, which is what `len` of a Python string counts. A frame's size is
in bytes on the wire.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_FRAME_BYTES = 32_768
"""API Gateway ends a connection that sends a larger frame (vendor's page: WebSocket quotas)."""

MAX_DELTA_BYTES = 24_000
"""Of text in one frame; the rest is room for its envelope."""

FLOOR_STEP_MS = 100
FLOOR_MAX_MS = 600


@dataclass(frozen=True, slots=True)
class Delta:
    offset: int
    text: str

    @property
    def end(self) -> int:
        return self.offset + len(self.text)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A piece of text that is durable. The first piece of an epoch starts at offset 0 and holds all
    that the epoch took over, so one epoch's pieces are the whole text."""

    run_id: str
    epoch: int
    offset: int
    text: str


def floor_ms(frames_sent: int) -> int:
    """The least time between the frame sent last and the next one on a connection.

    The first frames follow each other as fast as posts return; then the floor ramps up, as the reader
    has more and more before him that he has not read yet. A long answer takes fewer than two frames a
    second of the account's callback quota, and no reader waits for it (`make bench-stream`).
    """
    return min(FLOOR_MAX_MS, max(0, frames_sent - 1) * FLOOR_STEP_MS)


def next_delta(text: str, offset: int) -> Delta | None:
    """What of the text to send to somebody who has it up to offset; None when he has all.

    JSON escapes can make a character up to six bytes on the wire, so pieces are measured escaped.
    """
    if offset >= len(text):
        return None
    piece = text[offset : offset + MAX_DELTA_BYTES]
    while _wire_bytes(piece) > MAX_DELTA_BYTES:
        piece = piece[: max(1, len(piece) * MAX_DELTA_BYTES // _wire_bytes(piece) - 1)]
    return Delta(offset, piece)


def all_deltas(text: str, offset: int) -> list[Delta]:
    """The whole rest of the text, in pieces that each fit a frame."""
    deltas = []
    while (delta := next_delta(text, offset)) is not None:
        deltas.append(delta)
        offset = delta.end
    return deltas


@dataclass(frozen=True, slots=True)
class Place:
    """Where a viewer is: how much text he has, and the epoch that told it (0: he has none)."""

    offset: int = 0
    epoch: int = 0


def resume_at(place: Place, epoch: int, base: int, length: int) -> tuple[int, bool]:
    """Where a run of this epoch goes on for a viewer, and whether he has to cut back to there.

    base: the length that the epoch took over from the one before; length: the text there is. What a
    viewer has of the epoch before is shared up to the base: behind it the two may have told different
    things. Of still older epochs nothing is known to be shared.
    """
    if place.epoch == epoch or epoch <= 1:
        shared = length
    elif place.epoch == epoch - 1:
        shared = min(base, length)
    else:
        shared = 0
    offset = min(place.offset, shared)
    return offset, offset < place.offset


def taken_over(run_id: str, epoch: int, text: str) -> list[Checkpoint]:
    """The first pieces of an epoch: what it took over, even if that is nothing."""
    pieces = all_deltas(text, 0) or [Delta(0, "")]
    return [Checkpoint(run_id, epoch, piece.offset, piece.text) for piece in pieces]


def durable_text(checkpoints: Iterable[Checkpoint]) -> str:
    """The text that all may rely on: the newest epoch's pieces, joined from 0 up to the first gap.

    Pieces of older epochs are passed over: each epoch after the first writes what it took over before
    it says anything, and from then on nobody hears what a worker writes that has lost its lease.
    """
    by_epoch: dict[int, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        by_epoch.setdefault(checkpoint.epoch, []).append(checkpoint)
    for epoch in sorted(by_epoch, reverse=True):
        text = ""
        for checkpoint in sorted(by_epoch[epoch], key=lambda piece: piece.offset):
            if checkpoint.offset > len(text):
                break
            text = text[: checkpoint.offset] + checkpoint.text
        if any(checkpoint.offset == 0 for checkpoint in by_epoch[epoch]):
            return text
    return ""


def _wire_bytes(text: str) -> int:
    escaped = text.translate(_ESCAPED)
    return len(escaped.encode("utf-8"))


_ESCAPED = dict.fromkeys(range(32), "\\u0000") | {ord('"'): '\\"', ord("\\"): "\\\\"}
