"""The HTTP side: pages, tokens that were refused, and what a failure is called."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from chat.api import HttpApi, Problem

Reply = Callable[[httpx.Request], httpx.Response]


@dataclass
class Tokens:
    """In place of an identity: each new one is another."""

    made: int = 1
    asked: list[bool] = field(default_factory=list)

    async def __call__(self, renewed: bool) -> str:
        self.asked.append(renewed)
        self.made += renewed
        return f"token-{self.made}"


@dataclass
class Server:
    """Answers in turn; what it was asked is kept."""

    replies: list[Reply] = field(default_factory=list)
    asked: list[httpx.Request] = field(default_factory=list)
    tokens: Tokens = field(default_factory=Tokens)

    def answers(self, *replies: httpx.Response) -> None:
        self.replies += [lambda request, reply=reply: reply for reply in replies]  # type: ignore[misc]

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self.replies.pop(0)(request)

    @property
    def told(self) -> list[str]:
        return [f"{each.method} {each.url.raw_path.decode()}" for each in self.asked]

    def api(self) -> HttpApi:
        return HttpApi("https://api.test", self.tokens)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server, real = Server(), httpx.AsyncClient
    transport = httpx.MockTransport(server.handle)
    monkeypatch.setattr(
        httpx, "AsyncClient", lambda **options: real(transport=transport, **options)
    )
    return server


def page(name: str, ids: list[str], next_cursor: str | None) -> httpx.Response:
    return httpx.Response(
        200, json={name: [{"id": each} for each in ids], "next_cursor": next_cursor}
    )


async def test_chats_are_read_to_the_last_page(server: Server) -> None:
    server.answers(page("chats", ["c_3", "c_2"], "older +"), page("chats", ["c_1"], None))
    async with server.api() as api:
        assert [chat["id"] async for chat in api.chats()] == ["c_3", "c_2", "c_1"]
    assert server.told == ["GET /chats", "GET /chats?cursor=older+%2B"]


async def test_messages_come_oldest_first_though_the_newest_page_is_told_first(
    server: Server,
) -> None:
    server.answers(page("messages", ["m_3", "m_4"], "2"), page("messages", ["m_1", "m_2"], None))
    async with server.api() as api:
        messages = await api.messages("c_1")
    assert [message["id"] for message in messages] == ["m_1", "m_2", "m_3", "m_4"]
    assert server.told == ["GET /chats/c_1/messages", "GET /chats/c_1/messages?cursor=2"]


async def test_each_call_has_its_verb_and_its_path(server: Server) -> None:
    ticket = httpx.Response(201, json={"ticket": "t", "expires_at": "soon"})
    server.answers(ticket, *(httpx.Response(200, json={}) for _ in range(4)), httpx.Response(204))
    async with server.api() as api:
        assert await api.ticket() == "t"
        for call in (api.me(), api.chat("c_1"), api.run("r_1"), api.rename("c_1", "Dogs")):
            await call
        await api.delete("c_1")
    assert server.told == [
        "POST /tickets",
        "GET /me",
        "GET /chats/c_1",
        "GET /runs/r_1",
        "PATCH /chats/c_1",
        "DELETE /chats/c_1",
    ]
    assert json.loads(server.asked[4].content) == {"title": "Dogs"}
    assert server.asked[0].headers["authorization"] == "Bearer token-1"


async def test_a_token_that_is_refused_is_renewed_once(server: Server) -> None:
    refused = httpx.Response(401, json={"message": "Unauthorized"})
    server.answers(refused, httpx.Response(200, json={"tier": "pro"}), refused, refused)
    async with server.api() as api:
        assert await api.me() == {"tier": "pro"}
        with pytest.raises(Problem, match="unauthorized"):
            await api.me()
    assert server.tokens.asked == [False, True, False, True]
    said = [request.headers["authorization"] for request in server.asked]
    assert said == [f"Bearer token-{number}" for number in (1, 2, 2, 3)]


@pytest.mark.parametrize(
    ("reply", "code", "detail"),
    [
        (
            httpx.Response(404, json={"code": "chat_not_found", "detail": "No such chat."}),
            "chat_not_found",
            "No such chat.",
        ),
        (httpx.Response(429, json={"message": "Slow"}), "busy", "status 429"),
        (httpx.Response(500, text="<html>"), "unexpected_reply", "status 500"),
        (httpx.Response(502, json=["Bad gateway"]), "unexpected_reply", "status 502"),
        (httpx.Response(503, json={"code": 3, "detail": None}), "unexpected_reply", "status 503"),
        (httpx.Response(200, text="<html>"), "unexpected_reply", "not JSON"),
    ],
)
async def test_what_fails_has_a_stable_code(
    server: Server, reply: httpx.Response, code: str, detail: str
) -> None:
    server.answers(reply)
    async with server.api() as api:
        with pytest.raises(Problem) as caught:
            await api.me()
    assert (caught.value.code, caught.value.status) == (code, reply.status_code)
    assert detail in caught.value.detail


async def test_no_answer_is_the_networks_fault(server: Server) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    server.replies.append(away)
    async with server.api() as api:
        with pytest.raises(Problem, match="network") as caught:
            await api.me()
    assert caught.value.status == 0


async def test_it_is_closed_behind_whoever_used_it(server: Server) -> None:
    async with server.api() as api:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await api.me()
