"""Owns a run while this worker makes its answer: the whole text, how far it was shown, its lease."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from chatcore.domain import lease
from chatcore.domain.context_plan import ContextPlan
from chatcore.domain.ledger import cost_tokens, virtual
from chatcore.domain.run import Kind, Run, Usage
from chatcore.domain.stream import Checkpoint, all_deltas
from gpu_service.worker.timings import Timings


class Stop(StrEnum):
    """Why an answer is broken off before the engine has finished it."""

    CANCEL = "cancel"
    LOST = "lost"
    """The lease is somebody else's: say nothing more."""
    ABANDON = "abandon"
    """Its last viewer has left, and the tier's grace is over."""
    DRAIN = "drain"
    """The worker is leaving: hand the run back."""
    PREEMPT = "preempt"
    """A higher tier needs the slot: hand the run back."""


class Viewer(Protocol):
    def has_more(self) -> None:
        """There is more text. Called for each token: it must cost next to nothing."""

    def wake(self) -> None:
        """There is something other than text to tell: look at once."""


@dataclass(slots=True)
class LiveRun:
    """text: all of the answer so far, former epochs' part included; base: their part's length; shown:
    the greatest offset that was put into a frame; durable: the length that checkpoints hold; usage: of
    this epoch; alone_since_ms: when the last of its viewers left, None while there are some, or where
    there never were; charged: what its user's account holds for it, in virtual time; dispatched: that
    account knows that it has a slot; context: how its prompt was made up; frozen: its text will not
    change any more; gone: connections that were found closed; keeping: held by whoever writes its
    checkpoints, lease and visibility, which are not ours any more once it is handed back."""

    run: Run
    text: str
    base: int
    now_ms: Callable[[], int]
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    shown: int = 0
    durable: int = 0
    ended: Run | None = None
    stop: Stop | None = None
    alone_since_ms: int | None = None
    charged: int = 0
    dispatched: asyncio.Event = field(default_factory=asyncio.Event)
    generation: "asyncio.Task[None] | None" = None
    context: ContextPlan | None = None
    frozen: bool = False
    handed_back: bool = False
    gone: set[str] = field(default_factory=set)
    keeping: asyncio.Lock = field(default_factory=asyncio.Lock)
    _viewers: dict[str, Viewer] = field(default_factory=dict)

    def join(self, connection_id: str, viewer: Viewer) -> None:
        self._viewers[connection_id] = viewer
        self.alone_since_ms = None

    def leave(self, connection_id: str) -> None:
        if self._viewers.pop(connection_id, None) is not None and not self._viewers:
            self.alone_since_ms = self.now_ms()

    def changed(self) -> None:
        for viewer in self._viewers.values():
            viewer.wake()

    def append(self, text: str) -> None:
        if not self.frozen:
            self.text += text
            for viewer in self._viewers.values():
                viewer.has_more()

    def break_off(self, why: Stop) -> None:
        """Stop the engine's work on it, now. The first reason stands, but losing the lease beats all."""
        if self.ended is not None or (self.stop is not None and why is not Stop.LOST):
            return
        if (
            why in (Stop.DRAIN, Stop.PREEMPT)
            and self.generation is not None
            and self.generation.done()
        ):
            # All of it is there: ending it takes no longer than handing it back.
            return
        self.stop = why
        self.changed()
        if self.generation is not None:
            self.generation.cancel()

    def cut_to_shown(self) -> None:
        """Keep what somebody may have seen; all of it where nobody was looking."""
        if self.run.viewers:
            self.text = self.text[: self.shown]
        self.frozen = True

    @property
    def is_background(self) -> bool:
        return self.run.kind is not Kind.ANSWER

    @property
    def silenced(self) -> bool:
        """Whether nothing of this epoch will ever be said again here."""
        return self.ended is None and self.stop is Stop.LOST

    def may_speak(self) -> bool:
        """Whether frames of this epoch may go out: its lease holds, or its end is committed."""
        if self.silenced:
            return False
        return self.ended is not None or lease.may_speak(self.now_ms(), self.run.lease_until_ms)

    def add_viewer(self, connection_id: str) -> None:
        self.run = replace(self.run, viewers=self.run.viewers | {connection_id})

    def renewed(self, run: Run) -> None:
        self.run = replace(
            self.run,
            lease_until_ms=run.lease_until_ms,
            viewers=run.viewers,
            cancel_requested=run.cancel_requested,
        )

    def next_checkpoints(self) -> list[Checkpoint]:
        """The pieces that make all of the text durable. An epoch's first starts at 0 (see `stream`)."""
        return [
            Checkpoint(self.run.run_id, self.run.epoch, delta.offset, delta.text)
            for delta in all_deltas(self.text, self.durable)
        ]

    def total(self) -> Usage:
        return self.run.spent + self.usage

    def cost(self) -> int:
        """So far, in virtual time: over all epochs, those among them whose workers died."""
        return virtual(cost_tokens(self.total()), self.run.weight) + self.run.lost
