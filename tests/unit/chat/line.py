"""A client on a virtual clock, and what it says."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from chat.client import Client
from chat.transcript import Frame
from virtual_clock.loop import run

Said = list[Frame]


def on_a_line(story: Callable[[Client, Said], Coroutine[Any, Any, None]], **options: Any) -> Client:
    """Play it with a client that is connected; what it says is kept."""
    said: Said = []
    client = Client(**{"rng": random.Random(1), **options})

    async def play() -> None:
        living = asyncio.create_task(client.live())
        client.connect(said.append)
        await story(client, said)
        living.cancel()

    run(play())
    return client


def actions(said: Said) -> list[str]:
    return [frame["action"] for frame in said]
