"""`make bench-flood`: what one user who never pauses does to the others.

Two workers serve ten light users of the free tier, two of the pro tier, and, half of the time, one more
free user who sends whenever the account lets them, and long answers. Blocks with and without the flood
take turns in one run; compared are the others' times to first token: as they see it, and from the
admission on. Before that lies the gateway, where the emulator runs the functions of a WebSocket route one
after another, so that his refused sends hold up everybody's.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import cloud
from bench.report import Figure, finish, percentile, reported
from bench.viewers import Viewer
from chat.client import Refused, now_ms
from chatcore.domain.tiers import Tier

WORKERS = 2
SLOTS = 4
LIGHT = 10
PRO = 2
LIGHT_LAST = 25
"""Numbers that a light user's answer counts to: about a second of it."""
FLOOD_LAST = 400
MEAN_PAUSE_S = 3.0
SETTLE_S = 3.0
"""At the beginning of each block, not counted: what is there is still from the block before."""


@dataclass(frozen=True)
class Size:
    blocks: int
    block_s: float


QUICK = Size(blocks=4, block_s=28.0)
FULL = Size(blocks=12, block_s=60.0)


@dataclass
class Found:
    """By tier and whether there was a flood: ttft_ms: as the user sees it; admitted_ms: from the admission
    to the engine's first token. runs: which of them each counted run belongs to. admitted, refused:
    prompts of the flood."""

    ttft_ms: dict[tuple[Tier, bool], list[float]] = field(default_factory=dict)
    admitted_ms: dict[tuple[Tier, bool], list[float]] = field(default_factory=dict)
    runs: dict[str, tuple[Tier, bool]] = field(default_factory=dict)
    admitted: int = 0
    refused: int = 0

    def add(self, run_id: str, tier: Tier, flooded: bool, ttft_ms: float) -> None:
        self.runs[run_id] = tier, flooded
        self.ttft_ms.setdefault((tier, flooded), []).append(ttft_ms)

    def read(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """What the workers have logged of the counted runs."""
        for line in lines:
            if line["message"] == "run.first_token" and line["run_id"] in self.runs:
                waited_ms = line["first_token_ms"] - line["created_ms"]
                self.admitted_ms.setdefault(self.runs[line["run_id"]], []).append(waited_ms)


@dataclass
class Weather:
    """Whether it floods, and whether what begins now counts."""

    flooded: bool = False
    counts: bool = False
    over: bool = False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more and longer blocks")
    size = FULL if parser.parse_args().full else QUICK
    return cloud.main(lambda: bench(size))


def bench(size: Size) -> None:
    console = Console()
    with cloud.running_cloud(console, workers=WORKERS, slots=SLOTS) as running:
        light = running.add_users(Tier.FREE, LIGHT + 1)
        pro = running.add_users(Tier.PRO, PRO)
        found = asyncio.run(
            _measure(
                running,
                {
                    Tier.FREE: [running.id_token(user) for user in light],
                    Tier.PRO: [running.id_token(user) for user in pro],
                },
                size,
                console,
            )
        )
        for number in range(1, WORKERS + 1):
            found.read(running.worker_log(number))
    _report(console, found)


async def _measure(
    running: cloud.Cloud, tokens: Mapping[Tier, Sequence[str]], size: Size, console: Console
) -> Found:
    found, weather = Found(), Weather()
    async with AsyncExitStack() as closing:
        clients = {
            tier: [
                await closing.enter_async_context(Viewer(running.stack.endpoints, token))
                for token in of_tier
            ]
            for tier, of_tier in tokens.items()
        }
        flooder = clients[Tier.FREE].pop()
        people = [(tier, client) for tier, of_tier in clients.items() for client in of_tier]
        everybody = [
            asyncio.create_task(_asks_now_and_then(tier, client, seed, weather, found))
            for seed, (tier, client) in enumerate(people)
        ]
        everybody.append(asyncio.create_task(_floods(flooder, weather, found)))
        for number in range(size.blocks):
            weather.flooded, weather.counts = number % 2 == 1, False
            console.print(
                f"block {number + 1} of {size.blocks}, {'with' if weather.flooded else 'without'} "
                "the flood",
                highlight=False,
            )
            await asyncio.sleep(SETTLE_S)
            weather.counts = True
            await asyncio.sleep(size.block_s - SETTLE_S)
        weather.over = True
        await asyncio.gather(*everybody)
    return found


async def _asks_now_and_then(
    tier: Tier, client: Viewer, seed: int, weather: Weather, found: Found
) -> None:
    rng = random.Random(seed)
    while not weather.over:
        await asyncio.sleep(rng.expovariate(1 / MEAN_PAUSE_S))
        flooded, counts, asked_ms = weather.flooded, weather.counts, now_ms()
        seen = client.ask(f"Please count to {LIGHT_LAST}.")
        await seen.until_length(1)
        if counts:
            found.add(seen.run_id, tier, flooded, seen.first_text_ms - asked_ms)
        await seen.until_over()


async def _floods(client: Viewer, weather: Weather, found: Found) -> None:
    """As many runs at once as the account lets them have, and always one more that is refused."""
    while not weather.over:
        if not weather.flooded:
            await asyncio.sleep(0.1)
            continue
        seen = client.ask(f"Please count to {FLOOD_LAST}.")
        try:
            await seen.until_admitted()
            found.admitted += 1
        except Refused:
            found.refused += 1
            await asyncio.sleep(0.2)


def _report(console: Console, found: Found) -> None:
    table = Table(
        *("tier", "flood", "prompts", "p50", "p99", "from admission: p50", "p99"),
        title="Time to first token, ms",
        title_justify="left",
    )
    figures: dict[str, Figure] = {
        "flood_admitted": found.admitted,
        "flood_refused": found.refused,
    }
    for (tier, flooded), times_ms in sorted(found.ttft_ms.items()):
        words = "with" if flooded else "without"
        p50, p99 = percentile(times_ms, 50), percentile(times_ms, 99)
        since_ms = found.admitted_ms[tier, flooded]
        table.add_row(
            *(str(tier), words, str(len(times_ms)), f"{p50:.0f}", f"{p99:.0f}"),
            *(f"{percentile(since_ms, percent):.0f}" for percent in (50, 99)),
        )
        figures |= {
            f"{tier}_{words}_p50_ms": round(p50, 1),
            f"{tier}_{words}_p99_ms": round(p99, 1),
        }
        figures[f"{tier}_{words}_prompts"] = len(times_ms)
    console.print(table)
    goals = {
        f"{tier}_{name}_p{percent}_with_to_without": reported(
            percentile(times_ms[tier, True], percent) / percentile(times_ms[tier, False], percent)
        )
        for name, times_ms in (("ttft", found.ttft_ms), ("from_admission", found.admitted_ms))
        for tier in (Tier.FREE, Tier.PRO)
        for percent in (50, 99)
    }
    finish(console, "flood", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
