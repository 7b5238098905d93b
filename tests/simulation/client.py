"""Owns a simulated client: what it says, when it says it again, and what it has been shown.

A small copy of the web client's behaviour (client.ts). Left out: growing pauses between repeats, and
the two-hour handover of connections.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.transcript import Transcript

RESEND_S = 8.0
REFUSED_RESEND_S = 1.0
REATTACH_S = 5.0
RECANCEL_S = 5.0
SILENCE_S = 30.0
TICK_S = 0.5
PASSING_CODES = frozenset({"busy", "internal_error"})

Say = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class _Send:
    frame: dict[str, Any]
    due_s: float


@dataclass(slots=True)
class Followed:
    transcript: Transcript
    attach_due_s: float
    asked_offset: int | None = None
    cancel_due_s: float | None = None


@dataclass(slots=True)
class Client:
    """One device. connect and disconnect are its network's doing; `say` is None without one. on_over:
    told of each run whose end it was told."""

    name: str
    on_over: Callable[[str, Transcript], None]
    say: Say | None = None
    runs: dict[str, Followed] = field(default_factory=dict)
    run_of: dict[str, str] = field(default_factory=dict)
    chat_of: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    _sends: dict[str, _Send] = field(default_factory=dict)
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def connect(self, say: Say) -> None:
        self.say = say
        for send in self._sends.values():
            self._send(send)
        for followed in self._active():
            self._attach(followed)
            if followed.cancel_due_s is not None:
                self._cancel(followed)

    def disconnect(self) -> None:
        self.say = None

    def send(self, message_id: str, chat_id: str | None, text: str) -> None:
        frame = {"action": "send", "chat_id": chat_id, "message_id": message_id, "text": text}
        send = self._sends[message_id] = _Send(frame, 0.0)
        self._send(send)

    def follow(self, run_id: str) -> None:
        self._attach(self._meet(run_id))

    def cancel(self, run_id: str) -> None:
        followed = self.runs.get(run_id)
        if followed is not None and not followed.transcript.over:
            self._cancel(followed)

    @property
    def unanswered(self) -> list[str]:
        return list(self._sends)

    async def until_known(self, message_id: str) -> str | None:
        """The run of the message, None where it was refused."""
        while message_id not in self.run_of and message_id not in self.refused:
            await self._something()
        return self.run_of.get(message_id)

    async def until_content(self) -> None:
        """Until everything that was said is answered, and every run that it follows is over or gone."""
        while self._sends or self._active():
            await self._something()

    def receive(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "error":
            self._complained(frame)
        else:
            self._told(frame)
        heard, self._heard = self._heard, asyncio.Event()
        heard.set()

    async def live(self) -> None:
        """Says again what is due, as long as it lasts."""
        while True:
            await asyncio.sleep(TICK_S)
            for send in self._sends.values():
                if send.due_s <= self._now_s:
                    self._send(send)
            for followed in self._active():
                if followed.attach_due_s <= self._now_s:
                    self._attach(followed)
                if followed.cancel_due_s is not None and followed.cancel_due_s <= self._now_s:
                    self._cancel(followed)

    def _told(self, frame: dict[str, Any]) -> None:
        followed = self._meet(frame["run_id"])
        was_over = followed.transcript.over
        before = followed.transcript.text, followed.transcript.status, followed.transcript.epoch
        missing_from = followed.transcript.apply(frame)
        after = followed.transcript.text, followed.transcript.status, followed.transcript.epoch
        if missing_from is not None:
            # Each frame shows the same gap until the replay comes; it is asked for once.
            if followed.asked_offset != missing_from:
                self._attach(followed)
        elif before != after:
            followed.asked_offset = None
            followed.attach_due_s = self._now_s + SILENCE_S
        if frame["type"] in ("run.queued", "run.started"):
            self._sends.pop(frame["message_id"], None)
            self.run_of[frame["message_id"]] = frame["run_id"]
            self.chat_of[frame["message_id"]] = frame["chat_id"]
        if followed.transcript.over and not was_over:
            self.on_over(frame["run_id"], followed.transcript)

    def _complained(self, frame: dict[str, Any]) -> None:
        self.complaints.append(frame["code"])
        send = self._sends.get(frame["ref"])
        if send is None:
            if frame["code"] == "run_not_found":
                self.runs.pop(frame["ref"], None)
            return
        if frame["code"] in PASSING_CODES:
            send.due_s = self._now_s + REFUSED_RESEND_S
        else:
            del self._sends[frame["ref"]]
            self.refused[frame["ref"]] = frame["code"]

    def _meet(self, run_id: str) -> Followed:
        due_s = self._now_s + SILENCE_S
        return self.runs.setdefault(run_id, Followed(Transcript(run_id), due_s))

    def _active(self) -> list[Followed]:
        return [followed for followed in self.runs.values() if not followed.transcript.over]

    def _send(self, send: _Send) -> None:
        send.due_s = self._now_s + RESEND_S
        self._say(send.frame)

    def _attach(self, followed: Followed) -> None:
        transcript = followed.transcript
        followed.attach_due_s = self._now_s + REATTACH_S
        followed.asked_offset = len(transcript.text)
        self._say(
            {
                "action": "attach",
                "run_id": transcript.run_id,
                "offset": len(transcript.text),
                "epoch": transcript.epoch,
            }
        )

    def _cancel(self, followed: Followed) -> None:
        followed.cancel_due_s = self._now_s + RECANCEL_S
        self._say({"action": "cancel", "run_id": followed.transcript.run_id})

    def _say(self, frame: dict[str, Any]) -> None:
        if self.say is not None:
            self.say(frame)

    async def _something(self) -> None:
        await self._heard.wait()

    @property
    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
