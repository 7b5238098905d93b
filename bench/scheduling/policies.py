"""Who is served next: policies that others use, with memories of their own.

A policy is told of arrivals, of each token and of ends, and is asked for the next request that fits. A
head that does not fit holds up the rest, as in the published systems: skipping it would starve it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.scheduling.requests import Request

Fits = Callable[[Request], bool]

DRR_QUANTUM = 500.0

SQS_NOISY_SHARE = 0.1
SQS_NOISY_MESSAGES = 30


class Policy(ABC):
    """What the engine asks and tells."""

    @abstractmethod
    def arrive(self, request: Request) -> None: ...

    @abstractmethod
    def waiting(self) -> bool: ...

    @abstractmethod
    def take(self, fits: Fits) -> Request | None:
        """The next one, taken from the line; None where there is none, or it does not fit."""

    def made_token(self, request: Request) -> None:  # noqa: B027 - not all need to know
        """One more output token of it; its first one comes with its prefill."""

    def end(self, request: Request) -> None:  # noqa: B027 - not all need to know
        """It is over."""


@dataclass
class Fcfs(Policy):
    """First come, first served."""

    line: deque[Request] = field(default_factory=deque)

    def arrive(self, request: Request) -> None:
        self.line.append(request)

    def waiting(self) -> bool:
        return bool(self.line)

    def take(self, fits: Fits) -> Request | None:
        return self.line.popleft() if self.line and fits(self.line[0]) else None


@dataclass
class _ByClient(Policy):
    lines: defaultdict[str, deque[Request]] = field(default_factory=lambda: defaultdict(deque))

    def arrive(self, request: Request) -> None:
        self.lines[request.client].append(request)

    def waiting(self) -> bool:
        return any(self.lines.values())

    def backlogged(self) -> list[str]:
        return sorted(client for client, line in self.lines.items() if line)


@dataclass
class StrictPriority(_ByClient):
    """The lowest rank first, whatever has waited behind it; within a rank by arrival. A client without a
    rank is of rank 0."""

    ranks: Mapping[str, int] = field(default_factory=dict)

    def take(self, fits: Fits) -> Request | None:
        heads = (line[0] for line in self.lines.values() if line)
        request = min(
            heads, key=lambda head: (self.ranks.get(head.client, 0), head.arrival_s), default=None
        )
        if request is None or not fits(request):
            return None
        return self.lines[request.client].popleft()


@dataclass
class Wrr(_ByClient):
    """Weighted round robin: in each round a client has as many requests served as its weight (1 where
    none is given), whatever they cost."""

    weights: Mapping[str, int] = field(default_factory=dict)
    ring: deque[str] = field(default_factory=deque)
    taken: int = 0

    def arrive(self, request: Request) -> None:
        if not self.lines[request.client]:
            self.ring.append(request.client)
        super().arrive(request)

    def take(self, fits: Fits) -> Request | None:
        if not self.ring or not fits(self.lines[self.ring[0]][0]):
            return None
        client = self.ring[0]
        request = self.lines[client].popleft()
        self.taken += 1
        if not self.lines[client]:
            self.ring.popleft()
            self.taken = 0
        elif self.taken >= self.weights.get(client, 1):
            self.ring.rotate(-1)
            self.taken = 0
        return request


@dataclass
class Vtc(_ByClient):
    """Virtual token counter (Sheng et al., OSDI 2024, algorithm 2): the client goes next that has been
    served least; one that was away is lifted to the least of those that wait, or, where nobody waits,
    to whoever was the last to leave the line. knows: true lengths, charged as a whole ahead."""

    knows: bool = False
    served: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    last: str = ""

    def arrive(self, request: Request) -> None:
        client = request.client
        if not self.lines[client]:
            others = self.backlogged()
            floor = min((self.served[other] for other in others), default=self.served[self.last])
            self.served[client] = max(self.served[client], floor)
        super().arrive(request)

    def take(self, fits: Fits) -> Request | None:
        client = min(self.backlogged(), key=lambda each: self.served[each], default=None)
        if client is None or not fits(self.lines[client][0]):
            return None
        request = self.lines[client].popleft()
        self.last = client
        self.served[client] += request.service if self.knows else request.input_tokens
        return request

    def made_token(self, request: Request) -> None:
        if not self.knows:
            self.served[request.client] += 2


@dataclass
class Drr(_ByClient):
    """Deficit round robin (Shreedhar and Varghese, SIGCOMM 1995), with a debt in place of a head's size
    that nobody knows: a client with credit left is served; what its tokens cost is taken from it."""

    credit: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    ring: deque[str] = field(default_factory=deque)

    def arrive(self, request: Request) -> None:
        if not self.lines[request.client]:
            self.credit[request.client] = min(0.0, self.credit[request.client])
            self.ring.append(request.client)
        super().arrive(request)

    def take(self, fits: Fits) -> Request | None:
        if not self.ring:
            return None
        while self.credit[self.ring[0]] <= 0:
            self.credit[self.ring[0]] += DRR_QUANTUM
            self.ring.rotate(-1)
        client = self.ring[0]
        if not fits(self.lines[client][0]):
            return None
        request = self.lines[client].popleft()
        self.credit[client] -= request.input_tokens
        if not self.lines[client]:
            self.ring.popleft()
        return request

    def made_token(self, request: Request) -> None:
        self.credit[request.client] -= 2


@dataclass
class SqsFairQueue(_ByClient):
    """One SQS fair queue, a client a message group. A group is noisy while it has at least 30 messages
    in flight and more than a tenth of them all; quiet groups' messages come first (vendor's page: Amazon
    SQS fair queues)."""

    in_flight: Counter[str] = field(default_factory=Counter)
    order: deque[Request] = field(default_factory=deque)

    def arrive(self, request: Request) -> None:
        super().arrive(request)
        self.order.append(request)

    def take(self, fits: Fits) -> Request | None:
        total = self.in_flight.total()
        noisy = {
            client
            for client, count in self.in_flight.items()
            if count >= SQS_NOISY_MESSAGES and count > SQS_NOISY_SHARE * total
        }
        heads = {client: line[0] for client, line in self.lines.items() if line}
        request = min(
            heads.values(), key=lambda head: (head.client in noisy, head.arrival_s), default=None
        )
        if request is None or not fits(request):
            return None
        self.lines[request.client].popleft()
        self.in_flight[request.client] += 1
        return request

    def end(self, request: Request) -> None:
        self.in_flight[request.client] -= 1
