"""Two tiers of weight 4 : 1, both with more work than there is room for, at two points of dispatch.

Each point hears mostly of one tier. A router with a memory of its own serves what it has heard of, so
the whole serves nobody's weights. Workers that pull from shared lanes see both tiers, whoever heard of
them: that is the product's way, and here its own code, `Turns` over lanes in memory.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bench.scheduling.engine import Engine, serve
from bench.scheduling.policies import Fits, Policy
from bench.scheduling.requests import Request
from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.domain.lanes import Lane, Turns
from chatcore.domain.tiers import Tier
from chatcore.protocol.queue import Job

WEIGHTS = {Tier.PLUS: 4.0, Tier.FREE: 1.0}
MOSTLY = 0.9
"""The share of a tier's requests that its own point hears of."""

SEQUENCES = 16
REQUESTS = 3_000
"""Of each tier: more than its share of the engines can serve."""

ARRIVALS_S = 600.0
"""All of them arrive within that time, which is a fraction of what serving them takes."""

COUNTED_S = (60.0, 600.0)
"""Service is counted while both tiers have a backlog, from when that has built up."""


@dataclass
class Router(Policy):
    """A point of dispatch with lines and turns of its own."""

    turns: Turns = field(default_factory=lambda: Turns(weights=WEIGHTS))
    lines: defaultdict[Tier, deque[Request]] = field(default_factory=lambda: defaultdict(deque))
    _aheads: dict[Request, float] = field(default_factory=dict)

    def arrive(self, request: Request) -> None:
        self.lines[Tier(request.client)].append(request)

    def waiting(self) -> bool:
        return any(self.lines.values())

    def take(self, fits: Fits) -> Request | None:
        with_work = [tier for tier, line in self.lines.items() if line]
        for tier in self.turns.order(dict.fromkeys(with_work, 0.0))[:1]:
            if fits(self.lines[tier][0]):
                request = self.lines[tier].popleft()
                self._aheads[request] = self.turns.take(tier, with_work)
                return request
        return None

    def end(self, request: Request) -> None:
        self.turns.settle(Tier(request.client), self._aheads.pop(request), request.service)


@dataclass
class Worker(Policy):
    """A worker that pulls from lanes which others share: the product's turns, and its lanes in memory.
    A job that it has received and that does not fit yet stays in its hand."""

    lanes: MemoryLanes
    by_id: dict[str, Request]
    turns: Turns = field(default_factory=lambda: Turns(weights=WEIGHTS))
    hand: Request | None = None
    _aheads: dict[Request, float] = field(default_factory=dict)

    def arrive(self, request: Request) -> None:
        tier = Tier(request.client)
        run_id = f"r_{len(self.by_id)}"
        self.by_id[run_id] = request
        job = Job(run_id=run_id, chat_id="", user_id=request.client, tier=tier, message_seq=0)
        self.lanes.send(Lane(tier), job)

    def waiting(self) -> bool:
        return self.hand is not None or bool(self._with_work())

    def take(self, fits: Fits) -> Request | None:
        if self.hand is None:
            self.hand = self._pulled()
        if self.hand is None or not fits(self.hand):
            return None
        request, self.hand = self.hand, None
        return request

    def end(self, request: Request) -> None:
        self.turns.settle(Tier(request.client), self._aheads.pop(request), request.service)

    def _pulled(self) -> Request | None:
        with_work = self._with_work()
        for tier in self.turns.order(dict.fromkeys(with_work, 0.0)):
            received = self.lanes.receive(Lane(tier), 0)
            if received is not None:
                self.lanes.acknowledge(Lane(tier), received.handle)
                request = self.by_id[received.item.run_id]
                self._aheads[request] = self.turns.take(tier, with_work)
                return request
        return None

    def _with_work(self) -> list[Tier]:
        return [tier for tier in WEIGHTS if self.lanes.depth(Lane(tier))]


def backlog(lengths: Sequence[Request], seed: int) -> list[Request]:
    """Of both tiers, as many of each, with lengths as in the trace."""
    rng = random.Random(seed)
    requests = [
        Request(rng.uniform(0, ARRIVALS_S), str(tier), like.input_tokens, like.output_tokens)
        for tier in WEIGHTS
        for like in rng.choices(lengths, k=REQUESTS)
    ]
    return sorted(requests, key=lambda request: request.arrival_s)


def ratio_of_routers(lengths: Sequence[Request], seed: int) -> float:
    """Service of the tier of weight 4 for one of the other, by routers."""
    points = {tier: Router() for tier in WEIGHTS}
    return _ratio(lengths, seed, list(points.values()), lambda tier: points[tier])


def ratio_of_workers(lengths: Sequence[Request], seed: int) -> float:
    """The same by workers that pull from shared lanes."""
    lanes, by_id = MemoryLanes(lambda: 0), dict[str, Request]()
    workers = [Worker(lanes, by_id) for _ in WEIGHTS]
    return _ratio(lengths, seed, workers, lambda tier: workers[0])


def _ratio(
    lengths: Sequence[Request],
    seed: int,
    policies: Sequence[Policy],
    point_of: Callable[[Tier], Policy],
) -> float:
    rng = random.Random(seed)
    requests = backlog(lengths, seed)

    def arrive(request: Request) -> None:
        tier = Tier(request.client)
        others = [each for each in WEIGHTS if each is not tier]
        point_of(tier if rng.random() < MOSTLY else others[0]).arrive(request)

    serve([Engine(policy, SEQUENCES) for policy in policies], requests, arrive)
    plus, free = (_served(requests, tier) for tier in (Tier.PLUS, Tier.FREE))
    return plus / free


def _served(requests: Iterable[Request], tier: Tier) -> float:
    """Tokens of service within the counted time."""
    begin_s, end_s = COUNTED_S
    total = 0.0
    for request in requests:
        overlap_s = min(request.end_s, end_s) - max(request.first_s, begin_s)
        if request.client == tier and overlap_s > 0:
            total += request.service * overlap_s / (request.end_s - request.first_s)
    return total
