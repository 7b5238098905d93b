"""The Spot notice, as a metadata service in the place of EC2's gives it (IMDSv2)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from chatcore.adapters.spot import spot_notice

pytestmark = pytest.mark.enable_socket

NOTICE = '{"action": "terminate", "time": "2027-01-01T00:02:00Z"}'
LOOK_EVERY_S = 0.01
DEADLINE_S = 5.0


@dataclass
class Metadata:
    """answers: what each look gets, the last one again and again: a status, 0 to break off; looks: how
    often it was asked; tokens: how many it gave out, of which only the newest counts."""

    answers: list[int]
    looks: int = 0
    tokens: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def give_token(self, request: web.Request) -> web.Response:
        assert int(request.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21_600
        self.tokens += 1
        return web.Response(text=f"token-{self.tokens}")

    async def look(self, request: web.Request) -> web.Response:
        status = self.answers[min(self.looks, len(self.answers) - 1)]
        self.looks += 1
        self.asked.set()
        if request.headers.get("X-aws-ec2-metadata-token") != f"token-{self.tokens}":
            return web.Response(status=401)
        if not status:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=status or 500, text=NOTICE if status == 200 else "")


@asynccontextmanager
async def served(metadata: Metadata) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_put("/latest/api/token", metadata.give_token)
    app.router.add_get("/latest/meta-data/spot/instance-action", metadata.look)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("answers", "tokens", "troubles"),
    [
        pytest.param([200], 1, 0, id="there already"),
        pytest.param([404, 404, 200], 1, 0, id="comes later"),
        pytest.param([404, 401, 200], 2, 0, id="the token ran out"),
        pytest.param([500, 0, 404, 500, 200], 1, 2, id="answers badly for a while, twice"),
    ],
)
async def test_a_notice_is_found(answers: list[int], tokens: int, troubles: int) -> None:
    metadata = Metadata(answers)
    told: list[str] = []
    async with served(metadata) as url, asyncio.timeout(DEADLINE_S):
        assert await spot_notice(url, told.append, LOOK_EVERY_S) == NOTICE
    assert (metadata.looks, metadata.tokens, len(told)) == (len(answers), tokens, troubles)


async def test_no_notice_is_waited_for() -> None:
    metadata = Metadata([404])
    async with served(metadata) as url:
        looking = asyncio.create_task(spot_notice(url, pytest.fail, LOOK_EVERY_S))
        async with asyncio.timeout(DEADLINE_S):
            while metadata.looks < 3:
                await metadata.asked.wait()
                metadata.asked.clear()
        assert not looking.done()
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_a_machine_without_metadata_is_told_of_once(
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port_factory()}"
    told: list[str] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10 * LOOK_EVERY_S):
            await spot_notice(url, told.append, LOOK_EVERY_S)
    assert len(told) == 1
