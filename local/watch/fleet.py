"""Owns the state of the fleet as its log lines tell it: workers with their slots and runs, and the
figures of each tier. Pure: lines and times are given.

    run.claimed ──▶ in a slot ──▶ run.ended, run.handed_back, run.lost, run.left
                        │
                        └ claimed elsewhere: taken over from a worker that is silent

Lines of different processes come in about the order of their moments. A worker says something every
5 s; one that has been silent for longer than two of these is lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from chatcore.domain.ledger import cost_tokens
from chatcore.domain.run import Usage
from chatcore.domain.tiers import Tier, Tiers
from local.watch.line import Line
from local.watch.samples import Samples
from local.watch.sentences import Event, Events

SILENT_MS = 12_000
FORGOTTEN_MS = 60_000
"""After so long a worker that has gone or is lost is no longer shown."""

LAST_ANSWERS = 12


class Standing(StrEnum):
    READY = "ready"
    DRAINING = "draining"
    ENGINE_AWAY = "engine away"
    LOST = "lost"
    GONE = "gone"


@dataclass(slots=True)
class InSlot:
    """A run in a slot. reads: its engine has said nothing yet."""

    run_id: str
    tier: Tier
    epoch: int
    since_ms: int
    reads: bool = True


@dataclass(frozen=True, slots=True)
class Answered:
    """cached_share: of its prompt; prefix_tokens: what of it was hoped for, 0 in a new chat."""

    tier: Tier
    cached_share: float
    prefix_tokens: int
    at_favourite: bool


@dataclass(slots=True)
class Worker:
    """slots: 0 until it has told them; answers: the last ones; hits, hoped: of the answers in chats that
    had one before, those that were made by the worker that made it."""

    worker_id: str
    name: str
    heard_ms: int
    slots: int = 0
    offers: int = 0
    viewers: int = 0
    engine_away: bool = False
    draining: bool = False
    gone: bool = False
    runs: dict[str, InSlot] = field(default_factory=dict)
    answers: deque[Answered] = field(default_factory=lambda: deque(maxlen=LAST_ANSWERS))
    hits: int = 0
    hoped: int = 0

    def standing(self, now_ms: int) -> Standing:
        if self.gone:
            return Standing.GONE
        if now_ms - self.heard_ms > SILENT_MS:
            return Standing.LOST
        if self.draining:
            return Standing.DRAINING
        return Standing.ENGINE_AWAY if self.engine_away else Standing.READY


@dataclass(slots=True)
class Figures:
    """Of one tier. served: charged tokens, when they were settled; completed to preemptions: as many as
    there were at once; waiting to starts_per_s: as last told, waiting None before."""

    ttft_ms: Samples = field(default_factory=Samples)
    queue_ms: Samples = field(default_factory=Samples)
    itl_ms: Samples = field(default_factory=Samples)
    cancel_ms: Samples = field(default_factory=Samples)
    served: Samples = field(default_factory=Samples)
    completed: Samples = field(default_factory=Samples)
    failed: Samples = field(default_factory=Samples)
    cancelled: Samples = field(default_factory=Samples)
    rewinds: Samples = field(default_factory=Samples)
    preemptions: Samples = field(default_factory=Samples)
    sends: Samples = field(default_factory=Samples)
    refused: Samples = field(default_factory=Samples)
    budget_rejections: Samples = field(default_factory=Samples)
    busy: Samples = field(default_factory=Samples)
    faults: Samples = field(default_factory=Samples)
    waiting: int | None = None
    backlog_slot_s: float = 0.0
    starts_per_s: float = 0.0


_OF_ENDS = ("completed", "failed", "cancelled", "rewinds", "preemptions")
_OF_SENDS = ("sends", "refused", "budget_rejections", "busy", "faults")
_LEAVING = frozenset({"run.ended", "run.handed_back", "run.lost", "run.left"})


@dataclass(slots=True)
class Fleet:
    workers: dict[str, Worker] = field(default_factory=dict)
    tiers: dict[Tier, Figures] = field(default_factory=lambda: {tier: Figures() for tier in Tier})
    nobody: Figures = field(default_factory=Figures)
    """Of those who have not signed in."""
    events: Events = field(default_factory=Events)
    _lost: set[str] = field(default_factory=set)
    _paused: frozenset[Tier] | None = None

    def take(self, line: Line) -> None:
        """A line of a worker or of a function."""
        worker = self._worker(line) if line.text("service") == "worker" else None
        if worker is None:
            self._take_of_function(line)
            return
        former = self._former_holder(line, worker)
        run = worker.runs.get(line.run_id)
        # The line on a preemption is written by whoever needs the slot, without the run's own tier.
        tier = run.tier if run is not None else line.tier
        self.events.tell(line, worker.name, tier, former)
        self._take_of_worker(line, worker)
        self._measure(line, worker)

    def look(self, now_ms: int) -> None:
        """What follows from the time alone: who has been silent for too long, and who is forgotten."""
        for worker in list(self.workers.values()):
            silent_ms = now_ms - worker.heard_ms
            if worker.standing(now_ms) is Standing.LOST and worker.worker_id not in self._lost:
                self._lost.add(worker.worker_id)
                words = f"{worker.name} is lost: nothing heard for {silent_ms // 1000} s"
                # What is read of a log that was over long ago is no news.
                if silent_ms < FORGOTTEN_MS:
                    self.events.add(Event(now_ms, words, "bad"))
            if silent_ms > FORGOTTEN_MS:
                del self.workers[worker.worker_id]
                self._lost.discard(worker.worker_id)

    def adopt(self, tiers: Tiers, now_ms: int) -> None:
        """The tiers' settings as they stand: says which have been paused or go on."""
        paused = frozenset(tier for tier, limits in tiers.items() if limits.paused)
        if self._paused is not None:
            for tier in sorted(paused ^ self._paused):
                words = "is paused: its backlog waits" if tier in paused else "goes on"
                self.events.add(Event(now_ms, f"The tier {tier} {words}", "warn", tier))
        self._paused = paused

    def running(self, tier: Tier) -> int:
        return sum(
            run.tier is tier for worker in self.workers.values() for run in worker.runs.values()
        )

    def _worker(self, line: Line) -> Worker | None:
        if not line.worker_id:
            return None
        worker = self.workers.get(line.worker_id)
        if worker is None:
            worker = Worker(line.worker_id, line.source, line.at_ms)
            self.workers[line.worker_id] = worker
        worker.heard_ms = max(worker.heard_ms, line.at_ms)
        if line.worker_id in self._lost:
            self._lost.discard(line.worker_id)
        return worker

    def _former_holder(self, line: Line, worker: Worker) -> str:
        """The name of the worker that had the run until this line takes it over."""
        if line.name != "run.claimed":
            return ""
        for other in self.workers.values():
            if other is not worker and other.runs.pop(line.run_id, None) is not None:
                return other.name
        return ""

    def _take_of_worker(self, line: Line, worker: Worker) -> None:
        match line.name:
            case "worker.ready":
                worker.slots = line.count("slots")
            case "worker.slots":
                worker.slots = line.count("slots")
                worker.offers = line.count("offers")
                worker.viewers = line.count("viewers")
                worker.engine_away = not line.count("ready")
            case "engine.away" | "engine.ready":
                worker.engine_away = line.name == "engine.away"
            case "worker.draining":
                worker.draining = True
            case "worker.gone":
                worker.gone = True
                worker.runs.clear()
            case "run.claimed" if line.tier is not None:
                worker.runs[line.run_id] = InSlot(
                    line.run_id, line.tier, line.count("epoch"), line.at_ms
                )
            case "run.first_token" if line.run_id in worker.runs:
                worker.runs[line.run_id].reads = False
            case name if name in _LEAVING:
                worker.runs.pop(line.run_id, None)

    def _measure(self, line: Line, worker: Worker) -> None:
        if line.tier is None:
            return
        figures = self.tiers[line.tier]
        if line.name == "tier.backlog":
            figures.waiting = line.count("waiting")
            figures.backlog_slot_s = line.number("backlog_slot_s") or 0.0
            figures.starts_per_s = line.number("starts_per_s") or 0.0
            return
        # Where a line has no such figure, nothing is added.
        figures.queue_ms.add(line.at_ms, line.number("queue_ms"))
        figures.ttft_ms.add(line.at_ms, line.number("ttft_ms"))
        if line.name != "run.ended":
            return
        figures.itl_ms.add(line.at_ms, line.number("itl_ms"))
        figures.cancel_ms.add(line.at_ms, line.number("cancel_ms"))
        for name in _OF_ENDS:
            getattr(figures, name).add(line.at_ms, line.number(name))
        usage = Usage(
            line.count("input_tokens"), line.count("cached_tokens"), line.count("output_tokens")
        )
        figures.served.add(line.at_ms, cost_tokens(usage))
        answered = Answered(
            line.tier,
            line.number("cached_share") or 0.0,
            line.count("prefix_tokens"),
            bool(line.fields.get("at_favourite")),
        )
        if line.text("kind") == "answer" and usage.input_tokens:
            worker.answers.append(answered)
            worker.hoped += answered.prefix_tokens > 0
            worker.hits += answered.prefix_tokens > 0 and answered.at_favourite

    def _take_of_function(self, line: Line) -> None:
        self.events.tell(line, line.text("service"), line.tier)
        figures = self.nobody if line.tier is None else self.tiers[line.tier]
        for name in _OF_SENDS:
            getattr(figures, name).add(line.at_ms, line.number(name))
