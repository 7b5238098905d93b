"""Clients of the local stack for benchmarks: sockets, and what their owners see of each run.

Owns the protocol as a client has to keep it, and counts where a strict one would complain: characters
that come twice, and texts that end short. It must not know what is measured.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from local.endpoints import Endpoints

DEADLINE_S = 120.0
TERMINAL_EVENTS = frozenset({"run.completed", "run.failed", "run.cancelled"})


def now_ms() -> float:
    """Unix time: all parts of a benchmark run on one machine, so their clocks are one."""
    return time.time_ns() / 1_000_000


class Refused(Exception):
    """The stack would not take it; the text is its code."""


@dataclass(eq=False)
class Seen:
    """A run as one viewer sees it. Moments are Unix ms, 0 for what has not happened.

    text: as rendered; repeated: characters that came though the viewer had them; rewound: characters
    that were rendered and cut away; new_text_ms: when there last was a character more than ever before.
    """

    message_id: str = ""
    run_id: str = ""
    chat_id: str = ""
    text: str = ""
    epoch: int = 0
    repeated: int = 0
    rewound: int = 0
    longest: int = 0
    started_ms: float = 0.0
    first_text_ms: float = 0.0
    new_text_ms: float = 0.0
    ended_ms: float = 0.0
    end: dict[str, Any] | None = None
    refused: str = ""
    asked_from: tuple[int, int] | None = None
    on_new_text: Callable[[float], None] = lambda at_ms: None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def take(self, frame: dict[str, Any], at_ms: float) -> bool:
        """Apply a frame by the protocol's rules. False where text before it is missing."""
        kind = frame["type"]
        self.run_id = frame["run_id"]
        self.chat_id = frame.get("chat_id", self.chat_id)
        if kind == "run.queued":
            return True
        if frame["epoch"] < self.epoch:
            return True
        self.epoch = frame["epoch"]
        if kind == "run.started":
            self.started_ms = self.started_ms or at_ms
        elif kind == "run.rewound":
            self.rewound += max(0, len(self.text) - frame["offset"])
            self.text = self.text[: frame["offset"]]
        elif kind == "run.delta":
            return self._take_text(frame["offset"], frame["text"], at_ms)
        elif kind in TERMINAL_EVENTS:
            if frame["length"] > len(self.text):
                return False
            self.end, self.ended_ms = frame, at_ms
        return True

    def _take_text(self, offset: int, text: str, at_ms: float) -> bool:
        if offset > len(self.text):
            return False
        overlap = len(self.text) - offset
        self.repeated += min(overlap, len(text))
        self.text += text[overlap:]
        if len(self.text) > self.longest:
            self.longest = len(self.text)
            self.first_text_ms = self.first_text_ms or at_ms
            self.new_text_ms = at_ms
            self.on_new_text(at_ms)
        return True

    async def until(self, done: Callable[[], bool], what: str) -> None:
        """Raises Refused."""
        try:
            async with asyncio.timeout(DEADLINE_S), self.changed:
                await self.changed.wait_for(lambda: done() or bool(self.refused))
        except TimeoutError:
            raise RuntimeError(f"{self.run_id or self.message_id} never got to {what}") from None
        if self.refused:
            raise Refused(self.refused)

    def is_over(self) -> bool:
        return self.end is not None

    async def until_admitted(self) -> None:
        await self.until(lambda: bool(self.run_id), "its admission")

    async def until_claimed(self) -> None:
        await self.until(lambda: self.started_ms > 0, "its claim")

    async def until_length(self, length: int) -> None:
        """Or its end, if that comes first."""
        await self.until(lambda: len(self.text) >= length or self.is_over(), f"{length} characters")

    async def until_over(self) -> dict[str, Any]:
        await self.until(lambda: self.is_over(), "its end")
        assert self.end is not None
        return self.end


class Client:
    """A user with one socket at a time. `async with`; `drop` and `come_back` in between."""

    def __init__(self, endpoints: Endpoints, token: str) -> None:
        self._endpoints = endpoints
        self.http = httpx.AsyncClient(
            base_url=endpoints.http_url,
            headers={"authorization": f"Bearer {token}"},
            timeout=DEADLINE_S,
        )
        self._runs: dict[str, Seen] = {}
        self._asked: dict[str, Seen] = {}
        self._socket: ClientConnection | None = None
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.drop()
        await self.http.aclose()

    async def come_back(self) -> None:
        answer = await self.http.post("/tickets")
        answer.raise_for_status()
        url = f"{self._endpoints.ws_url}?ticket={answer.json()['ticket']}"
        self._socket = await connect(url, proxy=None, open_timeout=DEADLINE_S)
        self._listening = asyncio.create_task(self._listen(self._socket))

    async def drop(self) -> None:
        """As a phone in a tunnel does: without a good-bye."""
        if self._socket is not None:
            self._socket.transport.abort()
        if self._listening is not None:
            await self._listening

    async def ask(self, text: str, chat_id: str | None = None) -> Seen:
        """Send into the chat, or a new one; returns as soon as it is on its way."""
        seen = Seen(message_id=uuid.uuid4().hex)
        self._asked[seen.message_id] = seen
        await self._say(action="send", chat_id=chat_id, message_id=seen.message_id, text=text)
        return seen

    def seen(self) -> list[Seen]:
        """All runs that were asked for here."""
        return list(self._asked.values())

    async def attach(self, seen: Seen) -> None:
        """From where the viewer is."""
        self._runs[seen.run_id] = seen
        seen.asked_from = (len(seen.text), seen.epoch)
        await self._say(
            action="attach", run_id=seen.run_id, offset=len(seen.text), epoch=seen.epoch
        )

    async def cancel(self, seen: Seen) -> None:
        await self._say(action="cancel", run_id=seen.run_id)

    async def stored_answer(self, seen: Seen) -> str:
        answer = await self.http.get(f"/chats/{seen.chat_id}/messages")
        answer.raise_for_status()
        messages = answer.json()["messages"]
        answers = [message["text"] for message in messages if message["role"] == "assistant"]
        if len(answers) != 1:
            raise RuntimeError(f"{seen.run_id} has {len(answers)} answers")
        text: str = answers[0]
        return text

    async def run(self, seen: Seen) -> dict[str, Any]:
        answer = await self.http.get(f"/runs/{seen.run_id}")
        answer.raise_for_status()
        run: dict[str, Any] = answer.json()
        return run

    async def usage(self) -> dict[str, Any]:
        answer = await self.http.get("/me")
        answer.raise_for_status()
        usage: dict[str, Any] = answer.json()["usage"]
        return usage

    async def _say(self, **action: Any) -> None:  # noqa: ANN401 - JSON
        assert self._socket is not None
        await self._socket.send(json.dumps(action))

    async def _listen(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                await self._take(json.loads(text), now_ms())
        except ConnectionClosed:
            return

    async def _take(self, frame: dict[str, Any], at_ms: float) -> None:
        if frame["type"] == "error":
            await self._note_refusal(frame)
            return
        if "run_id" not in frame:
            return
        seen = self._runs.get(frame["run_id"]) or self._asked.get(frame.get("message_id", ""))
        if seen is None:
            return
        self._runs[frame["run_id"]] = seen
        async with seen.changed:
            complete = seen.take(frame, at_ms)
            seen.changed.notify_all()
        # Each frame until the replay shows the same gap: it is asked for once.
        if not complete and seen.asked_from != (len(seen.text), seen.epoch):
            await self.attach(seen)

    async def _note_refusal(self, frame: dict[str, Any]) -> None:
        ref = frame["ref"] or ""
        seen = self._asked.get(ref) or self._runs.get(ref)
        if seen is None:
            raise RuntimeError(f"the stack answered {frame}")
        async with seen.changed:
            seen.refused = frame["code"]
            seen.changed.notify_all()
