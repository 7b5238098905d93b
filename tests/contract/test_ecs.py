"""Protection of a task, as an agent in the place of ECS's answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from chatcore.adapters.ecs import protect
from chatcore.domain.errors import StoreUnavailable

pytestmark = pytest.mark.enable_socket

GRANTED = '{"protection": {"ProtectionEnabled": true, "TaskArn": "arn:aws:ecs:::task/c/t"}}'


@dataclass
class Agent:
    """answer: its body and status; asked: bodies of the requests."""

    answer: str = GRANTED
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def put(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        return web.Response(text=self.answer, status=self.status, content_type="application/json")


@asynccontextmanager
async def served(agent: Agent) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_put("/api/0123/task-protection/v1/state", agent.put)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/0123"
    finally:
        await runner.cleanup()


async def test_it_is_asked_for_so_many_minutes_and_ended() -> None:
    agent = Agent()
    async with served(agent) as uri:
        await protect(uri, 15)
        await protect(uri, 0)
    assert agent.asked == [
        {"ProtectionEnabled": True, "ExpiresInMinutes": 15},
        {"ProtectionEnabled": False},
    ]


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        pytest.param(
            200,
            '{"failure": {"Arn": "a", "Detail": null, "Reason": "DEPLOYMENT_BLOCKED"}}',
            "DEPLOYMENT_BLOCKED",
            id="ECS refuses",
        ),
        pytest.param(
            400,
            '{"requestID": "r", "error": {"Arn": "a", "Code": "AccessDeniedException"}}',
            "AccessDeniedException",
            id="the role may not",
        ),
        pytest.param(500, "", "no known form", id="an empty answer"),
        pytest.param(200, "oops", "JSONDecodeError", id="no JSON"),
        pytest.param(200, "[]", "no known form", id="another form"),
    ],
)
async def test_what_is_not_granted_may_be_asked_again(status: int, answer: str, said: str) -> None:
    async with served(Agent(answer, status)) as uri:
        with pytest.raises(StoreUnavailable, match=said):
            await protect(uri, 15)


async def test_an_agent_that_is_away_is_trouble(unused_tcp_port: int) -> None:
    with pytest.raises(StoreUnavailable):
        await protect(f"http://127.0.0.1:{unused_tcp_port}", 15)
