"""Two tiers of weight 4 : 1, both with more work than there is room for, at two points of dispatch.

Each point hears mostly of one tier. A router with a memory of its own serves what it has heard of, so
the whole serves nobody's weights. Workers that pull from shared lanes see both tiers, whoever heard of
them: that is the product's way, and here its own code, `Turns` over lanes in memory. Beside them, as if
one point heard of everything: strict priority, which gives the lower tier what is left over, and weighted
round robin, which counts requests and not what they cost.
"""

from __future__ import annotations

import random
import statistics
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench.report import Figure, Goal, at_most, reported
from bench.scheduling.engine import Engine, serve
from bench.scheduling.policies import Fits, Policy, StrictPriority, Wrr
from bench.scheduling.requests import Request
from bench.scheduling.score import service_within
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


def two_routers() -> list[Policy]:
    return [Router() for _ in WEIGHTS]


def two_workers() -> list[Policy]:
    lanes, by_id = MemoryLanes(lambda: 0), dict[str, Request]()
    return [Worker(lanes, by_id) for _ in WEIGHTS]


def strict_priority() -> list[Policy]:
    return [StrictPriority(ranks={tier: rank for rank, tier in enumerate(WEIGHTS)})] * 2


def round_robin() -> list[Policy]:
    return [Wrr(weights={tier: int(weight) for tier, weight in WEIGHTS.items()})] * 2


ROUTERS, WORKERS = "routers with memories of their own", "workers on shared lanes (ours)"

CASES: Mapping[str, Callable[[], Sequence[Policy]]] = {
    ROUTERS: two_routers,
    "strict priority, one point": strict_priority,
    "weighted round robin, one point": round_robin,
    WORKERS: two_workers,
}
"""The two points of dispatch, in the order of the tiers that each hears mostly of."""


@dataclass(frozen=True)
class Found:
    """shares: of the service, what the lower tier got, by case, one for each copy."""

    shares: Mapping[str, Sequence[float]]

    def ratio(self, case: str) -> float:
        """Of the higher tier's service to the lower one's, by the mean share."""
        share = statistics.fmean(self.shares[case])
        return (1 - share) / share


def play(lengths: Sequence[Request], copies: int, pool: Executor) -> Found:
    runs = {
        case: [pool.submit(share_of_the_lower, lengths, case, seed) for seed in range(copies)]
        for case in CASES
    }
    return Found({case: [run.result() for run in each] for case, each in runs.items()})


def share_of_the_lower(lengths: Sequence[Request], case: str, seed: int) -> float:
    """Of the service of both tiers, that of the one of weight 1."""
    rng = random.Random(seed)
    requests = backlog(lengths, seed)
    points = CASES[case]()
    tiers = list(WEIGHTS)

    def arrive(request: Request) -> None:
        own = tiers.index(Tier(request.client))
        points[own if rng.random() < MOSTLY else 1 - own].arrive(request)

    serve([Engine(point, SEQUENCES) for point in points], requests, arrive)
    plus, free = (_served(requests, tier) for tier in tiers)
    return free / (plus + free)


def _served(requests: Iterable[Request], tier: Tier) -> float:
    """Tokens of service within the counted time."""
    return sum(service_within(each, *COUNTED_S) for each in requests if each.client == tier)


def goals(found: Found) -> dict[str, Goal]:
    return {
        "tiers_by_routers": reported(found.ratio(ROUTERS)),
        "tiers_by_shared_lanes_off_by": at_most(abs(found.ratio(WORKERS) / 4 - 1), 0.05),
    }


def figures(found: Found) -> dict[str, Figure]:
    return {
        f"share of the lower tier, {case}": round(statistics.fmean(shares), 4)
        for case, shares in found.shares.items()
    }


def show(console: Console, found: Found) -> None:
    table = Table(
        *("dispatch", "ratio", "lower tier's share", "least", "most"),
        title="Service of two tiers of weight 4 : 1, both backlogged, at two points",
        title_justify="left",
    )
    for case, shares in found.shares.items():
        share = statistics.fmean(shares)
        ratio = f"{found.ratio(case):.2f} : 1" if share else "1 : 0"
        table.add_row(case, ratio, f"{share:.1%}", f"{min(shares):.1%}", f"{max(shares):.1%}")
    console.print(table)
