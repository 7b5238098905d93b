"""One run's answer as a viewer knows it: frames in, text out. Pure.

Owns the rule that what is shown at the end is what is stored, whatever order, repeats and losses the
frames come with (docs/protocol.md, "Keeping the text"). Must not know of sockets, time or terminals.

Text of one epoch agrees at every offset. Across epochs only what is durable does, unless the new epoch
follows directly on the known one and says where it began.
"""

from dataclasses import dataclass
from typing import Any, Literal

Frame = dict[str, Any]
Status = Literal["queued", "running", "completed", "failed", "cancelled"]

ENDS: dict[str, Status] = {
    "run.completed": "completed",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Wait:
    """epoch: the attempt after which the run waits, 0 before any; position: how many runs are before it;
    estimate_s: until it starts; both None where that is not known."""

    epoch: int
    reason: str
    position: int | None
    estimate_s: float | None


@dataclass(slots=True)
class Transcript:
    """Lengths and counts are in code points. chat_id, message_id: empty until they are told; message_id
    is the user's; durable: so many leading ones stay in every later epoch; end: the terminal event;
    longest: the most that was ever shown; repeated: came though it was there; rewound: was shown and
    cut away."""

    run_id: str
    chat_id: str = ""
    message_id: str = ""
    status: Status = "queued"
    wait: Wait | None = None
    epoch: int = 0
    text: str = ""
    durable: int = 0
    end: Frame | None = None
    longest: int = 0
    repeated: int = 0
    rewound: int = 0

    @property
    def is_over(self) -> bool:
        return self.end is not None

    def apply(self, frame: Frame) -> int | None:
        """Take a frame in; returns the offset to attach from where text is missing."""
        kind = frame["type"]
        if kind in ("run.queued", "run.started"):
            # What the run answers is told by these alone, so even a late one is heard for that.
            self.chat_id, self.message_id = frame["chat_id"], frame["message_id"]
        if self.is_over:
            return None
        if kind == "run.queued":
            self._waits(frame)
            return None
        if frame["epoch"] < self.epoch:
            return None
        if kind in ("run.started", "run.rewound"):
            self._begin(frame["epoch"], frame["offset"], kind == "run.rewound")
            return None
        self._enter(frame["epoch"])
        if kind == "run.delta":
            return self._add(frame["epoch"], frame["offset"], frame["text"])
        return self._end(frame) if kind in ENDS else None

    def _waits(self, frame: Frame) -> None:
        """It may come late, from before an attempt that is known already."""
        known = self.wait.epoch if self.wait else 0
        if frame["epoch"] >= max(self.epoch, known):
            self.wait = Wait(
                frame["epoch"], frame["reason"], frame["position"], frame["estimate_s"]
            )

    def _runs(self, epoch: int) -> None:
        self.status = "running"
        if self.wait is not None and epoch > self.wait.epoch:
            self.wait = None

    def _begin(self, epoch: int, offset: int, rewound: bool) -> None:
        if epoch == self.epoch:
            # A start that is heard again (attach answers with it) takes nothing back.
            if rewound:
                self._cut(offset)
        elif epoch == self.epoch + 1:
            self._cut(offset)
            self.epoch, self.durable = epoch, len(self.text)
        else:
            # An attempt in between was missed: it may have replaced what lies before this offset.
            self._enter(epoch)
            self._cut(offset)
        self._runs(epoch)

    def _add(self, epoch: int, offset: int, text: str) -> int | None:
        self._runs(epoch)
        if offset > len(self.text):
            return len(self.text)
        known = len(self.text) - offset
        self.repeated += min(known, len(text))
        self.text += text[known:]
        self.longest = max(self.longest, len(self.text))
        return None

    def _end(self, frame: Frame) -> int | None:
        """The end is believed only once all text before it is here; the replay repeats it."""
        if frame["length"] > len(self.text):
            return len(self.text)
        self._cut(frame["length"])
        self.chat_id = frame["chat_id"]
        self.status, self.wait, self.end = ENDS[frame["type"]], None, frame
        return None

    def _enter(self, epoch: int) -> None:
        if epoch != self.epoch:
            self._cut(self.durable)
            self.epoch = epoch

    def _cut(self, length: int) -> None:
        if length < len(self.text):
            self.rewound += len(self.text) - length
            self.text = self.text[:length]
            self.durable = min(self.durable, length)
