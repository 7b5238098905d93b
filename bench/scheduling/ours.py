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
    Backlog,
    Calendar,
    latest_number,
    number_in,
    paced,
    rank,
    returns_of,
)
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.ledger import Ledger, virtual
from chatcore.domain.run import Run
from chatcore.domain.tiers import Tier
from chatcore.domain.waiting import Wait, lane_for, wait_of
from chatcore.protocol.queue import Job

CHARGE_EVERY_TOKENS = 85
"""Of an answer: about as many as the model engine makes in three seconds. Five seconds (140 tokens) are
as fair where memory is what is short, and a few hundredths less where slots are."""


def run_of(run_id: str, user_id: str, tier: Tier, created_ms: int) -> Run:
    """As far as it matters to who waits."""
    return Run(
        run_id=run_id,
        user_id=user_id,
        chat_id="",
        tier=tier,
        message_id="",
        message_seq=0,
        digest="",
        created_ms=created_ms,
    )


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
        self.admit(request)
        self.put(request)

    def admit(self, request: Request) -> None:
        """Its user's account has it; it is in no lane."""
        run_id = f"r_{len(self.requests)}"
        self.requests[run_id], self._run_ids[request] = request, run_id
        ledger = self._ledger(request)
        self.ledgers[request.client] = replace(
            ledger, active={**ledger.active, run_id: 0}, waiting=(*ledger.waiting, run_id)
        )

    def put(self, request: Request) -> None:
        """In its lane; one behind another of its user is put there when that one gets its slot."""
        ledger, run_id = self._ledger(request), self._run_ids[request]
        if ledger.waiting[0] == run_id:
            self._send(lane_for(ledger, self.calendar), run_id)

    def wait(self, request: Request) -> Wait:
        """As its user is told, who has just sent it."""
        now_ms = round(self.now_s * 1000)
        run = run_of(self._run_ids[request], request.client, self.tier, now_ms)
        return wait_of(run, self._ledger(request), self.calendar, now_ms)

    def publish(self, starts_per_s: float = 0.0) -> None:
        """What waits in the lanes, and where who comes new starts from now on."""
        now_ms = round(self.now_s * 1000)
        backlog = Backlog(now_ms, self.waiting_by_lane(), starts_per_s)
        self.calendar = paced(replace(self.calendar, backlog=backlog), now_ms)

    def has_work(self) -> bool:
        return self._jobs > 0

    def pull(self) -> Request | None:
        """The next one, whose slot is charged to its user; None where none waits."""
        request = self.receive()
        if request is not None:
            self.begin(request)
        return request

    def receive(self, looks_again: bool = True) -> Request | None:
        """The next one, whose turn it is; it is in no lane now. looks_again: at its user's account."""
        while (lane := self._nearest()) is not None:
            received = self.lanes.receive(lane, 0)
            assert received is not None
            self.lanes.acknowledge(lane, received.handle)
            self._waiting[lane] -= 1
            self._jobs -= 1
            if lane.index == RETURNS:
                return self.requests[received.item.run_id]
            number = number_in(lane, self.calendar.front)
            if number > self.calendar.front:
                self.calendar = replace(self.calendar, front=number)
            request = self.requests[received.item.run_id]
            if not looks_again:
                return request
            ledger = self._ledger(request)
            tag = ledger.start_tag(self.tier, self.calendar.virtual_time)
            waited_ms = self._waited_ms(request)
            if latest_number(tag, self.calendar.front, waited_ms) > number:
                self.moves += 1
                self._send(lane_for(ledger, self.calendar, waited_ms), received.item.run_id)
                continue
            return request
        return None

    def give_back(self, request: Request) -> None:
        """It was its turn already, so it goes before all others of its tier."""
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
        return self.ledgers.get(request.client) or Ledger(request.client)

    def begin(self, request: Request) -> None:
        """It has a slot; if that is its first, its user's next one is put in a lane."""
        account = accounts.dispatched(
            self._ledger(request),
            self._run_ids[request],
            self.tier,
            self.calendar.virtual_time,
            self.weight,
        )
        if account is None:
            return
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
