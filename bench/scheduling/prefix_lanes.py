"""Where turns wait: one line, or the product's accounts and calendar lanes.

What the fleet asks of them is what shared lanes can do. A turn whose turn it was, and that was left to
its favourite or offered to it, comes back before all others. A copy of a run that another worker has
begun is passed over, as a worker acknowledges it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field

from bench.scheduling.ours import Shared
from bench.scheduling.prefix_trace import Turn
from bench.scheduling.requests import Request
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.domain.waiting import Reason


class Lanes(ABC):
    """now_s: the fleet's clock."""

    now_s: float = 0.0

    def admit(self, turn: Turn) -> None:  # noqa: B027 - not all keep an account
        """It comes new; it is put in no lane yet."""

    @abstractmethod
    def is_next(self, turn: Turn) -> bool:
        """Of one just admitted: whether nobody is before it, so that it may be offered."""

    @abstractmethod
    def put(self, turn: Turn) -> None:
        """It was admitted, and can be taken when its turn comes."""

    @abstractmethod
    def give_back(self, turn: Turn) -> None:
        """Its turn has come, and it can be taken from now on."""

    @abstractmethod
    def take(self, contended: bool) -> Turn | None:
        """The next one. contended: others may be waiting for the slot."""

    def begin(self, turn: Turn) -> None:  # noqa: B027
        """It has a slot."""

    def charge(self, turn: Turn, made_tokens: int) -> None:  # noqa: B027
        """Its prompt is read, and so much of its answer is made."""

    def end(self, turn: Turn) -> None:  # noqa: B027
        """It has its answer."""

    def publish(self) -> None:  # noqa: B027
        """What waits, every few seconds, for those who come."""

    @property
    def moves(self) -> int:
        """Jobs that were put into a later lane when they were pulled."""
        return 0


@dataclass
class Fcfs(Lanes):
    """First come, first served."""

    line: deque[Turn] = field(default_factory=deque)

    def is_next(self, turn: Turn) -> bool:
        return not self.line

    def put(self, turn: Turn) -> None:
        self.line.append(turn)

    def give_back(self, turn: Turn) -> None:
        self.line.appendleft(turn)

    def take(self, contended: bool) -> Turn | None:
        while self.line:
            turn = self.line.popleft()
            if turn.worker is None:
                return turn
        return None


@dataclass(slots=True, eq=False)
class Run(Request):
    """A turn as accounts know it: input_tokens are those that its worker had not cached, 0 before they
    are read."""

    turn: Turn = field(kw_only=True)


@dataclass
class Ours(Lanes):
    """The product's way: its accounts, calendar and lanes in memory. All are users of one tier: pro, whose
    limits come nearest to this trace's prompts. How many runs a user may have at once is left out."""

    shared: Shared = field(default_factory=lambda: Shared(Tier.PRO, DEFAULTS[Tier.PRO].weight))
    _runs: dict[Turn, Run] = field(default_factory=dict)

    def admit(self, turn: Turn) -> None:
        self._runs[turn] = run = Run(self.now_s, turn.user, 0, turn.asked.output_tokens, turn=turn)
        self._now().admit(run)

    def is_next(self, turn: Turn) -> bool:
        return self._now().wait(self._runs[turn]).reason is Reason.STARTING

    def put(self, turn: Turn) -> None:
        self._now().put(self._runs[turn])

    def give_back(self, turn: Turn) -> None:
        self.shared.give_back(self._runs[turn])

    def take(self, contended: bool) -> Turn | None:
        while (run := self._now().receive(looks_again=contended)) is not None:
            assert isinstance(run, Run)
            if run.turn.worker is None:
                return run.turn
        return None

    def begin(self, turn: Turn) -> None:
        self._now().begin(self._runs[turn])

    def charge(self, turn: Turn, made_tokens: int) -> None:
        run = self._runs[turn]
        run.input_tokens, run.made = turn.uncached_tokens, made_tokens
        self.shared.charge(run)

    def end(self, turn: Turn) -> None:
        run = self._runs[turn]
        run.input_tokens, run.made = turn.uncached_tokens, turn.asked.output_tokens
        self.shared.end(run)

    def publish(self) -> None:
        self._now().publish()

    @property
    def moves(self) -> int:
        return self.shared.moves

    def _now(self) -> Shared:
        self.shared.now_s = self.now_s
        return self.shared
