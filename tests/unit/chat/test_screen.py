"""How answers are shown: a terminal cannot unprint, a pipe gets the answer alone, a program every event."""

import io
import json

import pytest
from rich.console import Console

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


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (ended("cancelled", 2), "[stopped]"),
        (ended("failed", 2), "[It failed. (engine_error)]"),
        ({**ended("completed", 2), "finish_reason": "length"}, "[cut at the longest"),
    ],
)
def test_an_end_that_is_not_the_whole_is_said(end: Frame, words: str) -> None:
    assert on_terminal(started(), delta(0, "Hi"), end).startswith(f"Hi\n{words}")


def test_a_wait_is_said_in_words() -> None:
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
