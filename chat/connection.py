"""One WebSocket kept alive under a client: a ticket, a socket, pings, and a new one when it is gone.

Owns when to connect and when to give a socket up. Knows nothing of runs: what to say again on a new
connection is the client's business.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from chat import wire
from chat.api import HttpApi, Problem
from chat.client import Client
from chat.transcript import Frame

State = Literal["connecting", "open", "waiting"]

_FIRST_PAUSE_S, _MOST_PAUSE_S = 1.0, 30.0
_CONNECT_TIMEOUT_S = 15.0

_STEADY_S = 5.0
"""A socket that lasted this long was a success: the next failure is a first one again."""

_PING_S = 240.0
"""API Gateway ends a connection after 10 minutes without a frame. Whether the other side lives is asked
more often, below the frames, by websockets itself."""

_MAX_AGE_S, _MAX_AGE_SPREAD_S = 6_600.0, 300.0
"""API Gateway ends a connection after 2 hours; go before, at a time of our own."""


@dataclass(eq=False)
class Connection:
    """`async with`: comes and stays up in the background until the block ends. on_state: told of each
    change. Whatever makes it useless to go on (the user must sign in again) is raised by `opened` and
    `ended`."""

    client: Client
    http: HttpApi
    ws_url: str
    rng: random.Random = field(default_factory=random.Random)
    on_state: Callable[[State], None] = lambda state: None
    attempts: int = 0
    _state: State | None = None
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _opened_s: float = math.inf
    _socket: ClientConnection | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._wanted.set()
        self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self.client.live())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def opened(self) -> None:
        """Until there is a connection. Raises Problem where there will be none."""
        waiting = asyncio.create_task(self._open.wait())
        try:
            await asyncio.wait({waiting, self._tasks[0]}, return_when=asyncio.FIRST_COMPLETED)
            if self._tasks[0].done():
                await self._tasks[0]
        finally:
            waiting.cancel()

    async def ended(self) -> None:
        """Until it is useless to go on: raises the Problem that makes it so."""
        await asyncio.shield(self._tasks[0])

    async def drop(self) -> None:
        """As a phone in a tunnel does, without a good-bye; stays away until `come_back`."""
        self._wanted.clear()
        if self._socket is not None:
            self._socket.transport.abort()
            await self._socket.wait_closed()

    async def come_back(self) -> None:
        self._wanted.set()
        await self.opened()

    async def _keep(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._enter("connecting")
            self.attempts += 1
            self._opened_s = math.inf
            try:
                await self._once()
            except Problem as problem:
                if problem.code == "unauthorized":
                    raise
            except (OSError, TimeoutError, WebSocketException):
                pass
            finally:
                self._lost()
            if not self._wanted.is_set():
                failures = 0
                continue
            if loop.time() - self._opened_s >= _STEADY_S:
                failures = 0
            self._enter("waiting")
            # Anywhere below the ceiling, so that clients that lost a server together do not return
            # together.
            ceiling_s = min(_MOST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures, 30))
            failures += 1
            await asyncio.sleep(self.rng.random() * ceiling_s)

    async def _once(self) -> None:
        """From a ticket to the socket's end."""
        ticket = await self.http.ticket()
        age_s = _MAX_AGE_S + self.rng.random() * _MAX_AGE_SPREAD_S
        async with connect(
            f"{self.ws_url}?ticket={ticket}",
            open_timeout=_CONNECT_TIMEOUT_S,
            max_size=wire.MAX_FRAME_BYTES,
            max_queue=None,
        ) as socket:
            self._socket = socket
            outgoing: asyncio.Queue[Frame] = asyncio.Queue()
            tasks = [
                asyncio.create_task(self._speak(socket, outgoing)),
                asyncio.create_task(self._listen(socket)),
                asyncio.create_task(self._ping(outgoing)),
            ]
            try:
                self.client.connect(outgoing.put_nowait)
                self._opened_s = asyncio.get_running_loop().time()
                self._enter("open")
                self._open.set()
                await asyncio.wait(tasks, timeout=age_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _lost(self) -> None:
        self.client.disconnect()
        self._socket = None
        self._open.clear()

    def _enter(self, state: State) -> None:
        if state != self._state:
            self._state = state
            self.on_state(state)

    @staticmethod
    async def _speak(socket: ClientConnection, outgoing: asyncio.Queue[Frame]) -> None:
        while True:
            await socket.send(wire.encode(await outgoing.get()))

    async def _listen(self, socket: ClientConnection) -> None:
        async for said in socket:
            frame = wire.read(said)
            if frame is not None:
                self.client.receive(frame)
            elif wire.is_of_gateway(said):
                self.client.ask_again_sooner()

    @staticmethod
    async def _ping(outgoing: asyncio.Queue[Frame]) -> None:
        while True:
            await asyncio.sleep(_PING_S)
            outgoing.put_nowait({"action": "ping"})
