"""`make bench-resume`: viewers who drop out of their streams at random and come back.

Each disconnect ends the socket without a good-bye, in the middle of an answer, for 0 to 5 seconds; then
the viewer takes a new ticket and attaches from where the text ended. What is rendered is compared with
what is stored, character by character. The time until new text is there is compared, in the same run,
with the gap between frames that viewers have who stay.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench import cloud
from bench.report import at_most, finish, percentile, reported
from bench.viewers import Viewer
from chat.client import Answer, now_ms
from chatcore.domain.tiers import Tier

CLIENTS = 8
STAYING = 2
"""Viewers beside them who never leave."""

SLOTS = CLIENTS + STAYING
MOST_AWAY_S = 5.0
MOST_WATCHED_S = 1.5
LAST = 1_200
"""Numbers that an answer counts to: about half a minute of it."""


@dataclass(frozen=True)
class Size:
    disconnects: int


QUICK = Size(disconnects=200)
FULL = Size(disconnects=1_000)


@dataclass
class Found:
    """Times in ms. attached: from the first frame sent on the new socket; back: from before the new
    ticket was asked for."""

    attached_ms: list[float] = field(default_factory=list)
    back_ms: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    disconnects: int = 0
    answers: int = 0
    lost: int = 0
    repeated: int = 0
    rewound: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.resume", description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000 disconnects, not 200")
    size = FULL if parser.parse_args().full else QUICK
    return cloud.main(lambda: bench(size))


def bench(size: Size) -> None:
    console = Console()
    with cloud.running_cloud(console, workers=1, slots=SLOTS) as running:
        users = running.add_users(Tier.PRO, CLIENTS + STAYING)
        tokens = [running.id_token(user) for user in users]
        found = asyncio.run(_measure(running, tokens, size, console))
    _report(console, found)


async def _measure(
    running: cloud.Cloud, tokens: Sequence[str], size: Size, console: Console
) -> Found:
    found = Found()
    everybody_left = asyncio.Event()
    async with AsyncExitStack() as closing:
        clients = [
            await closing.enter_async_context(Viewer(running.stack.endpoints, token))
            for token in tokens
        ]
        staying = [
            asyncio.create_task(_stays(client, found, everybody_left))
            for client in clients[CLIENTS:]
        ]
        each = size.disconnects // CLIENTS
        await asyncio.gather(
            *(
                _comes_and_goes(client, each, random.Random(number), found, console)
                for number, client in enumerate(clients[:CLIENTS])
            )
        )
        everybody_left.set()
        await asyncio.gather(*staying)
    return found


async def _comes_and_goes(
    client: Viewer, disconnects: int, rng: random.Random, found: Found, console: Console
) -> None:
    left = disconnects
    while left:
        seen = client.ask(f"Please count to {LAST}.")
        await seen.until_length(1)
        while left and not seen.is_over:
            if await _is_over_within(seen, rng.uniform(0, MOST_WATCHED_S)):
                break
            await client.drop()
            await asyncio.sleep(rng.uniform(0, MOST_AWAY_S))
            before, back_ms = len(seen.text), now_ms()
            await client.come_back()
            attached_ms = now_ms()
            await seen.until_length(before + 1)
            if len(seen.text) > before:
                found.attached_ms.append(seen.new_text_ms - attached_ms)
                found.back_ms.append(seen.new_text_ms - back_ms)
            left -= 1
            found.disconnects += 1
            if found.disconnects % 50 == 0:
                console.print(f"{found.disconnects} disconnects", highlight=False)
        await _account(client, seen, found)


async def _is_over_within(seen: Answer, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await seen.until_over()
    except TimeoutError:
        return False
    return True


async def _stays(client: Viewer, found: Found, until: asyncio.Event) -> None:
    while not until.is_set():
        seen = client.ask(f"Please count to {LAST}.")
        moments: list[float] = []
        seen.on_new_text = moments.append
        await seen.until_over()
        found.gaps_ms += [later - earlier for earlier, later in itertools.pairwise(moments)]
        await _account(client, seen, found)


async def _account(client: Viewer, seen: Answer, found: Found) -> None:
    await seen.until_over()
    stored = await client.stored_answer(seen)
    common = next(
        (
            index
            for index, (left, right) in enumerate(zip(stored, seen.text, strict=False))
            if left != right
        ),
        min(len(stored), len(seen.text)),
    )
    found.answers += 1
    found.lost += len(stored) - common
    found.repeated += seen.transcript.repeated + len(seen.text) - common
    found.rewound += seen.transcript.rewound


def _report(console: Console, found: Found) -> None:
    table = Table("ms", "p50", "p99", title="Until there is new text", title_justify="left")
    rows = {
        "after the attach": found.attached_ms,
        "after the way back began (ticket, socket, attach)": found.back_ms,
        "gap between frames of those who stay": found.gaps_ms,
    }
    for name, times_ms in rows.items():
        table.add_row(name, f"{percentile(times_ms, 50):.0f}", f"{percentile(times_ms, 99):.0f}")
    console.print(table)
    figures = {
        "disconnects": found.disconnects,
        "answers": found.answers,
        "attach_to_text_p50_ms": round(percentile(found.attached_ms, 50), 1),
        "back_to_text_p50_ms": round(percentile(found.back_ms, 50), 1),
        "undisturbed_gap_p99_ms": round(percentile(found.gaps_ms, 99), 1),
        "rewound_characters": found.rewound,
    }
    gap_p99_ms = percentile(found.gaps_ms, 99)
    goals = {
        "lost_characters": at_most(found.lost, 0),
        "repeated_characters": at_most(found.repeated, 0),
        "attach_to_text_p99_ms": reported(percentile(found.attached_ms, 99)),
        "back_to_text_p99_ms": reported(percentile(found.back_ms, 99)),
        "attach_to_text_p99_of_undisturbed_gap_p99": reported(
            percentile(found.attached_ms, 99) / gap_p99_ms
        ),
    }
    finish(console, "resume", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
