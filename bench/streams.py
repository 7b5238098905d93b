"""One trial of bench-worker: a real worker with so many streams, for some seconds, in this process.

Owns the streams, the engine's pace and the gaps. Real are the worker and all that it repeats while it
streams: posts, checkpoints, renewals of leases and of visibility, by the product's own adapters, to
`bench.sink` in another process. In memory is what happens once a run: admission, claim, history.
The engine is played in this process and so takes a part of its core; its part is told in the profile.

A gap is what lies between two frames of a viewer, by the sink's clock; what is added to it is what
neither the engine (no new token yet) nor the floor between frames asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import http.client
import io
import json
import os
import pstats
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger

from bench.report import percentile
from chatcore.adapters.async_posts import AsyncApiGatewayPosts
from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.items import RunItem
from chatcore.adapters.dynamo.runs import DynamoRuns
from chatcore.adapters.dynamo.tables import TableNames, open_tables
from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.queues import MemoryInboxes, MemoryLanes
from chatcore.adapters.memory.states import MemoryCompactions, MemoryWaits
from chatcore.adapters.memory.stores import memory_stores
from chatcore.adapters.memory.tiers import MemoryTiers
from chatcore.adapters.sqs import SqsLanes, sqs_client
from chatcore.domain.admission import Send
from chatcore.domain.identity import User
from chatcore.domain.lanes import Lane
from chatcore.domain.ledger import estimate_tokens
from chatcore.domain.run import Run, Status, Usage
from chatcore.domain.stream import Checkpoint, floor_ms
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.ports import AsyncPosts, Generated, Inboxes, Lanes, Received, RunStore, Stores
from chatcore.protocol.queue import Control, Job
from chatcore.services.submit import Submitted, submit
from gpu_service.worker.__main__ import CALLS, POSTS
from gpu_service.worker.interpreter import keep_gaps_short
from gpu_service.worker.threads import Threads
from gpu_service.worker.worker import Worker, WorkerLimits, WorkerParts

TOKENS_PER_S = 30.0
TOKEN = " word"
WARM_UP_S = 4.0
"""Claims, and the ramp of the floor."""
STARTS_S = 2.0
"""Over which the streams' first tokens are spread."""
PATIENCE_S = 60.0
FAR_FUTURE_MS = 4_000_000_000_000
LINES = 14
_SCHEDULED = Path("/proc/thread-self/schedstat")


@dataclass
class SteadyRuns:
    """Runs in memory, but for what a streaming worker repeats: that goes over DynamoDB's adapter."""

    memory: RunStore
    dynamo: DynamoRuns

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whichever call it is
        return getattr(self.memory, name)

    def renew(self, run_id: str, epoch: int, lease_until_ms: int) -> Run | None:
        return self.dynamo.renew(run_id, epoch, lease_until_ms)

    def put_checkpoints(self, checkpoints: Sequence[Checkpoint], now_ms: int) -> None:
        self.dynamo.put_checkpoints(checkpoints, now_ms)


@dataclass
class SteadyLanes:
    """Jobs from memory; what keeps them hidden goes over SQS's adapter."""

    memory: MemoryLanes
    sqs: SqsLanes

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whichever call it is
        return getattr(self.memory, name)

    def receive(self, lane: Lane, wait_s: int) -> Received[Job] | None:
        received = self.memory.receive(lane, wait_s)
        if received is None:
            time.sleep(wait_s)
        return received

    def hide(self, lane: Lane, handle: str, seconds: int) -> None:
        self.sqs.hide(lane, handle, seconds)


@dataclass
class QuietInboxes(MemoryInboxes):
    """Nobody writes; a poll stands for as long as it would on SQS."""

    def receive(self, inbox: str, wait_s: int) -> Sequence[Control]:
        time.sleep(wait_s)
        return []


@dataclass
class PacedEngine:
    """Says tokens at a steady pace, by its own clock: a late token does not make the next one late.

    starts_s: when each stream's first token is due; lags_s: how late the worker took those that were due
    after from_s.
    """

    starts_s: Mapping[str, float]
    from_s: float
    lags_s: list[float] = field(default_factory=list)

    async def ready(self) -> bool:
        return True

    async def generate(
        self, prompt: str, max_output_tokens: int
    ) -> AsyncGenerator[Generated, None]:
        start_s = self.starts_s[_stream_of(prompt)]
        for number in range(max_output_tokens):
            due_s = start_s + number / TOKENS_PER_S
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if due_s >= self.from_s:
                self.lags_s.append(time.monotonic() - due_s)
            yield Generated(TOKEN, Usage(10, 0, number + 1))


@dataclass(frozen=True)
class Trial:
    """What came of it. cpu, core_wait: shares of the time in which the worker had the core, and in which its
    event loop could have run but had to wait for the core; profile: shares of the loop's time."""

    streams: int
    gap_p50_ms: float
    gap_p99_ms: float
    token_lag_p99_ms: float
    frames_per_s: float
    frames_per_stream_s: float
    cpu_loop: float
    cpu_threads: float
    core_wait: float
    calls: dict[str, int]
    profile: dict[str, float]
    silent_streams: int


def _stream_of(prompt: str) -> str:
    return prompt.rpartition("stream-")[2].partition(" ")[0]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--port", type=int, required=True, help="the sink's")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    trial = asyncio.run(run_trial(given.streams, given.seconds, given.port, given.profile))
    print(json.dumps(asdict(trial)), flush=True)
    # Nothing more is wanted of this process: no settling of its streams, no waiting for its polls.
    os._exit(0)


async def run_trial(streams: int, seconds: float, port: int, profiled: bool) -> Trial:
    endpoint = f"http://127.0.0.1:{port}"
    os.environ.update(
        AWS_ENDPOINT_URL=endpoint,
        AWS_ACCESS_KEY_ID="bench",
        AWS_SECRET_ACCESS_KEY="bench",
        AWS_DEFAULT_REGION="us-east-1",
    )
    database = MemoryDatabase()
    memory = memory_stores(database)
    lanes = MemoryLanes(now_ms)
    names = [f"{number:05d}" for number in range(streams)]
    items = {}
    for name in names:
        run = _admit(memory, lanes, name)
        items[run.run_id] = RunItem.of(_as_claimed(run)).to_dynamodb_dict()
    _ask(port, "PUT", "/items", json.dumps(items).encode())

    now_s = time.monotonic()
    first_s = now_s + 1.0 + streams / 400
    from_s = first_s + STARTS_S + WARM_UP_S
    rng = random.Random(streams)
    engine = PacedEngine({name: first_s + rng.uniform(0, STARTS_S) for name in names}, from_s)
    # Never left: this process ends with the trial.
    posts = await AsyncApiGatewayPosts(f"{endpoint}/v1", POSTS).__aenter__()
    worker = _worker(endpoint, memory, lanes, engine, posts, streams)
    keep_gaps_short()
    serving = asyncio.create_task(worker.run())
    await asyncio.sleep(from_s - time.monotonic())

    profile = cProfile.Profile()
    before = _cpu_s()
    if profiled:
        profile.enable()
    await asyncio.sleep(seconds)
    profile.disable()
    after = _cpu_s()
    to_s = time.monotonic()
    lags_s = list(engine.lags_s)
    if serving.done():
        serving.result()
    frames = json.loads(await asyncio.to_thread(_ask, port, "GET", "/frames"))
    calls = json.loads(await asyncio.to_thread(_ask, port, "GET", "/calls"))
    gaps_s, counted = added_gaps(frames, engine.starts_s, from_s, to_s)
    heard = {connection_id for connection_id, at_s, _ in frames if at_s >= from_s}
    return Trial(
        streams=streams,
        gap_p50_ms=round(percentile(gaps_s, 50) * 1000, 2),
        gap_p99_ms=round(percentile(gaps_s, 99) * 1000, 2),
        token_lag_p99_ms=round(percentile(lags_s, 99) * 1000, 2),
        frames_per_s=round(counted / seconds, 1),
        frames_per_stream_s=round(counted / seconds / streams, 3),
        cpu_loop=round((after[0] - before[0]) / (to_s - from_s), 3),
        cpu_threads=round((after[1] - before[1]) / (to_s - from_s), 3),
        core_wait=round((after[2] - before[2]) / (to_s - from_s), 3),
        calls=calls,
        profile=_summary(profile) if profiled else {},
        silent_streams=streams - len(heard),
    )


def added_gaps(
    frames: Sequence[Sequence[Any]], starts_s: Mapping[str, float], from_s: float, to_s: float
) -> tuple[list[float], int]:
    """Of each text frame that came in the time: by how much it came later than the engine and the
    floor allowed, counted from the frame before it. Also how many frames that were."""
    gaps_s: list[float] = []
    last_s: dict[str, float] = {}
    sent: Counter[str] = Counter()
    for name, at_s, body in frames:
        frame = json.loads(body)
        if frame["type"] != "run.delta":
            continue
        due_s = starts_s[name] + frame["offset"] // len(TOKEN) / TOKENS_PER_S
        if name in last_s:
            due_s = max(due_s, last_s[name] + floor_ms(sent[name]) / 1000)
        if from_s <= at_s <= to_s:
            gaps_s.append(max(0.0, at_s - due_s))
        last_s[name] = at_s
        sent[name] += 1
    return gaps_s, len(gaps_s)


def _admit(memory: Stores, lanes: Lanes, name: str) -> Run:
    send = Send(
        User(f"user-{name}", Tier.PRO), None, f"message-{name}", f"stream-{name} ", viewer=name
    )
    outcome = submit(memory, lanes, MemoryInboxes(), DEFAULTS, send, now_ms())
    assert isinstance(outcome, Submitted)
    return outcome.run


def _as_claimed(run: Run) -> Run:
    return replace(run, status=Status.RUNNING, epoch=1, lease_until_ms=FAR_FUTURE_MS)


def _worker(
    endpoint: str,
    memory: Stores,
    lanes: MemoryLanes,
    engine: PacedEngine,
    posts: AsyncPosts,
    streams: int,
) -> Worker:
    names = TableNames(
        **{name: f"bench-{name}" for name in ("chats", "messages", "runs", "checkpoints")}
    )
    tables = open_tables(names, CALLS)
    runs: Any = SteadyRuns(memory.runs, DynamoRuns(tables))
    steady_lanes: Any = SteadyLanes(
        lanes, SqsLanes(sqs_client(CALLS), f"{endpoint}/000000000000/lane")
    )
    inboxes: Inboxes = QuietInboxes()
    parts = WorkerParts(
        stores=replace(memory, runs=runs),
        lanes=steady_lanes,
        inboxes=inboxes,
        posts=posts,
        tiers=MemoryTiers(),
        compactions=MemoryCompactions(),
        waits=MemoryWaits(),
        engine=engine,
        count_tokens=estimate_tokens,
        calls=Threads(CALLS, "aws"),
        polls=Threads(4, "poll"),
        logger=Logger(service="worker", stream=io.StringIO()),
        now_ms=now_ms,
    )
    limits = WorkerLimits(
        slots=streams, drain_s=1, first_token_timeout_s=PATIENCE_S, next_token_timeout_s=PATIENCE_S
    )
    return Worker("bench", parts, limits)


def _cpu_s() -> tuple[float, float, float]:
    """CPU time of this thread; of all others, the worker's for AWS calls; this one's wait for the core,
    which only Linux tells."""
    own_s = time.thread_time()
    waited_ns = int(_SCHEDULED.read_text().split()[1]) if _SCHEDULED.exists() else 0
    return own_s, time.process_time() - own_s, waited_ns / 1e9


def _ask(port: int, method: str, path: str, body: bytes = b"") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body)
        return connection.getresponse().read()
    finally:
        connection.close()


_WORKS = {
    "played engine": ("bench/",),
    "worker": ("gpu_service/", "chatcore/domain", "chatcore/protocol"),
    "signing": ("adapters/sigv4.py",),
    "adapters": ("chatcore/adapters",),
    "HTTP client": ("aiohttp/", "yarl/", "multidict/", "frozenlist/"),
    "event loop and threads": ("asyncio/", "selectors.py", "concurrent/", "threading.py"),
    "logging": ("aws_lambda_powertools/", "logging/"),
}


def _summary(profile: cProfile.Profile) -> dict[str, float]:
    """Shares of the loop's busy time by whose code it was; a built-in function's time is its caller's."""
    spent: Counter[str] = Counter()
    stats: Any = pstats.Stats(profile)
    for (file, _, name), (_, _, own_s, _, callers) in stats.stats.items():
        if file == "~" and callers:
            if "select.epoll" in name and "poll" in name:
                continue
            for (caller, _, _), (_, _, part_s, _) in callers.items():
                spent[_whose(caller)] += part_s
        else:
            spent[_whose(file)] += own_s
    total_s = sum(spent.values())
    return {name: round(own_s / total_s, 3) for name, own_s in spent.most_common(LINES)}


def _whose(file: str) -> str:
    path = file.replace(os.sep, "/")
    for name, parts in _WORKS.items():
        if any(part in path for part in parts):
            return name
    return "other"


if __name__ == "__main__":
    sys.exit(main())
