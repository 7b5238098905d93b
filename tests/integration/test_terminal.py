"""The terminal client as a person and a script use it, against the running cloud."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest

from chat.kept import Kept, Sent
from tests.cloud import Cloud
from tests.person import PASSWORD, Person, new_message_id

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SHORT = "Please count to 5."
LONG = "Please count to 400."
DEADLINE_S = 60


@dataclass(frozen=True)
class Shell:
    """Somebody's terminal. home: where his client keeps what it keeps."""

    home: Path
    person: Person

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "CHAT_HOME": str(self.home), "PYTHONPATH": str(ROOT), "TERM": "dumb"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "chat", *words],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        with self.start(*words) as process:
            out, err = process.communicate(stdin, timeout=DEADLINE_S)
            return subprocess.CompletedProcess(words, process.returncode, out, err)

    def events(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*words, "--json").stdout.splitlines()]

    def typed(self, *words: str) -> Any:
        return pexpect.spawn(
            sys.executable,
            ["-m", "chat", *words],
            env=self.environment,
            encoding="utf-8",
            timeout=DEADLINE_S,
            dimensions=(40, 100),
        )


@pytest.fixture
def stranger(alice: Person, tmp_path: Path) -> Shell:
    """Nobody is signed in there."""
    return Shell(tmp_path, alice)


@pytest.fixture
def shell(cloud: Cloud, stranger: Shell) -> Shell:
    signed_in = stranger.run(
        *("login", "--server", cloud.endpoints.web_url),
        *("--email", stranger.person.email, "--password-stdin"),
        stdin=f"{PASSWORD}\n",
    )
    assert signed_in.returncode == 0, signed_in.stderr
    return stranger


def until_text(process: subprocess.Popen[str], told: list[dict[str, Any]]) -> None:
    """Read its events up to the first text."""
    assert process.stdout is not None
    for line in process.stdout:
        told.append(json.loads(line))
        if told[-1]["event"] == "text":
            return
    raise AssertionError(f"it ended: {told}")


def rest(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def test_a_script_gets_the_stored_answer_and_nothing_else(shell: Shell) -> None:
    done = shell.run("send", SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    chat = json.loads(shell.run("list", "--json").stdout)
    messages = shell.run("show", chat["chat_id"], "--json").stdout.splitlines()
    question, answer = (json.loads(line) for line in messages)
    assert question["text"] == SHORT
    assert done.stdout == f"{answer['text']}\n"


def test_a_chat_goes_on_and_is_renamed_and_deleted(shell: Shell) -> None:
    first = shell.events("send", "My dog is called Biscuit.")[-1]
    second = shell.events("send", "What is my dog called?", "--chat", first["chat_id"])[-1]
    assert second["event"] == "completed"
    assert "Biscuit" in second["text"]
    assert shell.run("rename", first["chat_id"], "Dogs").returncode == 0
    assert "Dogs" in shell.run("list").stdout
    assert shell.run("delete", first["chat_id"], "--yes").returncode == 0
    assert shell.run("list", "--json").stdout == ""


def test_events_add_up_to_the_text(shell: Shell) -> None:
    events = shell.events("send", LONG)
    pieces = [event for event in events if event["event"] == "text"]
    assert len(pieces) > 1
    assert "".join(piece["text"] for piece in pieces) == events[-1]["text"]
    assert [events[-1][name] for name in ("event", "finish_reason")] == ["completed", "stop"]
    assert 0 < events[-1]["first_text_ms"] < events[-1]["total_ms"]
    assert events[-1]["usage"]["output_tokens"] > 0


def test_ctrl_c_stops_the_answer_itself(shell: Shell) -> None:
    told: list[dict[str, Any]] = []
    with shell.start("send", LONG, "--json") as process:
        until_text(process, told)
        process.send_signal(signal.SIGINT)
        told += rest(process)
        assert process.wait(DEADLINE_S) == 130
    assert told[-1]["event"] == "cancelled"
    stored = shell.person.stored_answer(told[-1]["chat_id"])
    assert (stored["text"], stored["finish_reason"]) == (told[-1]["text"], "cancelled")
    assert shell.events("resume") == []


def test_whoever_was_killed_finds_the_whole_answer_again(shell: Shell) -> None:
    told: list[dict[str, Any]] = []
    with shell.start("send", LONG, "--json") as process:
        until_text(process, told)
        process.kill()
    events = shell.events("resume")
    assert events[-1]["event"] == "completed"
    assert events[-1]["run_id"] == told[-1]["run_id"]
    messages = shell.person.messages(events[-1]["chat_id"])
    assert [message["text"] for message in messages] == [LONG, events[-1]["text"]]
    assert shell.events("resume") == []


def test_what_was_kept_and_never_sent_is_sent_once(shell: Shell) -> None:
    kept = Kept(shell.home)
    sent = Sent(new_message_id(), None, SHORT, shell.person.email, 1)
    kept.keep(sent)
    (answered,) = [event for event in shell.events("resume") if event["event"] == "completed"]
    # Killed between the answer's end and forgetting it.
    kept.keep(sent)
    (again,) = [event for event in shell.events("resume") if event["event"] == "completed"]
    assert (again["run_id"], again["text"]) == (answered["run_id"], answered["text"])
    assert len(shell.person.messages(answered["chat_id"])) == 2


def test_what_is_refused_is_said_with_its_code_and_forgotten(shell: Shell) -> None:
    refused = shell.run("send", "-", stdin="x" * 40_000)
    assert refused.returncode == 1
    assert "text_too_long" in refused.stderr
    unknown = shell.run("send", SHORT, "--chat", "c_unknown")
    assert (unknown.returncode, "chat_not_found" in unknown.stderr) == (1, True)
    assert Kept(shell.home).unanswered(shell.person.email) == []


def test_nobody_and_a_wrong_password_are_told_what_to_do(cloud: Cloud, stranger: Shell) -> None:
    nobody = stranger.run("list")
    assert (nobody.returncode, "chat login" in nobody.stderr) == (1, True)
    at = ("login", "--server", cloud.endpoints.web_url, "--email", stranger.person.email)
    wrong = stranger.run(*at, "--password-stdin", stdin="not it\n")
    assert (wrong.returncode, "wrong_credentials" in wrong.stderr) == (1, True)
    nowhere = stranger.run(*at[:2], "http://127.0.0.1:9", *at[3:], "--password-stdin", stdin="x\n")
    assert (nowhere.returncode, "network" in nowhere.stderr) == (1, True)


def test_who_is_signed_in_and_out(shell: Shell) -> None:
    assert shell.person.email in shell.run("me").stdout
    assert (shell.home / "account.json").stat().st_mode & 0o077 == 0
    assert shell.run("logout").returncode == 0
    assert shell.run("me").returncode == 1


def test_a_person_talks_stops_leaves_and_comes_back(shell: Shell) -> None:
    talk = shell.typed()
    talk.expect("> ")
    talk.sendline("My cat is called Mina.")
    talk.expect("> ")
    talk.sendline("What is my cat called?")
    talk.expect("“My cat is called Mina.”")
    talk.expect("> ")
    talk.sendline(LONG)
    talk.expect("20, 21")
    talk.sendintr()
    talk.expect(r"\[stopped\]")
    talk.expect("> ")
    talk.sendline("Please count to 300.")
    talk.expect("20, 21")
    talk.kill(signal.SIGKILL)
    talk.close()
    resumed = shell.typed("resume")
    resumed.expect("298, 299, 300")
    resumed.expect(pexpect.EOF)
    resumed.close()
    assert resumed.exitstatus == 0
