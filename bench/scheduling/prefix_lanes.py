"""Where turns wait: one line, or each user's by start-time fair queueing.

What the fleet asks of them is what shared lanes can do. A copy of a run that another worker has begun
is passed over, as a worker acknowledges it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict, deque
from dataclasses import dataclass, field

from bench.scheduling.prefix_trace import Turn

FRONT_TOKENS = 10_000.0
"""Of virtual time: about what a request of this trace costs."""


class Lanes(ABC):
    @abstractmethod
    def arrive(self, turn: Turn) -> None:
        """It can be taken from now on: a new one, or one that had been hidden."""

    @abstractmethod
    def take(self) -> Turn | None:
        """The next one, taken from the front."""

    @abstractmethod
    def waiting(self) -> bool: ...

    def is_front(self, turn: Turn) -> bool:
        """Whether it belongs to the front lane, were it to arrive now."""
        return True

    def charge(self, turn: Turn, tokens: float) -> None:  # noqa: B027 - not all keep an account
        """Its user was served them."""


@dataclass
class Fcfs(Lanes):
    """First come, first served."""

    line: deque[Turn] = field(default_factory=deque)

    def arrive(self, turn: Turn) -> None:
        self.line.append(turn)

    def take(self) -> Turn | None:
        return self.line.popleft() if self.waiting() else None

    def waiting(self) -> bool:
        _drop_begun(self.line)
        return bool(self.line)


@dataclass
class ByUser(Lanes):
    """Start-time fair queueing by user (Goyal et al., SIGCOMM 1996), with as many lanes as it takes. Tags
    are looked up when a turn is taken, so what the user was served meanwhile counts.

    virtual: the greatest start tag taken so far; served: each user's tag.
    """

    virtual: float = 0.0
    served: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    lines: dict[str, deque[Turn]] = field(default_factory=dict)

    def arrive(self, turn: Turn) -> None:
        line = self.lines.setdefault(turn.user, deque())
        _drop_begun(line)
        if not line:
            self.served[turn.user] = max(self.served[turn.user], self.virtual)
        line.append(turn)

    def take(self) -> Turn | None:
        if not self.waiting():
            return None
        user = min(self.lines, key=lambda each: (self.served[each], self.lines[each][0].arrived_s))
        self.virtual = max(self.virtual, self.served[user])
        return self.lines[user].popleft()

    def waiting(self) -> bool:
        for user, line in list(self.lines.items()):
            _drop_begun(line)
            if not line:
                del self.lines[user]
        return bool(self.lines)

    def is_front(self, turn: Turn) -> bool:
        # Where nobody waits, virtual time has moved on to whoever comes.
        return self.served[turn.user] <= self.virtual + FRONT_TOKENS or not self.waiting()

    def charge(self, turn: Turn, tokens: float) -> None:
        self.served[turn.user] += tokens


def _drop_begun(line: deque[Turn]) -> None:
    while line and line[0].worker is not None:
        line.popleft()
