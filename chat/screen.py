"""How an answer is shown while it is made: to a person, to a pipe, to a program.

Owns the output. It only looks at answers; what is said to the server is the client's.
"""

from __future__ import annotations

import json
import sys
from typing import Protocol

from rich.console import Console
from rich.status import Status

from chat.client import Answer
from chat.transcript import Frame, Wait

_REASONS = {
    "starting": "starting",
    "busy": "others are before you",
    "own_runs": "an earlier message of yours is being answered",
    "resuming": "goes on in a moment",
}


class Screen(Protocol):
    def look(self, answer: Answer) -> None:
        """Something has changed, of this one or not."""

    def stopping(self) -> None:
        """The user has asked for it; the outcome comes later."""

    def end(self, answer: Answer) -> None:
        """It is over."""

    def connection(self, state: str) -> None: ...

    def close(self) -> None:
        """Nothing more is shown."""


def words_of(wait: Wait) -> str:
    """Why it waits, for how long about."""
    words = [_REASONS.get(wait.reason, wait.reason)]
    if wait.position:
        words.append(f"{wait.position} before you")
    if wait.estimate_s:
        words.append(f"about {max(1, round(wait.estimate_s))} s")
    return ", ".join(words)


def outcome(answer: Answer) -> str:
    """The end in words; empty for an answer that is complete."""
    end: Frame = answer.transcript.end or {}
    if end["type"] == "run.failed":
        return f"{end['message']} ({end['code']})"
    if end["type"] == "run.cancelled":
        return "stopped"
    return "cut at the longest that an answer may be" if end["finish_reason"] == "length" else ""


class Terminal:
    """Text as it comes. What was taken back cannot be unprinted: it is said, and told again."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._words = ""
        self._shown = ""

    def look(self, answer: Answer) -> None:
        transcript = answer.transcript
        if transcript.wait is not None and not transcript.is_over:
            # With text on the screen this is a pause.
            self._say(f"Waiting: {words_of(transcript.wait)}")
        elif not transcript.text:
            self._say("Thinking" if answer.started_ms else "Sending")
        else:
            self._hush()
        self._print(transcript.text)

    def stopping(self) -> None:
        self._say("Stopping (once more Ctrl-C leaves it to go on in the background)")

    def end(self, answer: Answer) -> None:
        self._hush()
        self._print(answer.text)
        if self._shown and not self._shown.endswith("\n"):
            self._console.print()
        words = outcome(answer)
        if words:
            self._console.print(f"[{words}]", style="dim", markup=False, highlight=False)
        self._shown = ""

    def connection(self, state: str) -> None:
        if state == "waiting":
            self._say("No connection: trying again")

    def close(self) -> None:
        self._hush()

    def _print(self, text: str) -> None:
        if not text.startswith(self._shown):
            common = _common(text, self._shown)
            self._hush()
            # From the beginning of its line, so that it can be read on.
            line = text.rfind("\n", 0, common) + 1
            self._console.print(
                "\n[the server lost a moment of this answer: it goes on from here]",
                style="dim",
                markup=False,
                highlight=False,
            )
            self._shown = text[:line]
        new = text[len(self._shown) :]
        if new:
            self._hush()
            self._console.file.write(new)
            self._console.file.flush()
            self._shown = text

    def _say(self, words: str) -> None:
        if self._shown and not self._shown.endswith("\n"):
            # A spinner would write over the line that is being told.
            return
        if self._status is None:
            self._status = self._console.status(words)
            self._status.start()
        elif words != self._words:
            self._status.update(words)
        self._words = words

    def _hush(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


class Pipe:
    """Nothing but the whole answer, once it is certain; how it went goes beside it."""

    def look(self, answer: Answer) -> None:
        pass

    def stopping(self) -> None:
        pass

    def end(self, answer: Answer) -> None:
        print(answer.text, flush=True)
        words = outcome(answer)
        if words:
            print(f"chat: {words}", file=sys.stderr)

    def connection(self, state: str) -> None:
        pass

    def close(self) -> None:
        pass


class Lines:
    """A JSON object for each thing that happens: `waiting`, `text`, `rewound`, and last the outcome with
    the whole text. Offsets are in code points."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._shown = ""
        self._wait: Wait | None = None
        self._stops = False

    def look(self, answer: Answer) -> None:
        transcript = answer.transcript
        ids = {"run_id": transcript.run_id, "chat_id": transcript.chat_id}
        wait = transcript.wait
        if wait is not None and wait != self._wait:
            told = {"reason": wait.reason, "position": wait.position, "estimate_s": wait.estimate_s}
            self._write("waiting", **ids, **told)
        self._wait = wait
        if not transcript.text.startswith(self._shown):
            self._shown = self._shown[: _common(transcript.text, self._shown)]
            self._write("rewound", **ids, offset=len(self._shown))
        new = transcript.text[len(self._shown) :]
        if new:
            self._write("text", **ids, offset=len(self._shown), text=new)
            self._shown = transcript.text

    def stopping(self) -> None:
        if not self._stops:
            self._write("stopping")
        self._stops = True

    def end(self, answer: Answer) -> None:
        self.look(answer)
        end = answer.transcript.end or {}
        first_ms = answer.first_text_ms and round(answer.first_text_ms - answer.asked_ms)
        self._write(
            answer.transcript.status,
            run_id=answer.run_id,
            chat_id=answer.chat_id,
            message_id=answer.transcript.message_id,
            answer_id=end.get("message_id"),
            text=answer.text,
            usage=end.get("usage"),
            finish_reason=end.get("finish_reason"),
            code=end.get("code"),
            first_text_ms=first_ms or None,
            total_ms=round(answer.ended_ms - answer.asked_ms),
        )
        self._begin()

    def connection(self, state: str) -> None:
        self._write("connection", state=state)

    def close(self) -> None:
        pass

    @staticmethod
    def _write(event: str, **fields: object) -> None:
        print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)


def _common(one: str, other: str) -> int:
    """How many code points both begin with."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))
