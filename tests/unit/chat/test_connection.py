"""A connection that comes and goes, over a real socket to a server in this process."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from chat import client as client_module
from chat import connection as module
from chat import wire
from chat.api import HttpApi, Problem
from chat.client import Client
from chat.connection import Connection, State
from tests.unit.chat.frames import delta, ended, started

pytestmark = pytest.mark.enable_socket

DEADLINE_S = 10.0


@dataclass
class Tickets:
    """In place of the HTTP API. problems: for the next ones that are asked for."""

    problems: list[Problem] = field(default_factory=list)
    taken: int = 0

    async def ticket(self) -> str:
        if self.problems:
            raise self.problems.pop(0)
        self.taken += 1
        return f"ticket-{self.taken}"


@dataclass
class Stage:
    """heard: what the server was told, by connection."""

    heard: list[list[dict[str, object]]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, connection: ServerConnection) -> None:
        heard: list[dict[str, object]] = []
        self.heard.append(heard)
        self.connections.append(connection)
        self.paths.append(connection.request.path if connection.request else "")
        with suppress(ConnectionClosed):
            async for said in connection:
                heard.append(json.loads(said))
                self.told.set()

    async def until_told(self, count: int, connection: int = 0) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while len(self.heard) <= connection or len(self.heard[connection]) < count:
                self.told.clear()
                await self.told.wait()


@asynccontextmanager
async def server(stage: Stage) -> AsyncIterator[str]:
    running: Server
    async with serve(stage.serve, "127.0.0.1", 0) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/v1"


def connection_to(url: str, client: Client, tickets: Tickets, states: list[State]) -> Connection:
    return Connection(client, cast(HttpApi, tickets), url, random.Random(1), on_state=states.append)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(module, "_MOST_PAUSE_S", 0.001)


async def test_an_answer_survives_a_socket_that_was_cut() -> None:
    stage, tickets, states, client = Stage(), Tickets(), list[State](), Client()
    async with server(stage) as url, connection_to(url, client, tickets, states) as connection:
        answer = client.send("message-1", None, "Hello")
        await stage.until_told(1)
        for frame in (started(), delta(0, "Hel")):
            await stage.connections[0].send(json.dumps({**frame, "message_id": "message-1"}))
        await answer.until_length(3)
        stage.connections[0].transport.abort()
        await stage.until_told(1, 1)
        assert stage.heard[1] == [{"action": "attach", "run_id": "r_1", "offset": 3, "epoch": 1}]
        await stage.connections[1].send(json.dumps(delta(3, "lo")))
        await stage.connections[1].send(json.dumps(ended("completed", 5)))
        assert (await answer.until_over())["type"] == "run.completed"
    assert answer.text == "Hello"
    assert stage.paths == ["/v1?ticket=ticket-1", "/v1?ticket=ticket-2"]
    assert states == ["connecting", "open", "waiting", "connecting", "open"]
    assert connection.attempts == 2


async def test_what_the_gateway_says_of_its_own_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_TICK_S", 0.01)
    monkeypatch.setattr(client_module, "_REFUSED_RESEND", client_module.Patience(0.01, 0.01))
    stage, tickets, states, client = Stage(), Tickets(), list[State](), Client()
    async with server(stage) as url, connection_to(url, client, tickets, states):
        client.send("message-1", None, "Hello")
        await stage.until_told(1)
        await stage.connections[0].send('{"message": "Internal server error", "requestId": "x"}')
        await stage.until_told(2)
    assert stage.heard[0][0] == stage.heard[0][1]


async def test_whoever_dropped_out_stays_away_until_he_comes_back() -> None:
    stage, tickets, states, client = Stage(), Tickets(), list[State](), Client()
    async with server(stage) as url, connection_to(url, client, tickets, states) as connection:
        await connection.opened()
        await connection.drop()
        await stage.connections[0].wait_closed()
        assert stage.connections[0].close_code == CloseCode.ABNORMAL_CLOSURE
        client.send("message-1", None, "Hello")
        for _ in range(50):
            await asyncio.sleep(0)
        assert (tickets.taken, states) == (1, ["connecting", "open"])
        await connection.come_back()
        assert states == ["connecting", "open"] * 2
        await stage.until_told(1, 1)
        assert [frame["action"] for frame in stage.heard[1]] == ["send"]


async def test_a_server_that_is_away_or_refuses_is_tried_again() -> None:
    stage, states, client = Stage(), list[State](), Client()
    async with server(stage) as gone:
        pass
    refusals = [403, 500]

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(refusals.pop(0), "No.") if refusals else None

    async with serve(stage.serve, "127.0.0.1", 0, process_request=refuse) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        connection = connection_to(gone, client, Tickets(), states)

        def come(state: State) -> None:
            if state == "waiting":
                connection.ws_url = f"ws://127.0.0.1:{port}"

        connection.on_state = come
        async with connection, asyncio.timeout(DEADLINE_S):
            await connection.opened()
        assert connection.attempts == 4


async def test_no_ticket_is_tried_again_and_a_user_unknown_is_not() -> None:
    stage, states, client = Stage(), list[State](), Client()
    tickets = Tickets([Problem("network", 0, ""), Problem("busy", 503, "")])
    async with server(stage) as url, connection_to(url, client, tickets, states) as connection:
        await connection.opened()
        assert connection.attempts == 3
        tickets.problems.append(Problem("unauthorized", 401, "Please sign in."))
        stage.connections[0].transport.abort()
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(Problem, match="unauthorized"):
                await connection.ended()


async def test_where_there_will_be_no_connection_nobody_waits_for_one() -> None:
    tickets = Tickets([Problem("unauthorized", 401, "Please sign in.")])
    async with connection_to("ws://127.0.0.1:9", Client(), tickets, list[State]()) as connection:
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(Problem, match="unauthorized"):
                await connection.opened()


async def test_whoever_stops_waiting_for_the_end_does_not_bring_it_about() -> None:
    stage, tickets, states, client = Stage(), Tickets(), list[State](), Client()
    async with server(stage) as url, connection_to(url, client, tickets, states) as connection:
        await connection.opened()
        waiting = asyncio.create_task(connection.ended())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        client.send("message-1", None, "Hello")
        await stage.until_told(1)


async def test_the_longest_frame_is_read() -> None:
    stage, tickets, states, client = Stage(), Tickets(), list[State](), Client()
    async with server(stage) as url, connection_to(url, client, tickets, states):
        answer = client.follow("r_1")
        await stage.until_told(1)
        text = "x" * (wire.MAX_FRAME_BYTES - len(json.dumps(delta(0, ""))))
        await stage.connections[0].send(json.dumps(delta(0, text)))
        async with asyncio.timeout(DEADLINE_S):
            await answer.until_length(len(text))
    assert len(stage.connections) == 1


async def test_a_connection_is_left_before_it_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_AGE_S", 0.05)
    monkeypatch.setattr(module, "_MAX_AGE_SPREAD_S", 0.0)
    stage, tickets, states, client = Stage(), Tickets(), list[State](), Client()
    async with server(stage) as url, connection_to(url, client, tickets, states):
        client.send("message-1", None, "Hello")
        await stage.until_told(1)
        async with asyncio.timeout(DEADLINE_S):
            while len(stage.connections) < 2:
                await stage.connections[-1].wait_closed()
                await asyncio.sleep(0)


async def test_an_idle_connection_is_kept_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PING_S", 0.01)
    stage, tickets, states, client = Stage(), Tickets(), list[State](), Client()
    async with server(stage) as url, connection_to(url, client, tickets, states):
        await stage.until_told(2)
    assert stage.heard[0][:2] == [{"action": "ping"}, {"action": "ping"}]
