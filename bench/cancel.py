"""`make bench-cancel`: from a user's stop until the GPU's slot serves somebody else.

The engine is full, and more runs wait inside it, so that the moment at which a slot is free is seen from
outside: a waiting run begins. It is that run's first token, less the time that a first token takes on a
slot that is free (asked of the engine itself, under the same load).

    stop ──control message──▶ worker ──gRPC cancel──▶ engine: its next step notices │ next run's prefill │
    └──────────────────────────── stop to slot free ───────────────────────────────┘

Three states: queued (no slot is held: until the user is told), prefilling, streaming; one stop at a time
and sixteen at once. The control message is measured by the worker's log line `inbox.control`; the step
of the engine is the time between two of its responses. Wasted tokens are those for which the engine had
time between the stop and the free slot: decoded ones while streaming, read ones while prefilling.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import cloud
from bench.report import Figure, Goal, at_most, finish, percentile, reported
from bench.viewers import Viewer
from chat.client import Answer, now_ms
from chatcore.adapters.triton import TritonEngine
from chatcore.domain.chat import Message, Role
from chatcore.domain.context import History, build, room_for
from chatcore.domain.ledger import estimate_tokens
from chatcore.domain.tiers import DEFAULTS, Tier
from local.worker import MODEL_NAME

ENGINE_SLOTS = 16
WORKER_SLOTS = 2 * ENGINE_SLOTS
"""As many runs as the engine decodes may wait inside it."""

CONCURRENT = (1, 16)
TIER = Tier.PRO
WORKER_TAKES = WORKER_SLOTS + DEFAULTS[TIER].overcommit_slots
"""What comes beyond waits in its lane."""

STATES = ("queued", "prefilling", "streaming")
STEPS = 250
ASKED_DIRECTLY = 20
INTO_PREFILL_S = 0.1
LONG_WORDS = 3_500
READ_TOKEN_US = 1_000
"""So that a long prompt's prefill takes seconds, and sixteen can be stopped within it."""


@dataclass(frozen=True)
class Size:
    """How many stops in each state, by how many at once."""

    stops: dict[int, int]


QUICK = Size(stops={1: 40, 16: 112})
FULL = Size(stops={1: 120, 16: 240})


@dataclass(frozen=True)
class Engine:
    """Of the engine itself, in ms. step: between two responses, each one measured; first_token: of a
    short prompt on a free slot, the fastest, so that no slot is thought free before it was; read_token:
    how long one more token of a prompt takes."""

    step_ms: Sequence[float]
    first_token_ms: float
    read_token_ms: float


@dataclass(frozen=True)
class Stopped:
    """One stop, in Unix ms. next_run_id: who waited for the slot; empty where there was none to free."""

    run_id: str
    asked_ms: float
    told_ms: float
    next_run_id: str = ""


@dataclass
class Found:
    stopped: dict[tuple[str, int], list[Stopped]] = field(default_factory=dict)
    never_started: bool = True
    refunded: bool = True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cancel", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more stops, for steadier tails")
    size = FULL if parser.parse_args().full else QUICK
    return cloud.main(lambda: bench(size))


def bench(size: Size) -> None:
    console = Console()
    with cloud.running_cloud(
        console,
        workers=1,
        slots=WORKER_SLOTS,
        engine_settings={
            "DEMO_SLOTS": str(ENGINE_SLOTS),
            "DEMO_PREFILL_PER_TOKEN_US": str(READ_TOKEN_US),
        },
    ) as running:
        users = running.add_users(TIER, max(CONCURRENT))
        tokens = [running.id_token(user) for user in users]
        engine, found = asyncio.run(_measure(running, tokens, size, console))
        lines = running.worker_log()
    _report(console, engine, found, lines)


async def _measure(
    running: cloud.Cloud, tokens: Sequence[str], size: Size, console: Console
) -> tuple[Engine, Found]:
    triton = TritonEngine(running.stack.endpoints.triton_grpc_url, MODEL_NAME)
    found = Found()
    async with AsyncExitStack() as closing:
        closing.push_async_callback(triton.close)
        clients = [
            await closing.enter_async_context(Viewer(running.stack.endpoints, token))
            for token in tokens
        ]
        crowd = Crowd(clients)
        console.print("the engine itself", highlight=False)
        await crowd.fill(ENGINE_SLOTS - 1)
        engine = await _ask_engine(triton)
        for at_once in CONCURRENT:
            rounds = size.stops[at_once] // at_once
            for state, measure in (
                ("prefilling", _stop_prefilling),
                ("streaming", _stop_streaming),
                ("queued", _stop_queued),
            ):
                console.print(f"{state}, {at_once} at once", highlight=False)
                stopped = found.stopped[state, at_once] = []
                for _ in range(rounds):
                    stopped += await measure(crowd, at_once)
        await crowd.empty()
        for client in clients:
            usage = await client.usage()
            found.refunded &= (usage["reserved_tokens"], usage["active_runs"]) == (0, 0)
        found.never_started = await _never_started(clients, found)
    return engine, found


@dataclass
class Crowd:
    """The users, and their runs that take the engine's slots, the oldest first."""

    clients: Sequence[Viewer]
    streaming: deque[tuple[Viewer, Answer]] = field(default_factory=deque)
    waiting: deque[tuple[Viewer, Answer]] = field(default_factory=deque)
    _turn: int = 0

    def next_client(self) -> Viewer:
        self._turn += 1
        return self.clients[self._turn % len(self.clients)]

    async def ask(self, text: str) -> tuple[Viewer, Answer]:
        client = self.next_client()
        return client, client.ask(text)

    async def fill(self, streaming: int) -> None:
        """Until that many stream, or fewer again."""
        while len(self.streaming) < streaming:
            self.streaming.append(await self.ask(_long_answer()))
        await asyncio.gather(*(seen.until_length(1) for _, seen in self.streaming))
        while len(self.streaming) > streaming:
            await _stop(*self.streaming.popleft())

    async def wait_in_engine(self, count: int) -> None:
        """Until that many more runs wait inside the engine."""
        while len(self.waiting) < count:
            self.waiting.append(await self.ask(_long_answer()))
        for _, seen in self.waiting:
            await seen.until_started()

    async def admit_waiting(self, count: int) -> list[str]:
        """The runs that have come out of the wait, in the order of their first tokens."""
        ready = [self.waiting.popleft() for _ in range(count)]
        await asyncio.gather(*(seen.until_length(1) for _, seen in ready))
        self.streaming.extend(ready)
        return [seen.run_id for _, seen in ready]

    async def empty(self) -> None:
        for client, seen in (*self.waiting, *self.streaming):
            await _stop(client, seen)
        self.waiting.clear()
        self.streaming.clear()


async def _stop(client: Viewer, seen: Answer) -> float:
    """Returns when it was asked for; over when that has been told."""
    asked_ms = now_ms()
    if not seen.is_over:
        client.cancel(seen)
    await seen.until_over()
    return asked_ms


async def _stop_all(runs: Sequence[tuple[Viewer, Answer]]) -> list[Stopped]:
    asked = await asyncio.gather(*(_stop(client, seen) for client, seen in runs))
    return [
        Stopped(seen.run_id, asked_ms, seen.ended_ms)
        for (_, seen), asked_ms in zip(runs, asked, strict=True)
    ]


async def _stop_streaming(crowd: Crowd, at_once: int) -> list[Stopped]:
    await crowd.fill(ENGINE_SLOTS)
    await crowd.wait_in_engine(at_once)
    runs = [crowd.streaming.popleft() for _ in range(at_once)]
    stopping = asyncio.create_task(_stop_all(runs))
    came = await crowd.admit_waiting(at_once)
    return _with_next(await stopping, came)


async def _stop_prefilling(crowd: Crowd, at_once: int) -> list[Stopped]:
    await crowd.fill(ENGINE_SLOTS - at_once)
    runs = [await crowd.ask(_long_question()) for _ in range(at_once)]
    for _, seen in runs:
        await seen.until_started()
    await crowd.wait_in_engine(at_once)
    await asyncio.sleep(INTO_PREFILL_S)
    stopping = asyncio.create_task(_stop_all(runs))
    came = await crowd.admit_waiting(at_once)
    stopped = _with_next(await stopping, came)
    if any(seen.text for _, seen in runs):
        raise RuntimeError("a prefill was over before it could be stopped")
    return stopped


async def _stop_queued(crowd: Crowd, at_once: int) -> list[Stopped]:
    await crowd.fill(ENGINE_SLOTS)
    await crowd.wait_in_engine(WORKER_TAKES - ENGINE_SLOTS)
    runs = [await crowd.ask(_long_answer()) for _ in range(at_once)]
    for _, seen in runs:
        await seen.until_admitted()
    return await _stop_all(runs)


def _with_next(stopped: Sequence[Stopped], came: Sequence[str]) -> list[Stopped]:
    return [
        Stopped(one.run_id, one.asked_ms, one.told_ms, next_run_id)
        for one, next_run_id in zip(stopped, came, strict=True)
    ]


async def _never_started(clients: Sequence[Viewer], found: Found) -> bool:
    by_run = {one.run_id for at in CONCURRENT for one in found.stopped["queued", at]}
    for client in clients:
        for seen in client.answers():
            if seen.run_id in by_run:
                run = await client.http.run(seen.run_id)
                if run["status"] != "cancelled" or run["started_at"] is not None:
                    return False
    return True


def _long_answer() -> str:
    return f"This is question {uuid.uuid4().hex}. Please count to 5000."


def _long_question() -> str:
    return " ".join([uuid.uuid4().hex, *(["word"] * LONG_WORDS), "Please count to 5000."])


async def _ask_engine(engine: TritonEngine) -> Engine:
    steps_ms: list[float] = []
    former_ms = 0.0
    async for _ in _generate(engine, _long_answer()):
        at_ms = now_ms()
        if former_ms:
            steps_ms.append(at_ms - former_ms)
        former_ms = at_ms
        if len(steps_ms) == STEPS:
            break
    short_ms = [await _first_token_ms(engine, _long_answer()) for _ in range(ASKED_DIRECTLY)]
    long_ms = [await _first_token_ms(engine, _long_question()) for _ in range(3)]
    read_ms = (percentile(long_ms, 50) - percentile(short_ms, 50)) / LONG_WORDS
    return Engine(steps_ms, min(short_ms), read_ms)


async def _first_token_ms(engine: TritonEngine, text: str) -> float:
    asked_ms = now_ms()
    async for _ in _generate(engine, text):
        return now_ms() - asked_ms
    raise RuntimeError("the engine said nothing")


def _generate(engine: TritonEngine, text: str) -> Any:  # noqa: ANN401 - an async generator
    asked = Message(
        chat_id="", seq=1, message_id="", role=Role.USER, text=text, run_id="", created_ms=0
    )
    limits = DEFAULTS[TIER]
    prompt = build(History([asked]), "", room_for(limits), estimate_tokens)
    return engine.generate(prompt.text, limits.max_output_tokens)


def _report(
    console: Console, engine: Engine, found: Found, lines: Sequence[dict[str, Any]]
) -> None:
    controls_ms = {
        line["run_id"]: _logged_ms(line)
        for line in lines
        if line["message"] == "inbox.control" and line["kind"] == "Cancel"
    }
    first_tokens_ms = {
        line["run_id"]: float(line["first_token_ms"])
        for line in lines
        if line["message"] == "run.first_token"
    }
    step_ms = percentile(engine.step_ms, 99)
    figures: dict[str, Figure] = {
        "engine_step_p50_ms": round(percentile(engine.step_ms, 50), 1),
        "engine_step_p99_ms": round(step_ms, 1),
        "engine_first_token_ms": round(engine.first_token_ms, 1),
        "engine_reads_a_token_in_ms": round(engine.read_token_ms, 3),
    }
    goals: dict[str, Goal] = {}
    table = Table(
        *("state", "stops", "message", "free p50", "p99", "bound", "told", "wasted"),
        title="Stop to slot free, ms (p99 where not said otherwise); wasted tokens",
        title_justify="left",
    )
    for (state, at_once), stopped in found.stopped.items():
        name = f"{state}_at_{at_once}"
        told_ms = [one.told_ms - one.asked_ms for one in stopped]
        goals[f"{name}_told_p99_ms"] = reported(percentile(told_ms, 99))
        goals[f"{name}_stops"] = reported(len(stopped))
        row = [f"{state} ×{at_once}", str(len(stopped))]
        if state == "queued":
            row += ["–"] * 4
            wasted = "0"
        else:
            message_ms = percentile([controls_ms[one.run_id] - one.asked_ms for one in stopped], 99)
            free_ms = [
                came_ms - engine.first_token_ms - asked_ms
                for came_ms, asked_ms in zip(
                    sorted_within(at_once, [first_tokens_ms[one.next_run_id] for one in stopped]),
                    sorted_within(at_once, [one.asked_ms for one in stopped]),
                    strict=True,
                )
            ]
            bound_ms = step_ms + message_ms
            token_ms = (
                percentile(engine.step_ms, 50) if state == "streaming" else engine.read_token_ms
            )
            wasted_tokens = percentile(free_ms, 50) / token_ms
            wasted = f"{wasted_tokens:.0f}"
            goals[f"{name}_slot_free_p99_ms"] = at_most(percentile(free_ms, 99), round(bound_ms, 1))
            goals[f"{name}_control_message_p99_ms"] = reported(message_ms)
            goals[f"{name}_wasted_tokens"] = reported(wasted_tokens)
            row += [
                f"{value:.0f}"
                for value in (
                    *(message_ms, percentile(free_ms, 50)),
                    *(percentile(free_ms, 99), bound_ms),
                )
            ]
        table.add_row(*row, f"{percentile(told_ms, 99):.0f}", wasted)
    goals["engine_step_p99_ms"] = reported(step_ms)
    goals["queued_runs_never_started"] = Goal(
        float(found.never_started), "== 1", found.never_started
    )
    goals["all_refunded"] = Goal(float(found.refunded), "== 1", found.refunded)
    console.print(table)
    finish(console, "cancel", figures, goals)


def sorted_within(size: int, values: Sequence[float]) -> list[float]:
    """Each round's values in order: the first slot that is free is the first run's that waited."""
    return [
        value
        for start in range(0, len(values), size)
        for value in sorted(values[start : start + size])
    ]


def _logged_ms(line: dict[str, Any]) -> float:
    moment = datetime.strptime(line["timestamp"], "%Y-%m-%d %H:%M:%S,%f%z")
    return moment.timestamp() * 1000


if __name__ == "__main__":
    sys.exit(main())
