"""Owns a worker's surroundings for its tests: memory sides, a scripted engine, virtual time."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from aws_lambda_powertools import Logger

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.queues import MemoryInboxes, MemoryLanes
from chatcore.adapters.memory.states import MemoryCompactions, MemoryWaits
from chatcore.adapters.memory.stores import memory_stores
from chatcore.adapters.memory.tiers import MemoryTiers
from chatcore.adapters.xray import Segment
from chatcore.domain.admission import Send
from chatcore.domain.identity import User
from chatcore.domain.lanes import Lane
from chatcore.domain.run import Run
from chatcore.domain.tiers import Tier
from chatcore.domain.title import OPENING
from chatcore.ports import Lanes, Posted, Posts, Stores
from chatcore.services.submit import Submitted, submit
from gpu_service.worker.worker import Worker, WorkerLimits, WorkerParts
from tests.simulation.engine import Script, ScriptedEngine, words
from tests.simulation.posts import CalledPosts
from tests.simulation.process import LongPolls
from virtual_clock.loop import now_ms

P = ParamSpec("P")
T = TypeVar("T")

ALICE = User("user-alice", Tier.FREE)
ANSWER = "The answer is forty two and a bit more"
TRACE_ID = "1-581cf771-a006649127e371903a2de979"
QUIET = Logger(service="worker", level="CRITICAL")
LIMITS = WorkerLimits(slots=2, drain_s=5.0, first_token_timeout_s=10.0, next_token_timeout_s=4.0)


@dataclass(slots=True)
class Calls:
    """Calls made on the loop itself; each takes delay_s before it happens."""

    delay_s: float = 0.0

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(self.delay_s)
        return function(*args, **kwargs)


@dataclass(slots=True)
class Screens:
    """Connections that note what they were told, and when. outcomes: what posts answer instead of
    SENT, first things first; then the frame does not arrive."""

    open: set[str] = field(default_factory=lambda: {"socket-1", "socket-2"})
    told: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    outcomes: dict[str, list[Posted]] = field(default_factory=dict)

    def post(self, connection_id: str, frame: bytes) -> Posted:
        planned = self.outcomes.get(connection_id)
        if planned:
            return planned.pop(0)
        if connection_id not in self.open:
            return Posted.GONE
        at_s = asyncio.get_running_loop().time()
        self.told.append((at_s, connection_id, json.loads(frame)))
        return Posted.SENT

    def frames(self, connection_id: str = "socket-1") -> list[dict[str, Any]]:
        return [frame for _, told, frame in self.told if told == connection_id]

    def kinds(self, connection_id: str = "socket-1") -> list[str]:
        """Types of the frames, runs of deltas told as one."""
        kinds: list[str] = []
        for frame in self.frames(connection_id):
            if kinds[-1:] != [frame["type"]]:
                kinds.append(frame["type"])
        return kinds

    def text(self, connection_id: str = "socket-1") -> str:
        return shown(self.frames(connection_id))


def shown(frames: Sequence[dict[str, Any]]) -> str:
    """What the frames amount to; a gap or a repeat among the deltas is a failure."""
    text = ""
    for frame in frames:
        if frame["type"] == "run.rewound":
            text = text[: frame["offset"]]
        if frame["type"] == "run.delta":
            assert frame["offset"] == len(text)
            text += frame["text"]
    return text


class _Remembered(dict[str, Run]):
    """Runs, and of each what it was last, also of those that are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: dict[str, Run] = {}

    def __setitem__(self, run_id: str, run: Run) -> None:
        super().__setitem__(run_id, run)
        self.ever[run_id] = run


@dataclass(slots=True)
class Stage:
    """script_for: what the engine says; calls: how the worker's short calls are made; logger: the
    workers'."""

    script_for: Callable[[str], Script] = lambda prompt: words(ANSWER)
    calls: Calls = field(default_factory=Calls)
    limits: WorkerLimits = LIMITS
    logger: Logger = QUIET
    segments: list[Segment] = field(default_factory=list)
    runs: _Remembered = field(default_factory=_Remembered)
    database: MemoryDatabase = field(init=False)
    inboxes: MemoryInboxes = field(default_factory=MemoryInboxes)
    screens: Screens = field(default_factory=Screens)
    tiers: MemoryTiers = field(default_factory=MemoryTiers)
    compactions: MemoryCompactions = field(default_factory=MemoryCompactions)
    waits: MemoryWaits = field(default_factory=MemoryWaits)
    stores: Stores = field(init=False)
    lanes: Lanes = field(init=False)
    engine: ScriptedEngine = field(init=False)
    _started: list[tuple[Worker, "asyncio.Task[None]"]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(runs=self.runs)
        self.stores = memory_stores(self.database)
        self.lanes = MemoryLanes(now_ms)
        self.engine = ScriptedEngine(self.script_for)

    def send(
        self,
        message_id: str = "message-0001",
        user: User = ALICE,
        chat_id: str | None = None,
        viewer: str | None = "socket-1",
        text: str = "What is the answer?",
        trace_parent: str = "",
    ) -> Run:
        outcome = submit(
            self.stores,
            self.lanes,
            self.inboxes,
            self.tiers.current(),
            Send(user, chat_id, message_id, text, viewer, TRACE_ID, trace_parent),
            now_ms(),
        )
        assert isinstance(outcome, Submitted)
        return outcome.run

    def start(self, worker_id: str = "worker-1", posts: Posts | None = None) -> Worker:
        parts = WorkerParts(
            stores=self.stores,
            lanes=self.lanes,
            inboxes=self.inboxes,
            posts=CalledPosts(posts or self.screens, self.calls),
            tiers=self.tiers,
            compactions=self.compactions,
            waits=self.waits,
            engine=self.engine,
            count_tokens=lambda text: len(text) // 4,
            calls=self.calls,
            polls=LongPolls(),
            logger=self.logger,
            now_ms=now_ms,
            put_segment=self.segments.append,
        )
        worker = Worker(worker_id, parts, self.limits)
        task = asyncio.get_running_loop().create_task(worker.run())
        self._started.append((worker, task))
        return worker

    async def stopped(self, worker: Worker) -> float:
        """Let the worker leave in good order; how long it took."""
        began_s = asyncio.get_running_loop().time()
        worker.stopping.set()
        (task,) = [task for known, task in self._started if known is worker]
        await task
        return asyncio.get_running_loop().time() - began_s

    @property
    def asked(self) -> list[str]:
        """What the engine was asked to answer; titles are not counted."""
        return [prompt for prompt in self.engine.prompts if OPENING not in prompt]

    def stored(self, run: Run) -> Run:
        found = self.stores.runs.get(run.run_id)
        assert found is not None
        return found

    def answer(self, run: Run) -> str | None:
        found = self.database.messages.get((run.chat_id, run.message_seq + 1))
        return None if found is None else found.text

    def depth(self, tier: Tier = Tier.FREE) -> int:
        assert isinstance(self.lanes, MemoryLanes)
        return self.lanes.depth(Lane(tier))
