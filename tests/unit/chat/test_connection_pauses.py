"""When a connection is tried again, left and kept awake: on a virtual clock, with sockets that last."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self, cast

import pytest

from chat import connection as module
from chat.api import HttpApi, Problem
from chat.client import Client, Say
from chat.connection import Connection
from virtual_clock.loop import run

FOREVER_S = 1e9


class Most(random.Random):
    """Chance at its most."""

    def random(self) -> float:
        return 1.0


class Least(random.Random):
    def random(self) -> float:
        return 0.0


@dataclass
class Cloud:
    """In place of the HTTP API and the socket. ticket_s: how long a ticket takes; lasts_s: the socket,
    None where there is no ticket; asked_s: when tickets were asked for; said: on all sockets."""

    ticket_s: float = 0.0
    lasts_s: float | None = None
    asked_s: list[float] = field(default_factory=list)
    said: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    async def ticket(self) -> str:
        self.asked_s.append(self._now_s)
        await asyncio.sleep(self.ticket_s)
        if self.lasts_s is None:
            raise Problem("network", 0, "")
        return "ticket"

    @asynccontextmanager
    async def connect(self, url: str, **_: object) -> AsyncIterator[Self]:
        yield self

    async def send(self, said: str) -> None:
        self.said.append((self._now_s, json.loads(said)))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        assert self.lasts_s is not None
        await asyncio.sleep(self.lasts_s)
        raise StopAsyncIteration

    def played(self, for_s: float, rng: random.Random, client: Client | None = None) -> list[float]:
        """The pauses between the tickets that were asked for."""

        async def play() -> None:
            async with Connection(client or Client(), cast(HttpApi, self), "wss://ws.test", rng):
                await asyncio.sleep(for_s)

        run(play())
        return [round(later_s - one_s, 6) for one_s, later_s in pairwise(self.asked_s)]

    @property
    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass(eq=False)
class Told(Client):
    """What it is told of connections."""

    told: list[str] = field(default_factory=list)

    def connect(self, say: Say) -> None:
        super().connect(say)
        self.told.append("connect")

    def disconnect(self) -> None:
        super().disconnect()
        self.told.append("disconnect")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    monkeypatch.setattr(module, "connect", cloud.connect)
    return cloud


def test_pauses_grow_while_nothing_answers(cloud: Cloud) -> None:
    assert cloud.played(100, Most()) == [1, 2, 4, 8, 16, 30, 30]


def test_pauses_are_anywhere_below(cloud: Cloud) -> None:
    pauses_s = cloud.played(1_000, random.Random(1))
    ceilings_s = [min(30.0, 2.0**number) for number in range(len(pauses_s))]
    shares = [pause_s / most_s for pause_s, most_s in zip(pauses_s, ceilings_s, strict=True)]
    assert min(shares) < 0.2
    assert 0.8 < max(shares) <= 1


def test_a_server_that_takes_long_to_say_no_is_no_success(cloud: Cloud) -> None:
    cloud.ticket_s = 20
    assert cloud.played(90, Most()) == [21, 22, 24]


@pytest.mark.parametrize(
    ("lasts_s", "pauses_s"), [(5, [6, 6, 6, 6, 6]), (4.9, [5.9, 6.9, 8.9, 12.9])]
)
def test_a_socket_that_lasted_was_a_success(
    cloud: Cloud, lasts_s: float, pauses_s: list[float]
) -> None:
    cloud.lasts_s = lasts_s
    assert cloud.played(35, Most()) == pauses_s


@pytest.mark.parametrize(("rng", "age_s"), [(Least(), 6_600), (Most(), 6_901)])
def test_each_connection_is_left_at_a_time_of_its_own(
    cloud: Cloud, rng: random.Random, age_s: float
) -> None:
    cloud.lasts_s = FOREVER_S
    assert cloud.played(7_000, rng) == [age_s]


def test_an_idle_connection_is_kept_awake(cloud: Cloud) -> None:
    cloud.lasts_s = FOREVER_S
    cloud.played(1_000, Most())
    first_s = cloud.asked_s[0]
    told = [(moment_s - first_s, said) for moment_s, said in cloud.said]
    assert told == [(240.0 * number, {"action": "ping"}) for number in (1, 2, 3, 4)]


def test_the_client_is_told_of_each_connection_and_of_its_end(cloud: Cloud) -> None:
    cloud.lasts_s, client = 2, Told()
    cloud.played(7.5, Most(), client)
    assert client.told == ["connect", "disconnect"] * 3
