"""`make bench-ttft`: the time to first token, straight from Triton and through the whole local stack.

Both are measured in one run, taking turns, with prompts of the same shape: what the stack adds is a
ratio and does not depend on the machine as much as the times do. Owns the clients, the hops and what
is said of them.

    client ──send──▶ gateway, λ ──▶ transaction, lane ──▶ worker ──▶ claim ──▶ prompt ──▶ engine ──▶ client
                        gateway │ submit │ lane │ claim │ prompt │ prefill │ post
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect

from bench import cloud
from bench.report import Figure, Goal, finish, percentile, reported
from chatcore.adapters.triton import TritonEngine
from chatcore.domain.chat import Message, Role
from chatcore.domain.context import History, build, room_for
from chatcore.domain.ledger import estimate_tokens
from chatcore.domain.tiers import DEFAULTS, Tier
from local.worker import MODEL_NAME

CLIENTS = (1, 16)
SLOTS = 24
"""More than clients, so that nobody waits for a slot: queueing is another benchmark's."""

TIER = Tier.PRO
"""Each client is a user of its own."""

WARM_UP_PROMPTS = 2
"""Of each client, before each block: cold starts and first connections are not measured."""

DEADLINE_S = 60.0
HOPS = ("gateway", "submit", "lane", "claim", "prompt", "prefill", "post")


@dataclass(frozen=True)
class Size:
    """blocks: how often the two ways take turns; prompts: of each client in one block."""

    blocks: int
    prompts: Mapping[int, int]


QUICK = Size(blocks=2, prompts={1: 20, 16: 5})
FULL = Size(blocks=5, prompts={1: 60, 16: 20})


@dataclass(frozen=True)
class Prompted:
    """One prompt through the stack, as its client saw it. Unix ms."""

    run_id: str
    sent_ms: float
    seen_ms: float

    @property
    def ttft_ms(self) -> float:
        return self.seen_ms - self.sent_ms


@dataclass
class Measured:
    """What one number of clients gave. connect_ms: ticket and connection, before the first send."""

    direct_ms: list[float] = field(default_factory=list)
    prompted: list[Prompted] = field(default_factory=list)
    connect_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Marks:
    """When a run passed from one hop to the next, in Unix ms, as the worker's log has it.

    begun: the Lambda had the send; enqueued: SQS had the job.
    """

    begun_ms: float
    enqueued_ms: float
    received_ms: float
    claimed_ms: float
    prompted_ms: float
    first_token_ms: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ttft", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more prompts, for steadier tails")
    size = FULL if parser.parse_args().full else QUICK
    return cloud.main(lambda: bench(size))


def bench(size: Size) -> None:
    console = Console()
    with cloud.running_cloud(console, workers=1, slots=SLOTS) as running:
        users = running.add_users(TIER, max(CLIENTS))
        tokens = [running.id_token(user) for user in users]
        measured = asyncio.run(_measure_all(running, tokens, size, console))
        # Their clocks are one: all of it runs on this machine.
        marks = read_marks(running.worker_log())
    _report(console, measured, marks)


async def _measure_all(
    running: cloud.Cloud, tokens: Sequence[str], size: Size, console: Console
) -> dict[int, Measured]:
    engine = TritonEngine(running.stack.endpoints.triton_grpc_url, MODEL_NAME)
    measured = {clients: Measured() for clients in CLIENTS}
    try:
        for clients in CLIENTS:
            found = measured[clients]
            async with asyncio.timeout(DEADLINE_S * (1 + size.blocks * size.prompts[clients] / 4)):
                async with _connected(running, tokens[:clients], found) as sockets:
                    for block in range(size.blocks):
                        console.print(
                            f"{clients} client(s), block {block + 1} of {size.blocks}",
                            highlight=False,
                        )
                        await _block(engine, sockets, size.prompts[clients], found)
    finally:
        await engine.close()
    return measured


async def _block(
    engine: TritonEngine, sockets: Sequence[ClientConnection], prompts: int, found: Measured
) -> None:
    """Each client sends its next prompt when its answer is complete."""

    async def direct_client() -> list[float]:
        return [await _ask_engine(engine) for _ in range(WARM_UP_PROMPTS + prompts)]

    async def stack_client(socket: ClientConnection) -> list[Prompted]:
        return [await _ask_stack(socket) for _ in range(WARM_UP_PROMPTS + prompts)]

    for times_ms in await asyncio.gather(*(direct_client() for _ in sockets)):
        found.direct_ms += times_ms[WARM_UP_PROMPTS:]
    for answers in await asyncio.gather(*(stack_client(socket) for socket in sockets)):
        found.prompted += answers[WARM_UP_PROMPTS:]


def question() -> str:
    """A prompt that nobody has sent yet, of one length, with a short answer."""
    return (
        f"This is question {uuid.uuid4().hex} of a benchmark of the time that passes until the first "
        "token of an answer arrives. It is as long as people's questions usually are. Count to 3."
    )


async def _ask_engine(engine: TritonEngine) -> float:
    """The time to the first token, in ms. The prompt is what a worker builds for a new chat."""
    limits = DEFAULTS[TIER]
    asked = Message(
        chat_id="",
        seq=1,
        message_id="",
        role=Role.USER,
        text=question(),
        run_id="",
        created_ms=0,
    )
    prompt = build(History([asked]), "", room_for(limits), estimate_tokens)
    started_s = time.monotonic()
    first_ms = 0.0
    async for _ in engine.generate(prompt.text, limits.max_output_tokens):
        first_ms = first_ms or (time.monotonic() - started_s) * 1000
    return first_ms


async def _ask_stack(socket: ClientConnection) -> Prompted:
    """A new chat, so that the prompt is the question alone, as the engine itself was asked."""
    message_id = uuid.uuid4().hex
    action = {"action": "send", "chat_id": None, "message_id": message_id, "text": question()}
    sent_ms = _now_ms()
    await socket.send(json.dumps(action))
    prompted: Prompted | None = None
    async with asyncio.timeout(DEADLINE_S):
        async for text in socket:
            seen_ms = _now_ms()
            frame = json.loads(text)
            if frame["type"] == "run.delta" and prompted is None:
                prompted = Prompted(frame["run_id"], sent_ms, seen_ms)
            elif frame["type"] == "run.completed" and prompted is not None:
                return prompted
            elif frame["type"] in ("error", "run.failed"):
                raise RuntimeError(f"the stack answered {frame}")
    raise RuntimeError("the connection ended before the answer")


@asynccontextmanager
async def _connected(
    running: cloud.Cloud, tokens: Sequence[str], found: Measured
) -> AsyncIterator[list[ClientConnection]]:
    endpoints = running.stack.endpoints
    async with (
        httpx.AsyncClient(base_url=endpoints.http_url, timeout=DEADLINE_S) as http,
        AsyncExitStack() as closing,
    ):

        async def connected(token: str) -> ClientConnection:
            answer = await http.post("/tickets", headers={"authorization": f"Bearer {token}"})
            answer.raise_for_status()
            url = f"{endpoints.ws_url}?ticket={answer.json()['ticket']}"
            return await closing.enter_async_context(connect(url, proxy=None))

        await connected(tokens[0])
        sockets: list[ClientConnection] = []
        for token in tokens:
            started_s = time.monotonic()
            sockets.append(await connected(token))
            found.connect_ms.append((time.monotonic() - started_s) * 1000)
        yield sockets


def _now_ms() -> float:
    return time.time_ns() / 1_000_000


def read_marks(worker_lines: Sequence[Mapping[str, Any]]) -> dict[str, Marks]:
    """By run id."""
    return {
        line["run_id"]: Marks(
            begun_ms=line["created_ms"],
            enqueued_ms=line["enqueued_ms"],
            received_ms=line["received_ms"],
            claimed_ms=line["claimed_ms"],
            prompted_ms=line["prompted_ms"],
            first_token_ms=line["first_token_ms"],
        )
        for line in worker_lines
        if line["message"] == "run.first_token"
    }


def hops_ms(prompted: Prompted, marks: Marks) -> dict[str, float]:
    """One prompt's hops, which add up to its time to first token."""
    moments = (
        prompted.sent_ms,
        marks.begun_ms,
        marks.enqueued_ms,
        marks.received_ms,
        marks.claimed_ms,
        marks.prompted_ms,
        marks.first_token_ms,
        prompted.seen_ms,
    )
    pairs = itertools.pairwise(moments)
    return {hop: end - start for hop, (start, end) in zip(HOPS, pairs, strict=True)}


def mean_hops_ms(measured: Measured, marks: Mapping[str, Marks]) -> dict[str, float]:
    """Means, since they add up; medians would not."""
    found = [hops_ms(one, marks[one.run_id]) for one in measured.prompted]
    return {hop: statistics.fmean(hops[hop] for hops in found) for hop in HOPS}


def _report(console: Console, measured: Mapping[int, Measured], marks: Mapping[str, Marks]) -> None:
    figures: dict[str, dict[str, Figure]] = {}
    goals: dict[str, Goal] = {}
    hops = {clients: mean_hops_ms(found, marks) for clients, found in measured.items()}
    for clients, found in measured.items():
        ttfts_ms = [one.ttft_ms for one in found.prompted]
        times = {
            "direct_p50_ms": percentile(found.direct_ms, 50),
            "direct_p99_ms": percentile(found.direct_ms, 99),
            "stack_p50_ms": percentile(ttfts_ms, 50),
            "stack_p99_ms": percentile(ttfts_ms, 99),
        }
        ratio = times["stack_p50_ms"] / times["direct_p50_ms"]
        figures[f"clients_{clients}"] = {
            **{name: round(value, 1) for name, value in times.items()},
            "stack_to_direct_p50": round(ratio, 2),
            "connect_p50_ms": round(percentile(found.connect_ms, 50), 1),
            "hops": {hop: round(value, 1) for hop, value in hops[clients].items()},
            "direct_prompts": len(found.direct_ms),
            "stack_prompts": len(ttfts_ms),
        }
        goals |= {f"{name}_at_{clients}": reported(value) for name, value in times.items()}
    for table in _tables(figures, hops):
        console.print(table)
    console.print(
        "One machine plays all parts. Of these times the emulator's own are: in `gateway`, the wait of "
        "one client's Lambda for another's, since it runs those of a WebSocket route one after another; "
        "in `lane`, up to 100 ms, since it looks at a waiting long poll's queue each 100 ms; and about "
        "5 ms around each Lambda. AWS has delays of its own in the same places: these times say "
        "nothing of them. `prefill` is the engine's, and a part of the direct time too.",
        highlight=False,
    )
    # At the top what one prompt meets that nobody competes with; below it, each number of clients.
    finish(console, "ttft", {**figures[f"clients_{min(measured)}"], **figures}, goals)


def _tables(figures: Mapping[str, Any], hops: Mapping[int, Mapping[str, float]]) -> Iterator[Table]:
    times = Table("ms", *(f"{clients} clients" for clients in hops), title="Time to first token")
    for name in (
        *("direct_p50_ms", "direct_p99_ms", "stack_p50_ms", "stack_p99_ms"),
        *("stack_to_direct_p50", "connect_p50_ms", "direct_prompts", "stack_prompts"),
    ):
        times.add_row(name, *(f"{figures[f'clients_{clients}'][name]:g}" for clients in hops))
    yield times
    shares = Table("hop", *(f"{clients} clients" for clients in hops), title="Mean of each hop, ms")
    for hop in HOPS:
        shares.add_row(
            hop,
            *(f"{of[hop]:.1f} ({of[hop] / sum(of.values()):.0%})" for of in hops.values()),
        )
    yield shares


if __name__ == "__main__":
    sys.exit(main())
