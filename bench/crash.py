"""`make bench-crash`: workers killed in the middle of answers.

Each round, a few workers stream answers; one of them gets a SIGKILL. Its answers go on at another one
when the lease is over and SQS shows the job again. Measured from the kill, for each of its answers: the
time until there is new text; how much of what was shown is taken back; and, at the end, that all runs
are complete, stored as they were rendered, and paid for once.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import cloud
from bench.report import at_least, at_most, finish, percentile, reported
from bench.viewers import Viewer
from chat.client import Answer, now_ms
from chatcore.domain import lease
from chatcore.domain.ledger import cost_tokens
from chatcore.domain.run import Usage
from chatcore.domain.tiers import Tier
from local.ministack import session

WORKERS = 3
STREAMS = 48
USERS = 8
SLOTS = 2 * STREAMS // WORKERS
"""Of each worker: the others have room for what the killed one had."""

LAST = 350
"""Numbers that an answer counts to: about fifteen seconds of it."""

LEAST_KILLED = 30


@dataclass(frozen=True)
class Size:
    rounds: int


QUICK = Size(rounds=2)
FULL = Size(rounds=8)


@dataclass
class Found:
    """Of the killed workers' answers: times in ms, characters."""

    went_on_ms: list[float] = field(default_factory=list)
    shown: int = 0
    taken_back: int = 0
    runs: int = 0
    lost_runs: int = 0
    wrong_texts: int = 0
    double_charges: int = 0


@dataclass
class Stream:
    client: Viewer
    seen: Answer
    shown_at_kill: int = 0
    rewound_before: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.crash", description=__doc__)
    parser.add_argument("--full", action="store_true", help="8 kills, not 2")
    size = FULL if parser.parse_args().full else QUICK
    return cloud.main(lambda: bench(size))


def bench(size: Size) -> None:
    console = Console()
    engine = {"DEMO_SLOTS": str(2 * WORKERS * SLOTS)}
    with cloud.running_cloud(console, workers=0, slots=SLOTS, engine_settings=engine) as running:
        for _ in range(WORKERS):
            running.add_worker()
        users = running.add_users(Tier.PRO, USERS)
        tokens = [running.id_token(user) for user in users]
        found = asyncio.run(_measure(running, tokens, size, console))
    _report(console, found)


async def _measure(
    running: cloud.Cloud, tokens: Sequence[str], size: Size, console: Console
) -> Found:
    found = Found()
    rng = random.Random(1)
    settled: Counter[Viewer] = Counter()
    async with AsyncExitStack() as closing:
        clients = [
            await closing.enter_async_context(Viewer(running.stack.endpoints, token))
            for token in tokens
        ]
        for number in range(size.rounds):
            console.print(f"kill {number + 1} of {size.rounds}", highlight=False)
            streams = [
                Stream(client, client.ask(f"Please count to {LAST}."))
                for client in clients
                for _ in range(STREAMS // USERS)
            ]
            await asyncio.gather(*(stream.seen.until_length(1) for stream in streams))
            await asyncio.sleep(rng.uniform(1, 6))
            await _kill_one(running, streams, found)
            for stream in streams:
                await _account(stream, found, settled)
        for client in clients:
            usage = await client.usage()
            if usage["used_tokens"] != settled[client] or usage["reserved_tokens"]:
                found.double_charges += 1
    return found


async def _kill_one(running: cloud.Cloud, streams: Sequence[Stream], found: Found) -> None:
    """The one with the most answers; returns when all of those have gone on."""
    runs = session().resource("dynamodb", endpoint_url=cloud.PORTS.aws_endpoint_url)
    table = runs.Table(running.stack.outputs["RunsTable"])

    def holder(stream: Stream) -> str:
        item: dict[str, Any] = table.get_item(
            Key={"run_id": stream.seen.run_id}, ConsistentRead=True
        )["Item"]
        return str(item.get("worker_id", ""))

    holders = {id(stream): holder(stream) for stream in streams}
    victim_id = Counter(filter(None, holders.values())).most_common(1)[0][0]
    orphans = [stream for stream in streams if holders[id(stream)] == victim_id]
    killed_ms = now_ms()
    running.kill_worker(victim_id)
    for stream in orphans:
        stream.shown_at_kill = len(stream.seen.text)
        stream.rewound_before = stream.seen.transcript.rewound
    went_on = [asyncio.create_task(_goes_on(stream.seen)) for stream in orphans]
    await asyncio.to_thread(running.add_worker)
    for stream, moment in zip(orphans, went_on, strict=True):
        found.went_on_ms.append(await moment - killed_ms)
        found.shown += stream.shown_at_kill
        found.taken_back += stream.seen.transcript.rewound - stream.rewound_before


async def _goes_on(seen: Answer) -> float:
    """When there is text that nobody had seen, by the next epoch: what was on its way when the worker
    died still comes."""
    died = seen.transcript.epoch
    moments: list[float] = []

    def note(at_ms: float) -> None:
        if seen.transcript.epoch > died:
            moments.append(at_ms)

    seen.on_new_text = note
    await seen.until(lambda: bool(moments))
    return moments[0]


async def _account(stream: Stream, found: Found, settled: Counter[Viewer]) -> None:
    found.runs += 1
    await stream.seen.until_over()
    run = await stream.client.http.run(stream.seen.run_id)
    if run["status"] != "completed":
        found.lost_runs += 1
        return
    if await stream.client.stored_answer(stream.seen) != stream.seen.text:
        found.wrong_texts += 1
    settled[stream.client] += cost_tokens(Usage(**run["usage"]))


def _report(console: Console, found: Found) -> None:
    lease_s = (lease.LEASE_MS + lease.SKEW_MARGIN_MS) / 1000
    table = Table("s", "", title="From a worker's death until its answers go on")
    for percent in (50, 99):
        table.add_row(f"p{percent}", f"{percentile(found.went_on_ms, percent) / 1000:.1f}")
    table.add_row("its lease and the margin for clocks, renewed each 5 s", f"{lease_s:g}")
    table.add_row("SQS shows the job again, put off each 5 s", f"{lease.HIDDEN_S:g}")
    console.print(table)
    share = found.taken_back / max(1, found.shown)
    figures = {
        "kills": len(found.went_on_ms),
        "runs": found.runs,
        "lease_and_margin_s": lease_s,
        "visibility_s": lease.HIDDEN_S,
        "characters_shown": found.shown,
        "characters_taken_back": found.taken_back,
    }
    goals = {
        "killed_streams": at_least(len(found.went_on_ms), LEAST_KILLED),
        "goes_on_p50_s": reported(percentile(found.went_on_ms, 50) / 1000),
        "goes_on_p99_s": reported(percentile(found.went_on_ms, 99) / 1000),
        "goes_on_p99_of_lease_and_margin": reported(
            percentile(found.went_on_ms, 99) / 1000 / lease_s
        ),
        "share_taken_back": reported(share),
        "lost_runs": at_most(found.lost_runs, 0),
        "texts_not_as_stored": at_most(found.wrong_texts, 0),
        "double_charges": at_most(found.double_charges, 0),
    }
    finish(console, "crash", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
