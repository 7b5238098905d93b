"""What the verbs do, what they print where, with which code they end, and what Ctrl-C means."""

import asyncio
import os
import signal
from typing import Any

import pytest

from chat import command
from chat.client import Answer
from chat.kept import Sent
from chat.screen import Lines, Pipe
from chat.transcript import Frame
from tests.unit.chat.frames import delta, ended, error, started
from tests.unit.chat.stage import ACCOUNT, Line, Stage, answers, sign_in_again


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def sent(message_id: str, sent_ms: int, email: str = ACCOUNT.email) -> Sent:
    return Sent(message_id, None, f"Text of {message_id}", email, sent_ms)


class TestSend:
    def test_the_answer_is_all_that_is_printed(self, stage: Stage) -> None:
        done = stage.run("send", "What", "now?")
        assert (done.stdout, done.stderr, done.exit_code) == ("Hi\n", "", 0)
        (said,) = stage.sends
        assert (said["text"], said["chat_id"]) == ("What now?", None)
        assert stage.unanswered == []

    def test_into_a_chat_and_from_standard_input(self, stage: Stage) -> None:
        assert stage.run("send", "-", "--chat", "c_7", stdin="One\ntwo").exit_code == 0
        (said,) = stage.sends
        assert (said["text"], said["chat_id"]) == ("One\ntwo", "c_7")

    def test_it_is_kept_before_it_is_said(self, stage: Stage) -> None:
        found: list[Sent] = []

        def play(line: Line, said: Frame) -> None:
            found.extend(stage.unanswered)
            answers()(line, said)

        stage.script = play
        stage.run("send", "Hello", "--chat", "c_7")
        (one,) = found
        assert (one.message_id, one.text) == (stage.sends[0]["message_id"], "Hello")
        assert (one.chat_id, one.email) == ("c_7", ACCOUNT.email)

    @pytest.mark.parametrize(
        ("kind", "code", "said"),
        [("completed", 0, ""), ("failed", 1, "engine_error"), ("cancelled", 130, "stopped")],
    )
    def test_the_exit_code_is_the_outcome(
        self, stage: Stage, kind: str, code: int, said: str
    ) -> None:
        stage.script = answers(kind=kind)
        done = stage.run("send", "Hello")
        assert (done.exit_code, done.stdout) == (code, "Hi\n")
        assert said in done.stderr
        assert stage.unanswered == []

    def test_as_json_each_event_is_a_line(self, stage: Stage) -> None:
        events = stage.events("send", "Hello")
        assert [event["event"] for event in events] == ["connection", "text", "completed"]
        assert (events[0]["state"], events[-1]["text"]) == ("open", "Hi")

    def test_what_is_refused_is_told_and_forgotten(self, stage: Stage) -> None:
        def play(line: Line, said: Frame) -> None:
            line.client.receive(error("budget_exhausted", said["message_id"]))

        stage.script = play
        done = stage.run("send", "Hello")
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == "chat: No. (budget_exhausted)\n"
        assert stage.unanswered == []

    def test_whoever_must_sign_in_again_is_told_and_keeps_his_message(self, stage: Stage) -> None:
        stage.script = sign_in_again
        done = stage.run("send", "Hello")
        assert (done.exit_code, "chat login" in done.stderr) == (1, True)
        assert len(stage.unanswered) == 1


class TestCtrlC:
    def test_stops_the_answer_itself(self, stage: Stage) -> None:
        def play(line: Line, said: Frame) -> None:
            if said["action"] == "send":
                line.tell(said, started(), delta(0, "Hi"))
                ctrl_c()
            else:
                loop, run = asyncio.get_running_loop(), {"run_id": said["run_id"]}
                line.client.receive({**delta(2, ", you"), **run})
                loop.call_later(0.01, line.client.receive, {**ended("cancelled", 7), **run})

        stage.script = play
        events = stage.events("send", "Hello")
        assert [event["event"] for event in events[1:]] == [
            *("text", "stopping", "text", "cancelled")
        ]
        assert [frame["action"] for frame in stage.said] == ["send", "cancel"]
        assert stage.unanswered == []

    def test_looks_only_where_something_has_changed(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[str] = []

        class Looked(Lines):
            def look(self, answer: Answer) -> None:
                looks.append(answer.text)
                super().look(answer)

        def play(line: Line, said: Frame) -> None:
            if said["action"] == "send":
                line.tell(said, started(), delta(0, "Hi"))
                ctrl_c()
            else:
                end = {**ended("cancelled", 2), "run_id": said["run_id"]}
                asyncio.get_running_loop().call_later(0.05, line.client.receive, end)

        monkeypatch.setattr(command, "Lines", Looked)
        stage.script = play
        assert stage.run("send", "Hello", "--json").exit_code == 130
        assert len(looks) <= 5

    def test_before_the_run_is_known_it_is_stopped_once_it_is(self, stage: Stage) -> None:
        def play(line: Line, said: Frame) -> None:
            if said["action"] == "send":
                ctrl_c()
                # The signal is heard before this.
                told = (started(), delta(0, "Hi"))
                asyncio.get_running_loop().call_later(0.01, line.tell, said, *told)
            else:
                line.client.receive({**ended("cancelled", 2), "run_id": said["run_id"]})

        stage.script = play
        events = stage.events("send", "Hello")
        assert [event["event"] for event in events[1:]] == ["text", "stopping", "cancelled"]
        assert [frame["action"] for frame in stage.said] == ["send", "cancel"]

    def test_twice_only_leaves(self, stage: Stage) -> None:
        def play(line: Line, said: Frame) -> None:
            if said["action"] == "send":
                line.tell(said, started(), delta(0, "Hi"))
            ctrl_c()

        stage.script = play
        done = stage.run("send", "Hello")
        assert (done.exit_code, done.stdout) == (130, "")
        assert "chat resume" in done.stderr
        assert [one.text for one in stage.unanswered] == ["Hello"]


class TestResume:
    def test_says_again_what_was_kept_the_oldest_first(self, stage: Stage) -> None:
        for each in (sent("m_two", 2), sent("m_one", 1), sent("m_bob", 3, "bob@example.com")):
            stage.kept.keep(each)
        done = stage.run("resume")
        assert [said["message_id"] for said in stage.sends] == ["m_one", "m_two"]
        assert (done.stdout, done.exit_code) == ("Hi\nHi\n", 0)
        assert done.stderr == "> Text of m_one\n> Text of m_two\n"
        assert stage.unanswered == []

    def test_whoever_leaves_one_leaves_the_others_too(self, stage: Stage) -> None:
        def play(line: Line, said: Frame) -> None:
            if said["action"] == "send":
                line.tell(said, started(), delta(0, "Hi"))
            ctrl_c()

        for each in (sent("m_one", 1), sent("m_two", 2)):
            stage.kept.keep(each)
        stage.script = play
        assert stage.run("resume").exit_code == 130
        assert [said["message_id"] for said in stage.sends] == ["m_one"]
        assert [one.message_id for one in stage.unanswered] == ["m_one", "m_two"]

    def test_a_refusal_of_one_keeps_nothing_from_the_others(self, stage: Stage) -> None:
        def play(line: Line, said: Frame) -> None:
            if said["message_id"] == "m_one":
                line.client.receive(error("chat_not_found", "m_one"))
            else:
                answers()(line, said)

        stage.script = play
        for each in (sent("m_one", 1), sent("m_two", 2)):
            stage.kept.keep(each)
        done = stage.run("resume")
        assert (done.exit_code, done.stdout) == (1, "Hi\n")
        assert "chat_not_found" in done.stderr
        assert stage.unanswered == []

    def test_as_json_each_answer_has_events_of_its_own(self, stage: Stage) -> None:
        for each in (sent("m_one", 1), sent("m_two", 2)):
            stage.kept.keep(each)
        events = stage.events("resume")
        assert [event["event"] for event in events[1:]] == ["text", "completed"] * 2
        assert [event["run_id"] for event in events[1:]] == ["r_m_one"] * 2 + ["r_m_two"] * 2

    def test_ends_with_the_worst_of_the_outcomes(self, stage: Stage) -> None:
        def play(line: Line, said: Frame) -> None:
            answers(kind="failed" if said["message_id"] == "m_one" else "completed")(line, said)

        stage.script = play
        for each in (sent("m_one", 1), sent("m_two", 2)):
            stage.kept.keep(each)
        done = stage.run("resume", "--json")
        assert (done.exit_code, done.stderr) == (1, "")
        assert len(stage.sends) == 2


class TestTalk:
    @pytest.fixture
    def handlers(self) -> list[Any]:
        """Of Ctrl-C, at each prompt."""
        return []

    @pytest.fixture
    def typed(
        self, handlers: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> list[str | type[BaseException]]:
        """What comes of each prompt in turn."""
        lines: list[str | type[BaseException]] = []

        class Prompt:
            def __init__(self, words: str) -> None:
                assert words == "> "

            async def prompt_async(self) -> str:
                handlers.append(signal.getsignal(signal.SIGINT))
                line = lines.pop(0)
                if isinstance(line, str):
                    return line
                raise line

        monkeypatch.setattr(command, "PromptSession", Prompt)
        return lines

    def test_a_new_chat_goes_on_until_an_empty_line(
        self, stage: Stage, typed: list[str | type[BaseException]]
    ) -> None:
        typed += ["One", "Two", "Three", "  "]
        done = stage.run()
        first = stage.sends[0]["message_id"]
        assert [said["chat_id"] for said in stage.sends] == [None, f"c_{first}", f"c_{first}"]
        assert (done.stdout, done.exit_code, typed) == ("Hi\n" * 3, 0, [])

    def test_between_answers_ctrl_c_is_the_prompts(
        self, stage: Stage, typed: list[str | type[BaseException]], handlers: list[Any]
    ) -> None:
        typed += ["One", ""]
        stage.run("talk")
        assert handlers[1] is signal.default_int_handler

    @pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
    def test_an_old_chat_is_shown_and_goes_on(
        self,
        stage: Stage,
        typed: list[str | type[BaseException]],
        end: type[BaseException],
    ) -> None:
        messages = [{"role": "user", "text": "[b]Before"}, {"role": "assistant", "text": "Yes."}]
        stage.route("GET /chats/c_7/messages", {"messages": messages, "next_cursor": None})
        typed += ["And now?", end]
        done = stage.run("talk", "c_7")
        assert (done.stdout, done.exit_code) == ("> [b]Before\nYes.\nHi\n", 0)
        assert [said["chat_id"] for said in stage.sends] == ["c_7"]

    def test_a_refusal_ends_nothing(
        self,
        stage: Stage,
        typed: list[str | type[BaseException]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        closed: list[int] = []

        class Closed(Pipe):
            def close(self) -> None:
                closed.append(len(typed))

        def play(line: Line, said: Frame) -> None:
            if said["text"] == "One":
                line.client.receive(error("budget_exhausted", said["message_id"]))
            else:
                answers()(line, said)

        monkeypatch.setattr(command, "Pipe", Closed)
        stage.script = play
        typed += ["One", "Two", "Three", ""]
        done = stage.run("talk")
        assert (done.stdout, done.exit_code) == ("Hi\nHi\n", 0)
        assert "budget_exhausted" in done.stderr
        # Nothing turns while it is told, with three lines to come, nor at the end.
        assert closed == [3, 0]
        second = f"c_{stage.sends[1]['message_id']}"
        assert [said["chat_id"] for said in stage.sends] == [None, None, second]
