"""The terminal client's commands without a cloud: its HTTP side and its connection are played here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from click.testing import CliRunner, Result

from chat import command
from chat.api import HttpApi, Problem
from chat.client import Client
from chat.identity import Server
from chat.kept import Account, Kept, Sent
from chat.transcript import Frame
from tests.unit.chat.frames import delta, ended, started

SERVER = Server("https://api.test", "wss://ws.test", "https://cognito.test", "client-1")
ACCOUNT = Account("https://page.test", SERVER, "alice@example.com", "refresh")

Script = Callable[["Line", Frame], None]


def answers(text: str = "Hi", kind: str = "completed") -> Script:
    """Each send at once and whole."""

    def play(line: Line, said: Frame) -> None:
        if said["action"] == "send":
            line.tell(said, started(), delta(0, text), ended(kind, len(text)))

    return play


@dataclass
class Line:
    """In place of `Connection`: what is said goes to the stage's script, which tells what comes of it."""

    client: Client
    http: HttpApi
    ws_url: str
    on_state: Callable[[str], None]
    stage: Stage
    over: asyncio.Future[None] = field(default_factory=lambda: asyncio.Future[None]())

    async def __aenter__(self) -> Self:
        self.client.connect(self._said)
        self.on_state("open")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.disconnect()

    async def ended(self) -> None:
        await asyncio.shield(self.over)

    def tell(self, said: Frame, *frames: Frame) -> None:
        """Frames of the run that answers this send; each message has a run and a chat of its own."""
        message_id = said["message_id"]
        for frame in frames:
            told = {**frame, "run_id": f"r_{message_id}"}
            if "chat_id" in frame:
                told["chat_id"] = said["chat_id"] or f"c_{message_id}"
            if frame["type"] in ("run.queued", "run.started"):
                told["message_id"] = message_id
            self.client.receive(told)

    def _said(self, frame: Frame) -> None:
        self.stage.said.append(frame)
        asyncio.get_running_loop().call_soon(self.stage.script, self, frame)


@dataclass
class Stage:
    """home: where the client keeps what it keeps; said: by it, on connections; asked: over HTTP; routes:
    answers to that, by method and path."""

    home: Path
    script: Script = field(default_factory=answers)
    said: list[Frame] = field(default_factory=list)
    asked: list[httpx.Request] = field(default_factory=list)
    routes: dict[str, Callable[[httpx.Request], httpx.Response]] = field(default_factory=dict)

    @property
    def kept(self) -> Kept:
        return Kept(self.home)

    @property
    def unanswered(self) -> list[Sent]:
        return self.kept.unanswered(ACCOUNT.email)

    @property
    def sends(self) -> list[Frame]:
        return [frame for frame in self.said if frame["action"] == "send"]

    def route(self, method_and_path: str, body: Any, status: int = 200) -> None:
        self.routes[method_and_path] = lambda request: httpx.Response(status, json=body)

    def run(self, *words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(
            command.main, words, input=stdin, env={"CHAT_HOME": str(self.home)}
        )

    def events(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*words, "--json").stdout.splitlines()]

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self.routes[f"{request.method} {request.url.path}"](request)


@contextmanager
def stage_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Alice is signed in there."""
    stage, real = Stage(home), httpx.AsyncClient
    transport = httpx.MockTransport(stage.handle)
    monkeypatch.setattr(
        httpx, "AsyncClient", lambda **options: real(transport=transport, **options)
    )
    monkeypatch.setattr(
        command,
        "Connection",
        lambda client, http, ws_url, on_state: Line(client, http, ws_url, on_state, stage),
    )
    stage.kept.keep_account(ACCOUNT)
    token = {"AuthenticationResult": {"IdToken": "token", "ExpiresIn": 3600}}
    stage.route("POST /", token)
    yield stage


def sign_in_again(line: Line, said: Frame) -> None:
    """The server has lost its patience with this user."""
    line.over.set_exception(Problem("unauthorized", 401, "Please sign in: chat login"))
