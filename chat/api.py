"""The HTTP side of the protocol: chats, messages, the account, and tickets for the WebSocket.

Answers are wire-shaped (docs/openapi.json). Every failure is a `Problem` with a stable code: the server's
own are passed on; `network`, `unauthorized` and `unexpected_reply` are this module's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx

TIMEOUT_S = 30.0

Body = dict[str, Any]

IdToken = Callable[[bool], Awaitable[str]]
"""An ID token; True asks for one made anew, after the server has refused the one at hand."""

_GATEWAY_CODES = {401: "unauthorized", 429: "busy"}
"""The gateway's own refusals (expired token, throttling) come without a code of ours."""


class Problem(Exception):
    """code: a stable word, most of them in docs/errors.md; status: 0 if no answer came."""

    def __init__(self, code: str, status: int, detail: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.code = code
        self.status = status
        self.detail = detail


class HttpApi:
    """`async with` closes it."""

    def __init__(self, http_url: str, id_token: IdToken) -> None:
        self._client = httpx.AsyncClient(base_url=http_url, timeout=TIMEOUT_S)
        self._id_token = id_token

    async def __aenter__(self) -> HttpApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ticket(self) -> str:
        """For one WebSocket, within 30 seconds."""
        return str((await self._call("POST", "/tickets"))["ticket"])

    async def me(self) -> Body:
        return await self._call("GET", "/me")

    async def chats(self) -> AsyncIterator[Body]:
        """All of them, the latest activity first."""
        async for chat in self._pages("/chats", "chats"):
            yield chat

    async def chat(self, chat_id: str) -> Body:
        return await self._call("GET", f"/chats/{chat_id}")

    async def messages(self, chat_id: str) -> list[Body]:
        """All of a chat's, oldest first."""
        pages: list[list[Body]] = []
        cursor: str | None = None
        while True:
            page = await self._page(f"/chats/{chat_id}/messages", cursor)
            pages.append(page["messages"])
            cursor = page["next_cursor"]
            if cursor is None:
                return [message for older in reversed(pages) for message in older]

    async def rename(self, chat_id: str, title: str) -> Body:
        return await self._call("PATCH", f"/chats/{chat_id}", {"title": title})

    async def delete(self, chat_id: str) -> None:
        await self._call("DELETE", f"/chats/{chat_id}")

    async def run(self, run_id: str) -> Body:
        return await self._call("GET", f"/runs/{run_id}")

    async def _pages(self, path: str, name: str) -> AsyncIterator[Body]:
        cursor: str | None = None
        while True:
            page = await self._page(path, cursor)
            for each in page[name]:
                yield each
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def _page(self, path: str, cursor: str | None) -> Body:
        return await self._call("GET", path, params={} if cursor is None else {"cursor": cursor})

    async def _call(
        self, method: str, path: str, body: Body | None = None, params: dict[str, str] | None = None
    ) -> Body:
        reply = await self._request(method, path, body, params, renewed=False)
        if reply.status_code == httpx.codes.UNAUTHORIZED:
            reply = await self._request(method, path, body, params, renewed=True)
        if not reply.is_success:
            raise _problem_of(reply)
        if not reply.content:
            return {}
        try:
            answer: Body = reply.json()
        except ValueError:
            raise Problem(
                "unexpected_reply", reply.status_code, "The answer is not JSON."
            ) from None
        return answer

    async def _request(
        self,
        method: str,
        path: str,
        body: Body | None,
        params: dict[str, str] | None,
        *,
        renewed: bool,
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {await self._id_token(renewed)}"}
        try:
            return await self._client.request(
                method, path, json=body, params=params, headers=headers
            )
        except httpx.TransportError:
            raise Problem("network", 0, "The server cannot be reached.") from None


def _problem_of(reply: httpx.Response) -> Problem:
    try:
        body = reply.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    code, detail = body.get("code"), body.get("detail")
    status = reply.status_code
    return Problem(
        code if isinstance(code, str) else _GATEWAY_CODES.get(status, "unexpected_reply"),
        status,
        detail if isinstance(detail, str) else f"The server answered with status {status}.",
    )
