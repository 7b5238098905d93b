"""What runs cost in AWS calls by how busy the worker is: one at a time, below and above its capacity.

Users of the free tier, enough that nobody has two runs at once, go on with chats that the worker has
answered before. Above one at a time arrivals are a Poisson process that waits for nobody. Owns arrivals,
the capacity that they are measured against, and the counts by run.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.bill import POST, Bill
from bench.cost_stage import SLOTS, Chat, Stage
from chatcore.domain.tiers import Tier

READERS = 8
"""Who ask one at a time, each again when it is his turn."""

ANSWER_TOKENS = 30
"""A second of it."""
SETTLED = 2 * SLOTS
"""Runs at the beginning and at the end of the trial of capacity that do not count."""


@dataclass(frozen=True)
class Size:
    """crowds: how many users there are, by the load. Each has its own: a run's twin may come back when the
    next load has begun, and is known by its user."""

    one_by_one: int
    load_s: float
    crowds: Mapping[float, int]


@dataclass
class Phase:
    """own: of its runs; standing: of the worker meanwhile; said: what it logged, how often."""

    name: str
    own: Bill = field(default_factory=Bill)
    standing: Bill = field(default_factory=Bill)
    said: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    seconds: float = 0.0

    def per_run(self) -> dict[str, float]:
        own, standing = self.own, self.standing
        sends = ("SQS.SendMessage lane", "SQS.SendMessage returns", "SQS.SendMessage inbox")
        polls = {name: count for (step, name), count in standing.calls.items() if step == "polls"}
        requests = own.of_service("SQS")
        sent = own.of_call(*sends)
        received = sum(count for (_, name), count in own.calls.items() if "ReceiveMessage" in name)
        counts: dict[str, float] = {
            "aws_calls": own.in_all() + standing.in_all(),
            "own_calls": own.in_all(),
            "dynamodb_calls": own.of_service("DynamoDB"),
            "dynamodb_read_units": sum(own.read_units.values()),
            "dynamodb_write_units": sum(own.write_units.values()),
            "sqs_sends": sent,
            "sqs_receives_with_job": received,
            "sqs_deletes_and_hides": requests - sent - received,
            "posts": own.of_call(POST),
            "standing_calls": standing.in_all(),
            "lane_polls_empty": sum(polls.values()) - polls.get("SQS.ReceiveMessage inbox", 0),
            "inbox_polls_empty": polls.get("SQS.ReceiveMessage inbox", 0),
            "survey_calls": standing.in_all() - sum(polls.values()),
            "offers": own.of_call("SQS.SendMessage inbox"),
            "twins": own.calls["submit", "SQS.SendMessage returns"],
            "second_looks": own.calls["claim", "DynamoDB.GetItem ledgers"],
            "moves": self.said["job.moved"],
            "micro_usd": (own.usd() + standing.usd()) * 1e6,
        }
        return {name: count / self.runs for name, count in counts.items()}


async def load(stage: Stage, size: Size) -> tuple[float, list[Phase]]:
    """The capacity in runs per second, and what was counted at each load."""
    readers = _chats("reader", READERS)
    stage.engine.output_tokens = 1
    for chat in readers:
        await stage.ask(Bill(), chat)
    stage.engine.output_tokens = ANSWER_TOKENS
    phases = [await _one_by_one(stage, readers, size.one_by_one)]
    crowds = {share: _chats(f"crowd-{share}", users) for share, users in size.crowds.items()}
    ended_s = await _all_at_once(stage, [chat for crowd in crowds.values() for chat in crowd])
    capacity = runs_per_s(ended_s)
    for share, crowd in crowds.items():
        phase = await _arriving(stage, crowd, share, share * capacity, size.load_s)
        phases.append(phase)
    return capacity, phases


def _chats(name: str, users: int) -> deque[Chat]:
    return deque(Chat(f"{name}-{number}", Tier.FREE) for number in range(users))


async def _all_at_once(stage: Stage, chats: Sequence[Chat]) -> list[float]:
    """First messages, which make the chats; when their answers ended."""
    ended_s: list[float] = []

    async def ask(chat: Chat) -> None:
        await stage.ask(Bill(), chat)
        ended_s.append(time.monotonic())

    await asyncio.gather(*(ask(chat) for chat in chats))
    return ended_s


def runs_per_s(ended_s: Sequence[float]) -> float:
    """While all slots were busy."""
    counted = sorted(ended_s)[SETTLED:-SETTLED]
    return (len(counted) - 1) / (counted[-1] - counted[0])


async def _one_by_one(stage: Stage, chats: deque[Chat], runs: int) -> Phase:
    phase = Phase("one at a time", runs=runs)
    begun_s, said = _begin(stage)
    for _ in range(runs):
        await stage.ask(phase.own, chats[0])
        chats.rotate(-1)
    return _end(stage, phase, begun_s, said)


async def _arriving(
    stage: Stage, chats: deque[Chat], share: float, rate_per_s: float, load_s: float
) -> Phase:
    phase = Phase(f"{share:g} x capacity")
    rng = random.Random(phase.name)
    begun_s, said = _begin(stage)

    async def ask(chat: Chat) -> None:
        await stage.ask(phase.own, chat)
        chats.append(chat)

    asked: list[asyncio.Task[None]] = []
    due_s = begun_s
    while (due_s := due_s + rng.expovariate(rate_per_s)) < begun_s + load_s:
        await asyncio.sleep(due_s - time.monotonic())
        # Whoever has been quiet for longest.
        asked.append(asyncio.create_task(ask(chats.popleft())))
    await asyncio.gather(*asked)
    phase.runs = len(asked)
    return _end(stage, phase, begun_s, said)


def _begin(stage: Stage) -> tuple[float, Counter[str]]:
    stage.meter.stand()
    return time.monotonic(), Counter(stage.said.counts)


def _end(stage: Stage, phase: Phase, begun_s: float, said: Counter[str]) -> Phase:
    phase.standing = stage.meter.stand()
    phase.said = stage.said.counts - said
    phase.seconds = time.monotonic() - begun_s
    return phase
