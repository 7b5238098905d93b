"""The protocol client: sends, follows and cancels runs over a connection that may come and go.

Owns what is still unanswered and when it is said again. It speaks through `say`, which it is given with
each connection, and is told each frame by `receive`: sockets and tickets are `connection.py`'s, and what
a frame does to a run's text is `transcript.py`'s. Everything happens on one event loop, by its clock.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from chat import wire
from chat.transcript import Frame, Transcript

Say = Callable[[Frame], None]

_TICK_S = 0.5
"""What is due is looked for so often: none of it is a matter of milliseconds."""

_SILENCE_S = 30.0
"""A run that says nothing for so long may have lost its worker, or a frame that was its last."""

_SOONEST_LOOK_S = 1.0
"""A server that wants to be asked sooner is not believed."""

_PASSING_CODES = frozenset({"busy", "internal_error"})
"""Refusals that the same send may get past; it may even have been taken, so its id must stay."""

_MAX_REFUSALS = 5
"""A refusal is an answer: after so many of them the user should know."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Around so long before each repeat, twice as long each time, `most_s` at last."""

    first_s: float
    most_s: float

    def after_s(self, tries: int, rng: random.Random) -> float:
        ceiling_s = min(self.most_s, self.first_s * 2.0 ** min(tries, 30))
        return ceiling_s * (0.75 + rng.random() / 2)


_RESEND = Patience(8, 60)
_REFUSED_RESEND = Patience(1, 30)
_REATTACH = Patience(5, 120)
_RECANCEL = Patience(5, 30)


def now_ms() -> float:
    """Unix time."""
    return time.time_ns() / 1_000_000


class Refused(Exception):
    """The server would not take it. code: a stable word of docs/errors.md; retry_at: when trying again
    makes sense, as an RFC 3339 time, where that is known."""

    def __init__(self, code: str, message: str, retry_at: str | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.retry_at = retry_at


@dataclass(slots=True)
class _Ask:
    """An attach or a cancel that is to be said again: how often it was, and when it next is."""

    due_s: float
    tries: int = 0


@dataclass(slots=True)
class _Send(_Ask):
    frame: Frame = field(default_factory=dict)
    refusals: int = 0


@dataclass(eq=False)
class Answer:
    """What comes of a message, or of a run that is followed. Moments are Unix ms, 0 for what has not
    happened: asked, admitted (first heard of), started, the first text, text that had never been shown
    before, the end. on_new_text: told of each of those; refused: why there is no run, or none that
    could be followed; timeout_s: the longest that is waited for anything of it; changes: how many there
    have been."""

    transcript: Transcript
    asked_ms: float = 0.0
    admitted_ms: float = 0.0
    started_ms: float = 0.0
    first_text_ms: float = 0.0
    new_text_ms: float = 0.0
    ended_ms: float = 0.0
    refused: Refused | None = None
    on_new_text: Callable[[float], None] = lambda at_ms: None
    timeout_s: float | None = None
    changes: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def run_id(self) -> str:
        return self.transcript.run_id

    @property
    def chat_id(self) -> str:
        return self.transcript.chat_id

    @property
    def text(self) -> str:
        return self.transcript.text

    @property
    def is_over(self) -> bool:
        return self.transcript.is_over

    async def until_changed(self, since: int) -> None:
        """Until there have been more changes than `since`."""
        while self.changes == since:
            await self._changed.wait()

    async def until(self, done: Callable[[], bool]) -> None:
        """Raises Refused where there is nothing to wait for, TimeoutError after `timeout_s`."""
        async with asyncio.timeout(self.timeout_s):
            while not done():
                if self.refused is not None:
                    raise self.refused
                await self._changed.wait()

    async def until_admitted(self) -> None:
        await self.until(lambda: self.admitted_ms > 0)

    async def until_started(self) -> None:
        """Or its end, if it never does."""
        await self.until(lambda: self.started_ms > 0 or self.is_over)

    async def until_length(self, length: int) -> None:
        """Or its end, if that comes first."""
        await self.until(lambda: len(self.text) >= length or self.is_over)

    async def until_over(self) -> Frame:
        """The terminal event."""
        await self.until(lambda: self.is_over)
        assert self.transcript.end is not None
        return self.transcript.end

    def tell(self) -> None:
        self.changes += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def note(self, before: int, at_ms: float) -> None:
        """The moments of what has just been applied; `before`: the longest text until then."""
        transcript = self.transcript
        self.admitted_ms = self.admitted_ms or at_ms
        if transcript.status == "running":
            self.started_ms = self.started_ms or at_ms
        if transcript.longest > before:
            self.first_text_ms = self.first_text_ms or at_ms
            self.new_text_ms = at_ms
            self.on_new_text(at_ms)
        if transcript.is_over:
            self.ended_ms = self.ended_ms or at_ms


@dataclass(slots=True)
class _Followed:
    """answers: of whoever sent its message or follows it, all with the one transcript; asked_from: the
    offset of the last attach, as long as it has no answer."""

    transcript: Transcript
    answers: list[Answer]
    attach: _Ask
    asked_from: int | None = None
    cancel: _Ask | None = None


@dataclass(eq=False)
class Client:
    """looks_again: whether runs that wait are asked for their place now and then; timeout_s: for answers'
    waits; on_over: told of each run whose end was told; on_problem: of what the server complains of that
    is nobody's answer."""

    rng: random.Random = field(default_factory=random.Random)
    now_ms: Callable[[], float] = now_ms
    looks_again: bool = True
    timeout_s: float | None = None
    on_over: Callable[[Transcript], None] = lambda transcript: None
    on_problem: Callable[[Refused], None] = lambda problem: None
    _say: Say | None = None
    _sends: dict[str, _Send] = field(default_factory=dict)
    _asked: dict[str, Answer] = field(default_factory=dict)
    _runs: dict[str, _Followed] = field(default_factory=dict)
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def connect(self, say: Say) -> None:
        """There is a connection: whatever is unanswered is said again."""
        self._say = say
        for send in self._sends.values():
            self._say_send(send)
        for followed in self._active():
            self._say_attach(followed)
            if followed.cancel is not None:
                self._say_cancel(followed, followed.cancel)

    def disconnect(self) -> None:
        """Nothing is said any more until there is another one."""
        self._say = None

    def send(self, message_id: str, chat_id: str | None, text: str) -> Answer:
        """Send a message, to a new chat where there is none. The same id, chat and text give the same
        run, also from a process that has died since."""
        answer = self._asked.get(message_id)
        if answer is None or answer.refused is not None:
            answer = self._answer(Transcript("", message_id=message_id))
        frame = {"action": "send", "chat_id": chat_id, "message_id": message_id, "text": text}
        self._asked[message_id] = answer
        if not wire.fits(frame):
            answer.refused = Refused("text_too_long", "The message is too long.")
            return answer
        send = self._sends[message_id] = _Send(0.0, frame=frame)
        self._say_send(send)
        return answer

    def follow(self, run_id: str) -> Answer:
        """Follow a run that was not begun here, from its beginning."""
        followed = self._runs.get(run_id)
        if followed is None:
            followed = self._meet(run_id)
            self._say_attach(followed)
        if not followed.answers:
            followed.answers.append(self._answer(followed.transcript))
        return followed.answers[0]

    def cancel(self, run_id: str) -> None:
        """Have it stopped; the true outcome is told by its end."""
        followed = self._runs.get(run_id)
        if followed is None or followed.transcript.is_over or followed.cancel is not None:
            return
        followed.cancel = _Ask(0.0)
        self._say_cancel(followed, followed.cancel)

    @property
    def answers(self) -> list[Answer]:
        """Of all that was sent here."""
        return list(self._asked.values())

    @property
    def unanswered(self) -> list[str]:
        """The messages and runs that more is expected of."""
        return [*self._sends, *(each.transcript.run_id for each in self._active())]

    def receive(self, frame: Frame) -> None:
        """Take a frame that is of a known shape (`wire.read`)."""
        kind = frame.get("type")
        if kind == "error":
            self._complained(Refused(frame["code"], frame["message"], frame["retry_at"]), frame)
        elif kind != "pong":
            self._told(frame)
        heard, self._heard = self._heard, asyncio.Event()
        heard.set()

    def ask_again_sooner(self) -> None:
        """API Gateway has said that an action did not get through, not which: whatever has no answer is
        said again soon, and later each time."""
        asks: list[_Ask] = [*self._sends.values()]
        for followed in self._active():
            if followed.asked_from is not None:
                asks.append(followed.attach)
            if followed.cancel is not None:
                asks.append(followed.cancel)
        for ask in asks:
            soon_s = _REFUSED_RESEND.after_s(ask.tries - 1, self.rng)
            ask.due_s = min(ask.due_s, self._now_s + soon_s)

    async def quiet(self) -> None:
        """Until everything that was said is answered, and every run that is followed is over."""
        while self.unanswered:
            await self._heard.wait()

    async def live(self) -> None:
        """Say again what is due, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = self._now_s
            for send in self._sends.values():
                if send.due_s <= now_s:
                    self._say_send(send)
            for followed in self._active():
                if followed.attach.due_s <= now_s:
                    self._say_attach(followed)
                if followed.cancel is not None and followed.cancel.due_s <= now_s:
                    self._say_cancel(followed, followed.cancel)

    def _told(self, frame: Frame) -> None:
        run_id, kind = frame["run_id"], frame["type"]
        followed = self._runs.get(run_id) or self._meet(run_id)
        transcript = followed.transcript
        was_over, before = transcript.is_over, self._look(transcript)
        longest = transcript.longest
        missing_from = transcript.apply(frame)
        if kind == "run.queued" and transcript.wait and transcript.wait.epoch == frame["epoch"]:
            # Also where it says the same as before: it has been asked, and is asked again later.
            look_s = max(_SOONEST_LOOK_S, frame["look_again_s"])
            self._rest(followed, look_s if self.looks_again else float("inf"))
        elif missing_from is not None:
            # Each frame until the replay shows the same gap: it is asked for once.
            if followed.asked_from != missing_from:
                self._say_attach(followed)
        elif self._look(transcript) != before:
            self._rest(followed, _SILENCE_S)
        if kind in ("run.queued", "run.started"):
            self._send_answered(frame["message_id"], followed)
        at_ms = self.now_ms()
        for answer in followed.answers:
            answer.note(longest, at_ms)
            answer.tell()
        if transcript.is_over and not was_over:
            self.on_over(transcript)

    def _send_answered(self, message_id: str, followed: _Followed) -> None:
        """A send is answered by any frame that names its message; others of its run may have come
        before."""
        self._sends.pop(message_id, None)
        answer = self._asked.get(message_id)
        if answer is not None and answer.transcript is not followed.transcript:
            answer.transcript = followed.transcript
            followed.answers.append(answer)

    def _complained(self, problem: Refused, frame: Frame) -> None:
        ref = frame["ref"] or ""
        send = self._sends.get(ref)
        if send is not None:
            send.refusals += 1
            if problem.code in _PASSING_CODES and send.refusals < _MAX_REFUSALS:
                send.due_s = self._now_s + _REFUSED_RESEND.after_s(send.refusals - 1, self.rng)
                return
            del self._sends[ref]
            self._asked[ref].refused = problem
            self._asked[ref].tell()
        elif problem.code == "run_not_found" and ref in self._runs:
            for answer in self._runs.pop(ref).answers:
                answer.refused = problem
                answer.tell()
        elif ref not in self._runs:
            # Anything else that was asked of a run is asked again when it is due.
            self.on_problem(problem)

    def _answer(self, transcript: Transcript) -> Answer:
        return Answer(transcript, asked_ms=self.now_ms(), timeout_s=self.timeout_s)

    def _meet(self, run_id: str) -> _Followed:
        followed = _Followed(Transcript(run_id), [], _Ask(self._now_s + _SILENCE_S))
        self._runs[run_id] = followed
        return followed

    def _active(self) -> Iterator[_Followed]:
        return (each for each in list(self._runs.values()) if not each.transcript.is_over)

    @staticmethod
    def _look(transcript: Transcript) -> tuple[int, int]:
        return len(transcript.text), transcript.epoch

    def _rest(self, followed: _Followed, pause_s: float) -> None:
        followed.attach, followed.asked_from = _Ask(self._now_s + pause_s), None

    def _say_send(self, send: _Send) -> None:
        if self._say is not None:
            self._say(send.frame)
            self._again(send, _RESEND)

    def _say_attach(self, followed: _Followed) -> None:
        if self._say is not None:
            transcript = followed.transcript
            followed.asked_from = len(transcript.text)
            self._say(
                {
                    "action": "attach",
                    "run_id": transcript.run_id,
                    "offset": len(transcript.text),
                    "epoch": transcript.epoch,
                }
            )
            self._again(followed.attach, _REATTACH)

    def _say_cancel(self, followed: _Followed, ask: _Ask) -> None:
        if self._say is not None:
            self._say({"action": "cancel", "run_id": followed.transcript.run_id})
            self._again(ask, _RECANCEL)

    def _again(self, ask: _Ask, patience: Patience) -> None:
        ask.due_s = self._now_s + patience.after_s(ask.tries, self.rng)
        ask.tries += 1

    @property
    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
