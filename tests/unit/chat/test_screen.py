"""How answers are shown: a terminal cannot unprint, a pipe gets the answer alone, a program every event."""

import io
import json
from typing import Any

import pytest
from rich.console import Console, RenderableType
from rich.status import Status

from chat.client import Answer
from chat.screen import Lines, Pipe, Screen, Terminal, words_of
from chat.transcript import Frame, Transcript, Wait
from tests.unit.chat.frames import delta, ended, frame, queued, started


def shown(screen: Screen, *frames: Frame) -> Answer:
    answer = Answer(Transcript("r_1"), asked_ms=1_000.0)
    for at_ms, each in enumerate(frames, 1_001):
        before = answer.transcript.longest
        answer.transcript.apply(each)
        answer.note(before, at_ms)
        screen.look(answer)
    if answer.is_over:
        screen.end(answer)
    screen.close()
    return answer


def on_terminal(*frames: Frame) -> str:
    out = io.StringIO()
    shown(Terminal(Console(file=out, width=80, force_terminal=False)), *frames)
    return out.getvalue()


def test_a_terminal_shows_text_as_it_comes_and_nothing_twice() -> None:
    told = on_terminal(started(), delta(0, "[b]Hel"), delta(6, "lo\n"), ended("completed", 9))
    assert told == "[b]Hello\n"


def test_what_was_taken_back_is_said_and_told_again_from_its_line() -> None:
    told = on_terminal(
        started(),
        delta(0, "One line.\nAnother that is"),
        started(2, 17),
        delta(17, " was cut.", epoch=2),
        ended("completed", 26, epoch=2),
    )
    first, note, second = told.split("\n[the server lost a moment of this answer")[0], told, told
    assert first == "One line.\nAnother that is"
    assert "goes on from here]" in note
    assert second.endswith("here]\nAnother was cut.\n")


def test_only_what_differs_is_void_not_the_line_before() -> None:
    told = on_terminal(
        started(),
        delta(0, "One line.\nAnother"),
        frame("rewound", 1, offset=10),
        delta(10, "New\n"),
        ended("completed", 14),
    )
    assert told.endswith("here]\nNew\n")
    assert told.count("One line.") == 1


class Spinners(Console):
    """Tells what turns while there is nothing else to see."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), width=80, force_terminal=False)
        self.told: list[str] = []

    def status(self, status: RenderableType, **_: Any) -> Status:
        spinners = self

        class Spinner(Status):
            def start(self) -> None:
                spinners.told.append(str(self.status))

            def update(self, status: RenderableType | None = None, **_: Any) -> None:
                spinners.told.append(f"> {status}")

            def stop(self) -> None:
                spinners.told.append("stop")

        return Spinner(status, console=self)


def test_what_it_waits_for_turns_until_there_is_text() -> None:
    console = Spinners()
    screen = Terminal(console)
    answer = Answer(Transcript("r_1"))

    def hears(*frames: Frame) -> list[str]:
        for each in frames:
            answer.transcript.apply(each)
            answer.note(answer.transcript.longest, 1.0)
        screen.look(answer)
        told, console.told = console.told, []
        return told

    assert hears() == ["Sending"]
    assert hears() == []
    assert hears(queued()) == ["> Waiting: others are before you, 3 before you, about 2 s"]
    assert hears(started()) == ["> Thinking"]
    assert hears(delta(0, "Hello")) == ["stop"]
    # In the middle of a line nothing may turn, though it pauses there.
    assert hears(queued(epoch=1)) == []
    assert hears(started(2, 5), delta(5, ".\n", epoch=2)) == []
    assert hears(queued(epoch=2)) == ["Waiting: others are before you, 3 before you, about 2 s"]
    # Text that was on its way when it paused is shown, and the pause goes on after it.
    assert hears(delta(7, "Late.\n", epoch=2)) == ["stop"]
    assert hears() == ["Waiting: others are before you, 3 before you, about 2 s"]
    assert hears(started(3, 13)) == ["stop"]
    assert hears(queued(epoch=3)) == ["Waiting: others are before you, 3 before you, about 2 s"]
    screen.stopping()
    assert console.told.pop().startswith("> Stopping")
    screen.connection("connecting")
    assert console.told == []
    screen.connection("waiting")
    assert console.told.pop() == "> No connection: trying again"
    screen.close()
    screen.close()
    assert console.told == ["stop"]


def test_one_answer_after_another_begins_anew() -> None:
    out = io.StringIO()
    screen = Terminal(Console(file=out, width=80, force_terminal=False))
    for _ in range(2):
        shown(screen, started(), delta(0, "Hi"), ended("completed", 2))
    assert out.getvalue() == "Hi\nHi\n"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (ended("cancelled", 2), "[stopped]"),
        (ended("failed", 2), "[It failed. (engine_error)]"),
        ({**ended("completed", 2), "finish_reason": "length"}, "[cut at the longest"),
        ({**ended("failed", 2), "message": "[b]"}, "[[b] (engine_error)]"),
    ],
)
def test_an_end_that_is_not_the_whole_is_said(end: Frame, words: str) -> None:
    assert on_terminal(started(), delta(0, "Hi"), end).startswith(f"Hi\n{words}")


def test_a_reason_to_end_that_is_not_known_is_none() -> None:
    end = {**ended("completed", 2), "finish_reason": "a_new_reason"}
    assert on_terminal(started(), delta(0, "Hi"), end) == "Hi\n"


def test_the_end_shows_what_was_not_looked_at() -> None:
    out = io.StringIO()
    answer = Answer(Transcript("r_1"))
    for each in (started(), delta(0, "Hi"), ended("completed", 2)):
        answer.transcript.apply(each)
    Terminal(Console(file=out, width=80, force_terminal=False)).end(answer)
    assert out.getvalue() == "Hi\n"


def test_a_wait_is_said_in_words() -> None:
    assert words_of(Wait(0, "own_runs", None, None)).startswith("an earlier message of yours")
    assert words_of(Wait(0, "busy", 3, 7.6)) == "others are before you, 3 before you, about 8 s"
    assert words_of(Wait(0, "starting", None, None)) == "starting"
    assert words_of(Wait(0, "a_new_reason", 0, 0.2)) == "a_new_reason, about 1 s"


def test_a_pipe_gets_the_answer_and_how_it_ended_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown(Pipe(), started(), delta(0, "Hi"), ended("cancelled", 2))
    assert capsys.readouterr() == ("Hi\n", "chat: stopped\n")


def test_a_program_can_add_the_events_up(capsys: pytest.CaptureFixture[str]) -> None:
    shown(
        Lines(),
        queued(),
        queued(),
        started(),
        delta(0, "Hello"),
        frame("rewound", 1, offset=2),
        delta(2, "y"),
        ended("completed", 3),
    )
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == [
        "waiting",
        "text",
        "rewound",
        "text",
        "completed",
    ]
    text = ""
    for event in events[:-1]:
        if event["event"] in ("text", "rewound"):
            text = text[: event["offset"]] + event.get("text", "")
    assert text == events[-1]["text"] == "Hey"
    last = events[-1]
    assert (last["run_id"], last["chat_id"], last["answer_id"]) == ("r_1", "c_1", "m_2")
    assert (last["first_text_ms"], last["total_ms"]) == (4, 7)
    assert (last["message_id"], last["finish_reason"]) == ("m_1", "stop")
    assert last["usage"] == {"input_tokens": 3, "cached_tokens": 0, "output_tokens": 2}
    waiting = {"reason": "busy", "position": 3, "estimate_s": 2.0}
    assert waiting.items() <= events[0].items()


def test_a_program_is_told_of_each_wait_of_the_connection_and_of_a_stop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Lines()
    screen.connection("open")
    screen.stopping()
    shown(screen, queued(), started(), queued(epoch=1), *[queued(epoch=1, position=2)] * 2)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["event"], event.get("position")) for event in events] == [
        ("connection", None),
        ("stopping", None),
        ("waiting", 3),
        ("waiting", 3),
        ("waiting", 2),
    ]
    assert events[0]["state"] == "open"


def test_what_had_no_text_has_no_moment_of_it_and_its_end_tells_the_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen, answer = Lines(), Answer(Transcript("r_1"), asked_ms=1_000.0)
    answer.transcript.apply(ended("failed", 0))
    answer.note(0, 1_005.0)
    screen.end(answer)
    last = json.loads(capsys.readouterr().out)
    assert (last["event"], last["code"], last["first_text_ms"]) == ("failed", "engine_error", None)
    answer = Answer(Transcript("r_2"))
    for each in (delta(0, "Hi"), ended("completed", 2)):
        answer.transcript.apply(each)
    Lines().end(answer)
    text, end = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (text["text"], end["text"]) == ("Hi", "Hi")
