"""Owns what a client makes of one run's frames: the rules of the web client's transcript.ts, in small.

Text of one epoch agrees at every offset. Across epochs only what is durable does, unless the new
epoch follows directly on the known one and says where it began.
"""

from dataclasses import dataclass
from typing import Any

OVER = frozenset({"completed", "failed", "cancelled"})


@dataclass(slots=True)
class Transcript:
    run_id: str
    status: str = "queued"
    epoch: int = 0
    text: str = ""
    durable: int = 0
    rewinds: int = 0
    """How often text that had been shown was taken back."""

    @property
    def over(self) -> bool:
        return self.status in OVER

    def apply(self, frame: dict[str, Any]) -> int | None:
        """Take a frame in; returns the offset to attach from where text is missing."""
        kind = frame["type"]
        if self.over or kind == "run.queued" or frame["epoch"] < self.epoch:
            return None
        if kind in ("run.started", "run.rewound"):
            self._begin(frame["epoch"], frame["offset"], kind == "run.rewound")
            return None
        self._enter(frame["epoch"])
        if kind == "run.delta":
            return self._add(frame["offset"], frame["text"])
        if frame["length"] > len(self.text):
            return len(self.text)
        self._cut(frame["length"])
        self.status = kind.removeprefix("run.")
        return None

    def _begin(self, epoch: int, offset: int, rewound: bool) -> None:
        if epoch == self.epoch:
            if rewound:
                self._cut(offset)
        elif epoch == self.epoch + 1:
            self._cut(offset)
            self.epoch, self.durable = epoch, len(self.text)
        else:
            self._enter(epoch)
            self._cut(offset)
        self.status = "running"

    def _add(self, offset: int, text: str) -> int | None:
        self.status = "running"
        if offset > len(self.text):
            return len(self.text)
        self.text += text[len(self.text) - offset :]
        return None

    def _enter(self, epoch: int) -> None:
        if epoch != self.epoch:
            self._cut(self.durable)
            self.epoch = epoch

    def _cut(self, length: int) -> None:
        if length < len(self.text):
            self.text = self.text[:length]
            self.durable = min(self.durable, length)
            self.rewinds += 1
