"""The product's own way within a tier, as a policy: its accounts, its calendar and its lanes in memory.

Any number of workers pull from the same lanes; what they share is what the product's workers share: the
users' accounts, the front, and the lanes. A job that a worker has received and that does not fit yet
stays in its hand. Accounts are charged as the product does it: a guess when a run gets its slot, then
what it has really cost, now and then and at its end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from bench.scheduling.policies import Fits, Policy
from bench.scheduling.requests import Request
from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.domain import ledger as accounts
from chatcore.domain.calendar import (
    Calendar,
    latest_number,
    number_in,
    rank,
    returns_of,
)
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.ledger import Ledger, virtual
from chatcore.domain.tiers import Tier
from chatcore.domain.waiting import lane_for
from chatcore.protocol.queue import Job

CHARGE_EVERY_TOKENS = 85
"""Of an answer: about as many as the model engine makes in three seconds. Five seconds (140 tokens) are
as fair where memory is what is short, and a few hundredths less where slots are."""


@dataclass
class Shared:
    """What all workers share: a tier's accounts, calendar and lanes. moves: jobs that were put into a
    later lane when it was their turn; sends: all that were put into lanes; now_s: 0 where nobody loses
    patience: then how long a run has waited does not count."""

    tier: Tier = Tier.FREE
    weight: int = 1
    lanes: MemoryLanes = field(default_factory=lambda: MemoryLanes(lambda: 0))
    calendar: Calendar = field(init=False)
    requests: dict[str, Request] = field(default_factory=dict)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    moves: int = 0
    sends: int = 0
    now_s: float = 0.0
    _run_ids: dict[Request, str] = field(default_factory=dict)
    _waiting: dict[Lane, int] = field(default_factory=dict)
    _jobs: int = 0

    def __post_init__(self) -> None:
        self.calendar = Calendar(self.tier)

    def arrive(self, request: Request) -> None:
        run_id = f"r_{len(self.requests)}"
        self.requests[run_id], self._run_ids[request] = request, run_id
        ledger = self._ledger(request)
        if not ledger.waiting:
            self._send(lane_for(ledger, self.calendar), run_id)
        self.ledgers[request.client] = replace(
            ledger, active={**ledger.active, run_id: 0}, waiting=(*ledger.waiting, run_id)
        )

    def has_work(self) -> bool:
        return self._jobs > 0

    def pull(self) -> Request | None:
        """The next one, whose slot is charged to its user; None where none waits."""
        while (lane := self._nearest()) is not None:
            received = self.lanes.receive(lane, 0)
            assert received is not None
            self.lanes.acknowledge(lane, received.handle)
            self._waiting[lane] -= 1
            self._jobs -= 1
            if lane.index == RETURNS:
                return self.requests[received.item.run_id]
            number = number_in(lane, self.calendar.front)
            self.calendar = replace(self.calendar, front=max(number, self.calendar.front))
            request = self.requests[received.item.run_id]
            ledger = self._ledger(request)
            tag = ledger.start_tag(self.tier, self.calendar.virtual_time)
            waited_ms = self._waited_ms(request)
            if latest_number(tag, self.calendar.front, waited_ms) > number:
                self.moves += 1
                self._send(lane_for(ledger, self.calendar, waited_ms), received.item.run_id)
                continue
            self._dispatch(request, received.item.run_id)
            return request
        return None

    def give_back(self, request: Request) -> None:
        """It had to leave its slot, and goes on before all others of its tier."""
        self._send(returns_of(self.tier), self._run_ids[request])

    def waiting_by_lane(self) -> dict[int, int]:
        """Jobs by the index of the lane, as a backlog tells them."""
        return {lane.index: count for lane, count in self._waiting.items() if count}

    def made_token(self, request: Request) -> None:
        if request.made % CHARGE_EVERY_TOKENS == 0:
            self.charge(request)

    def charge(self, request: Request) -> None:
        run_id, ledger = self._run_ids[request], self._ledger(request)
        cost = virtual(request.input_tokens + 2 * request.made, self.weight)
        if cost > ledger.charged.get(run_id, 0):
            charged = {**ledger.charged, run_id: cost}
            self.ledgers[request.client] = replace(ledger, charged=charged)

    def end(self, request: Request) -> None:
        cost = request.input_tokens + 2 * request.made
        settled = accounts.settle(self._ledger(request), self._run_ids[request], cost, self.weight)
        assert settled is not None
        self.ledgers[request.client] = settled

    def _ledger(self, request: Request) -> Ledger:
        return self.ledgers.get(request.client, Ledger(request.client))

    def _dispatch(self, request: Request, run_id: str) -> None:
        account = accounts.dispatched(
            self._ledger(request), run_id, self.tier, self.calendar.virtual_time, self.weight
        )
        assert account is not None
        self.ledgers[request.client] = account
        if account.waiting:
            following = account.waiting[0]
            waited_ms = self._waited_ms(self.requests[following])
            self._send(lane_for(account, self.calendar, waited_ms), following)

    def _waited_ms(self, request: Request) -> int:
        return max(0, round((self.now_s - request.arrival_s) * 1000))

    def _send(self, lane: Lane, run_id: str) -> None:
        request = self.requests[run_id]
        job = Job(run_id=run_id, chat_id="", user_id=request.client, tier=self.tier, message_seq=0)
        self.lanes.send(lane, job)
        self.sends += 1
        self._waiting[lane] = self._waiting.get(lane, 0) + 1
        self._jobs += 1

    def _nearest(self) -> Lane | None:
        front = self.calendar.front
        with_work = [lane for lane, count in self._waiting.items() if count]
        return min(with_work, key=lambda lane: rank(lane, front), default=None)


@dataclass
class CalendarLanes(Policy):
    """One worker on the shared lanes."""

    shared: Shared = field(default_factory=Shared)
    hand: deque[Request] = field(default_factory=deque)

    def arrive(self, request: Request) -> None:
        self.shared.arrive(request)

    def waiting(self) -> bool:
        return bool(self.hand) or self.shared.has_work()

    def take(self, fits: Fits) -> Request | None:
        if not self.hand and (request := self.shared.pull()) is not None:
            self.hand.append(request)
        if not self.hand or not fits(self.hand[0]):
            return None
        return self.hand.popleft()

    def made_token(self, request: Request) -> None:
        self.shared.made_token(request)

    def end(self, request: Request) -> None:
        self.shared.end(request)


def workers(count: int) -> list[CalendarLanes]:
    """On the same lanes."""
    shared = Shared()
    return [CalendarLanes(shared) for _ in range(count)]
