"""Clients of the local stack for benchmarks: the product's own, one for each user's socket.

Owns how a benchmark's user comes to a connection, and what it looks up besides. It must not know what is
measured.
"""

from __future__ import annotations

import uuid
from typing import Any, Self

from chat.api import HttpApi
from chat.client import Answer, Client
from chat.connection import Connection
from local.endpoints import Endpoints

TIMEOUT_S = 120.0


class Viewer:
    """A user with one socket at a time. `async with`; `drop` and `come_back` in between."""

    def __init__(self, endpoints: Endpoints, token: str) -> None:
        async def id_token(_renewed: bool) -> str:
            return token

        self.http = HttpApi(endpoints.http_url, id_token)
        # Asking for one's place is beside what is measured, and the emulator answers one after another.
        self._client = Client(looks_again=False, timeout_s=TIMEOUT_S)
        self._connection = Connection(self._client, self.http, endpoints.ws_url)

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        await self._connection.__aenter__()
        await self._connection.opened()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._connection.__aexit__(*error)
        await self.http.__aexit__(*error)

    async def drop(self) -> None:
        await self._connection.drop()

    async def come_back(self) -> None:
        """On a new ticket and a new socket; every answer that is not over is attached to."""
        await self._connection.come_back()

    def ask(self, text: str, chat_id: str | None = None) -> Answer:
        """Send into the chat, or a new one."""
        return self._client.send(uuid.uuid4().hex, chat_id, text)

    def answers(self) -> list[Answer]:
        """All that was asked for here."""
        return self._client.answers

    def cancel(self, answer: Answer) -> None:
        self._client.cancel(answer.run_id)

    async def stored_answer(self, answer: Answer) -> str:
        """The one that its chat has."""
        messages = await self.http.messages(answer.chat_id)
        answers = [message["text"] for message in messages if message["role"] == "assistant"]
        if len(answers) != 1:
            raise RuntimeError(f"{answer.run_id} has {len(answers)} answers")
        text: str = answers[0]
        return text

    async def usage(self) -> dict[str, Any]:
        usage: dict[str, Any] = (await self.http.me())["usage"]
        return usage
