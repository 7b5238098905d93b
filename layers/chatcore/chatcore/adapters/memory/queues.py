"""Owns lanes and inboxes in memory, with SQS's visibility but without its doubts.

Left out: duplicate and late deliveries, reordering, falsely empty short polls, retention. `receive`
never waits, whatever wait_s says: the simulation's clock decides when to look again.
"""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chatcore.domain import lease
from chatcore.domain.lanes import Lane
from chatcore.ports import Received
from chatcore.protocol.queue import Control, Job


@dataclass(slots=True)
class _Entry:
    job: Job
    sent_ms: int
    visible_ms: int
    handle: str = ""


@dataclass(slots=True)
class MemoryLanes:
    """now_ms: the clock that visibility is counted by."""

    now_ms: Callable[[], int]
    lock: threading.RLock = field(default_factory=threading.RLock)
    buried: list[tuple[Job, Mapping[str, str]]] = field(default_factory=list)
    _entries: dict[Lane, list[_Entry]] = field(default_factory=dict)
    _handles: "itertools.count[int]" = field(default_factory=itertools.count)

    def send(self, lane: Lane, job: Job, delay_s: int = 0) -> None:
        with self.lock:
            sent_ms = self.now_ms()
            entry = _Entry(job, sent_ms, sent_ms + delay_s * 1000)
            self._entries.setdefault(lane, []).append(entry)

    def waiting(self, lane: Lane) -> int:
        with self.lock:
            now_ms = self.now_ms()
            return sum(entry.visible_ms <= now_ms for entry in self._entries.get(lane, []))

    def receive(self, lane: Lane, wait_s: int) -> Received[Job] | None:
        with self.lock:
            for entry in self._entries.get(lane, []):
                if entry.visible_ms <= self.now_ms():
                    entry.handle = str(next(self._handles))
                    entry.visible_ms = self.now_ms() + lease.HIDDEN_S * 1000
                    return Received(entry.job, entry.handle, entry.sent_ms)
            return None

    def acknowledge(self, lane: Lane, handle: str) -> None:
        with self.lock:
            entries = self._entries.get(lane, [])
            self._entries[lane] = [entry for entry in entries if entry.handle != handle]

    def hide(self, lane: Lane, handle: str, seconds: int) -> None:
        with self.lock:
            for entry in self._entries.get(lane, []):
                if entry.handle == handle:
                    entry.visible_ms = self.now_ms() + seconds * 1000

    def bury(self, job: Job, why: Mapping[str, str]) -> None:
        with self.lock:
            self.buried.append((job, why))

    def soonest_ms(self, lane: Lane) -> int | None:
        """When the next of the jobs there can be received; None without any: for the simulation."""
        with self.lock:
            return min((e.visible_ms for e in self._entries.get(lane, [])), default=None)

    def holds(self, run_id: str) -> bool:
        """Whether a job of the run is in any lane, hidden ones too: for the same."""
        with self.lock:
            return any(e.job.run_id == run_id for lane in self._entries.values() for e in lane)

    def job_of(self, lane: Lane, handle: str) -> Job | None:
        """What that delivery holds, if it is there yet: for the same."""
        with self.lock:
            held = (e.job for e in self._entries.get(lane, []) if e.handle == handle)
            return next(held, None)

    def depth(self, lane: Lane) -> int:
        """Jobs in the lane, hidden ones too: for tests and invariants."""
        with self.lock:
            return len(self._entries.get(lane, []))


@dataclass(slots=True)
class MemoryInboxes:
    lock: threading.RLock = field(default_factory=threading.RLock)
    _controls: dict[str, list[Control]] = field(default_factory=dict)

    def open(self, worker_id: str) -> str:
        with self.lock:
            self._controls.setdefault(worker_id, [])
        return worker_id

    def close(self, worker_id: str) -> None:
        with self.lock:
            self._controls.pop(worker_id, None)

    def send(self, inbox: str, control: Control) -> bool:
        with self.lock:
            if inbox not in self._controls:
                return False
            self._controls[inbox].append(control)
            return True

    def receive(self, inbox: str, wait_s: int) -> Sequence[Control]:
        with self.lock:
            controls = self._controls.get(inbox, [])
            taken, controls[:] = controls[:10], controls[10:]
            return taken
