"""Owns state machines in memory. Left out: the executions themselves; what would be started, or told to one
that waits, is only noted."""

from dataclasses import dataclass, field

from chatcore.domain.export import ExportState
from chatcore.domain.summary import SummaryAsked


@dataclass(slots=True)
class MemoryPurges:
    """started: the chats whose purge was started, once each."""

    started: set[tuple[str, str]] = field(default_factory=set)

    def start(self, user_id: str, chat_id: str) -> None:
        self.started.add((user_id, chat_id))


@dataclass(slots=True)
class MemoryAccountPurges:
    """started: the users whose purge was started."""

    started: set[str] = field(default_factory=set)

    def start(self, user_id: str) -> None:
        self.started.add(user_id)


@dataclass(slots=True)
class MemoryExportJobs:
    """states: of the exports that were started, by user and export; a test says how they end."""

    states: dict[tuple[str, str], ExportState] = field(default_factory=dict)

    def start(self, user_id: str, export_id: str) -> None:
        self.states.setdefault((user_id, export_id), ExportState.PREPARING)

    def state(self, user_id: str, export_id: str) -> ExportState | None:
        return self.states.get((user_id, export_id))


@dataclass(slots=True)
class MemoryCompactions:
    """started: what was asked for, once each, in its order."""

    started: list[SummaryAsked] = field(default_factory=list)

    def start(self, asked: SummaryAsked) -> None:
        if asked not in self.started:
            self.started.append(asked)


@dataclass(slots=True)
class MemoryWaits:
    """waiting: the tokens of steps that wait; outcomes: what those were told that do not any more, an
    empty code for success; beats: how often each was told that its run is being worked on."""

    waiting: set[str] = field(default_factory=set)
    outcomes: dict[str, str] = field(default_factory=dict)
    beats: dict[str, int] = field(default_factory=dict)

    def succeed(self, token: str) -> None:
        self._end(token, "")

    def fail(self, token: str, code: str, cause: str) -> None:
        self._end(token, code)

    def beat(self, token: str) -> bool:
        if token not in self.waiting:
            return False
        self.beats[token] = self.beats.get(token, 0) + 1
        return True

    def _end(self, token: str, code: str) -> None:
        if token in self.waiting:
            self.waiting.remove(token)
            self.outcomes[token] = code
