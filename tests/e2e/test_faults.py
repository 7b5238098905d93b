"""Faults of real processes: killed, frozen and leaving workers, an engine and an AWS that go away,
viewers that come back all at once or read too slowly. Nothing is lost, and nothing is there twice.

What each client rendered is held to what is stored, by the protocol's rules, in `tests.person`: a
repeated character, a frame of an epoch that is over or one after the end fails at once.
"""

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from tests.cloud import SLOTS, WORKERS, Cloud, RunningWorker, eventually
from tests.person import TERMINAL, TERMINAL_EVENTS, Answer, Line, Person, new_message_id

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("kills and freezes workers, Triton and the emulator"),
]

LONG = 400
"""Numbers that an answer counts to: some twenty seconds of it."""

STORM_S = 180.0

MOST_GROWTH_KB = 16_000

TAKE_OVER_S = 60.0
"""A lease, and then the job's visibility, have to run out first."""


def prompt(last: int) -> str:
    return f"Please count to {last}."


def whole(last: int) -> str:
    return f"The demo engine counts to {last}: {', '.join(map(str, range(1, last + 1)))}."


@dataclass
class Talk:
    """One prompt on its way."""

    who: Person
    line: Line
    answer: Answer
    last: int
    message_id: str

    def ends_whole(self, deadline_s: float = 60.0) -> None:
        self.line.finish(self.answer, deadline_s)
        assert self.answer.end is not None
        assert self.answer.end["type"] == "run.completed", self.answer.end
        assert self.answer.text == whole(self.last)

    def epoch(self) -> int:
        run = self.who.get(f"/runs/{self.answer.run_id}")
        assert run["status"] == "completed"
        epoch: int = run["epoch"]
        return epoch


@dataclass
class Talks:
    """Prompts of several people at once, each on a line of its own."""

    people: list[Person]
    lines: ExitStack

    def ask(self, count: int, last: int = LONG) -> list[Talk]:
        talks = []
        for number in range(count):
            who = self.people[number % len(self.people)]
            line = self.lines.enter_context(who.line(attaches_on_gap=True))
            message_id = new_message_id()
            # No two alike, so that one answer is never taken for another.
            ends = last + number
            answer = line.ask(prompt(ends), message_id=message_id)
            talks.append(Talk(who, line, answer, ends, message_id))
        return talks

    def stream(self, talks: list[Talk], length: int = 100) -> None:
        for talk in talks:
            talk.line.until_length(talk.answer, length)


@pytest.fixture
def talks(person: Callable[[str], Person]) -> Iterator[Talks]:
    with ExitStack() as lines:
        yield Talks([person("plus") for _ in range(3)], lines)


@pytest.fixture(autouse=True)
def full_strength(cloud: Cloud) -> Iterator[None]:
    """As many workers as before, and all of their slots, whatever the test does to them."""
    yield
    while len(cloud.workers) < WORKERS:
        cloud.add_worker()


def all_is_settled(talks: list[Talk]) -> None:
    """One answer to each message, paid for once, and every slot free again."""
    for talk in talks:
        run = talk.who.get(f"/runs/{talk.answer.run_id}")
        assert run["status"] in TERMINAL
        messages = talk.who.messages(run["chat_id"])
        assert [message["role"] for message in messages] == ["user", "assistant"]
        assert messages[1]["text"] == talk.answer.text
    for who in {talk.who.user_id: talk.who for talk in talks}.values():
        usage = who.usage()
        assert (usage["reserved_tokens"], usage["active_runs"]) == (0, 0)
        ledger = who.footprint()[3]
        costs = [
            run["usage"]["input_tokens"]
            - run["usage"]["cached_tokens"]
            + 2 * run["usage"]["output_tokens"]
            for run in (who.get(f"/runs/{t.answer.run_id}") for t in talks if t.who is who)
        ]
        assert ledger["settled_tokens"] == sum(costs)


def until_logged(worker: RunningWorker, message: str, times: int = 1) -> None:
    def look() -> bool:
        found = [line for line in worker.log_lines() if line.get("message") == message]
        return len(found) >= times

    eventually(look, f"{times} times {message}")


def test_a_killed_workers_answers_go_on_and_the_others_are_not_disturbed(
    talks: Talks, cloud: Cloud
) -> None:
    asked = talks.ask(6)
    talks.stream(asked)
    holders = {talk.answer.run_id: cloud.worker_of(talk.answer.run_id) for talk in asked}
    victim = holders[asked[0].answer.run_id]
    cloud.kill_worker(victim)
    for talk in asked:
        talk.ends_whole(TAKE_OVER_S)
    for talk in asked:
        assert talk.epoch() == (2 if holders[talk.answer.run_id] is victim else 1)
    all_is_settled(asked)


def test_a_frozen_worker_that_wakes_up_to_a_lost_lease_is_mute_and_works_on(
    talks: Talks, cloud: Cloud
) -> None:
    (talk,) = talks.ask(1)
    talks.stream([talk])
    frozen = cloud.worker_of(talk.answer.run_id)
    with frozen.service.frozen():
        talk.line.hear_until(
            lambda frame: frame["type"] == "run.rewound", "a take-over", TAKE_OVER_S
        )
    # Awake again, while the other one tells the rest: whatever it said of the old epoch would fail.
    until_logged(frozen, "run.lost")
    talk.ends_whole()
    assert talk.epoch() == 2
    all_is_settled([talk])
    others = [worker for worker in cloud.workers if worker is not frozen]
    for other in others:
        cloud.stop_worker(other)
    # Alone now, it has all of its slots.
    more = talks.ask(SLOTS, last=20)
    for each in more:
        each.ends_whole()
    all_is_settled([*more, talk])


def test_a_leaving_worker_hands_over_all_it_has_in_little_time(talks: Talks, cloud: Cloud) -> None:
    leaving, other = cloud.workers
    cloud.stop_worker(other)
    # All on one worker, so that it has as much to hand over as it can have.
    asked = talks.ask(SLOTS)
    talks.stream(asked)
    cloud.add_worker()
    began_s = time.monotonic()
    cloud.stop_worker(leaving)
    assert time.monotonic() - began_s < 10
    for talk in asked:
        talk.ends_whole(TAKE_OVER_S)
        assert talk.epoch() == 2
        assert cloud.run(talk.answer.run_id)["attempts"] == 0
        assert _taken_back(talk.answer) == 0
    all_is_settled(asked)


def _taken_back(answer: Answer) -> int:
    """Characters that were shown and then cut away."""
    length = taken = 0
    for frame in answer.frames:
        if frame["type"] == "run.delta":
            length = max(length, frame["offset"] + len(frame["text"]))
        elif frame["type"] == "run.rewound":
            taken += max(0, length - frame["offset"])
            length = min(length, frame["offset"])
    return taken


def test_an_engine_that_dies_is_waited_for_and_its_answers_go_on(
    talks: Talks, cloud: Cloud
) -> None:
    asked = talks.ask(3)
    talks.stream(asked)
    cloud.stack.engine.kill()
    for worker in cloud.workers:
        until_logged(worker, "engine.away")
    (late,) = talks.ask(1, last=30)
    assert late.who.get(f"/runs/{late.answer.run_id}")["status"] == "queued"
    cloud.stack.engine.start()
    for talk in (*asked, late):
        talk.ends_whole(TAKE_OVER_S)
    assert late.epoch() == 1
    all_is_settled([*asked, late])


def test_an_engine_that_hangs_is_noticed_and_its_answers_go_on(talks: Talks, cloud: Cloud) -> None:
    patient = list(cloud.workers)
    for worker in patient:
        cloud.stop_worker(worker)
    worker = cloud.add_worker(NEXT_TOKEN_TIMEOUT_S="2", FIRST_TOKEN_TIMEOUT_S="4")
    asked = talks.ask(2)
    talks.stream(asked)
    with cloud.stack.engine.frozen():
        until_logged(worker, "engine.fault", times=len(asked))
        until_logged(worker, "engine.away")
        (late,) = talks.ask(1, last=30)
        assert late.who.get(f"/runs/{late.answer.run_id}")["status"] == "queued"
    for talk in (*asked, late):
        talk.ends_whole(TAKE_OVER_S)
    # It took none while the engine hung, or the late one would have had a fault, too.
    assert late.epoch() == 1
    all_is_settled([*asked, late])
    cloud.stop_worker(worker)


def test_an_aws_that_does_not_answer_for_seconds_costs_no_answer(
    talks: Talks, cloud: Cloud
) -> None:
    asked = talks.ask(3)
    talks.stream(asked)
    who, line = asked[0].who, asked[0].line
    message_id = new_message_id()
    with cloud.stack.aws.frozen(), ThreadPoolExecutor(1) as beside:
        # Sent into the silence: it is answered when that is over, or refused; again is safe.
        line.say("send", chat_id=None, message_id=message_id, text=prompt(25))
        beside.submit(time.sleep, 6).result()
    again = line.ask(prompt(25), message_id=message_id)
    late = Talk(who, line, again, 25, message_id)
    for talk in asked:
        # A post that was given up may have come after all: what it held is posted again.
        talk.answer.may_repeat = True
    for talk in (*asked, late):
        talk.ends_whole(TAKE_OVER_S)
    all_is_settled([*asked, late])
    chats = [chat["chat_id"] for chat in who.get("/chats")["chats"]]
    texts = [m["text"] for chat_id in chats for m in who.messages(chat_id)]
    assert texts.count(prompt(25)) == 1
    assert texts.count(whole(25)) == 1


def test_fifty_viewers_who_come_back_all_at_once_see_what_is_stored(
    talks: Talks, cloud: Cloud
) -> None:
    """They have their tickets already: it is connecting and attaching that all of them do at once. The
    emulator starts a process for each authorizer that runs at the same time; where a ticket runs out
    meanwhile, its owner takes another one, as any client does."""
    asked = talks.ask(5)
    viewers = list(itertools.islice(itertools.cycle(asked), 50))

    def watch(talk: Talk) -> Answer:
        with talk.who.line(attaches_on_gap=True) as line:
            answer = line.attach(talk.answer.run_id)
            line.until_length(answer, 50)
            return answer

    def come_back(talk: Talk, seen: Answer, ticket: str | None) -> Answer:
        for tried in (ticket, None, None):
            try:
                with talk.who.line(
                    attaches_on_gap=True, ticket=tried, open_timeout_s=STORM_S
                ) as line:
                    answer = line.attach(talk.answer.run_id, seen)
                    line.finish(answer, STORM_S)
                    return answer
            except InvalidStatus:
                continue
        raise AssertionError("never connected")

    with ThreadPoolExecutor(5) as few:
        before = list(few.map(watch, viewers))
        tickets = list(few.map(lambda talk: talk.who.post("/tickets")["ticket"], viewers))
    with ThreadPoolExecutor(len(viewers)) as all_at_once:
        after = list(all_at_once.map(come_back, viewers, before, tickets))
    for talk, answer in zip(viewers, after, strict=True):
        assert answer.text == whole(talk.last)
    for talk in asked:
        talk.ends_whole()
        assert talk.epoch() == 1
    all_is_settled(asked)


def test_a_viewer_that_reads_a_byte_a_second_holds_nobody_up(talks: Talks, cloud: Cloud) -> None:
    """The emulator stands between, as API Gateway does: it takes the frames that the slow one has not
    read. What the worker does when posts themselves are slow is held by
    `test_a_slow_client_delays_nobody_else`."""
    asked = talks.ask(2)
    talks.stream(asked, length=20)
    worker = cloud.worker_of(asked[0].answer.run_id)
    memory_kb = _resident_kb(worker)
    with Slow(asked[0].who, asked[0].answer.run_id) as slow:
        for talk in asked:
            talk.ends_whole()
        assert 0 < slow.bytes_read < 60
        assert _resident_kb(worker) - memory_kb < MOST_GROWTH_KB
        assert slow.rest() == whole(asked[0].last)
    all_is_settled(asked)


class Slow:
    """A viewer of a run whose socket takes a byte a second, until `rest` is asked for."""

    def __init__(self, who: Person, run_id: str) -> None:
        self.bytes_read = 0
        self._hurry = threading.Event()
        self._text = ""
        uri = parse_uri(who.ws_url())
        self._protocol = ClientProtocol(uri)
        self._socket = socket.create_connection((uri.host, uri.port))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self._protocol.send_request(self._protocol.connect())
        self._send()
        while self._protocol.state is State.CONNECTING:
            self._protocol.receive_data(self._socket.recv(4096))
        attach = {"action": "attach", "run_id": run_id, "offset": 0, "epoch": 0}
        self._protocol.send_text(json.dumps(attach).encode())
        self._send()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hurry.set()
        self._thread.join(STORM_S)
        self._socket.close()

    def rest(self) -> str:
        """All of the text, once it has been read to its end."""
        self._hurry.set()
        self._thread.join(STORM_S)
        assert not self._thread.is_alive()
        return self._text

    def _send(self) -> None:
        for piece in self._protocol.data_to_send():
            self._socket.sendall(piece)

    def _read(self) -> None:
        self._socket.settimeout(STORM_S)
        while not self._heard_the_end():
            if self._hurry.wait(0 if self.bytes_read == 0 else 1):
                self._protocol.receive_data(self._socket.recv(65_536))
            else:
                self._protocol.receive_data(self._socket.recv(1))
                self.bytes_read += 1

    def _heard_the_end(self) -> bool:
        for event in self._protocol.events_received():
            if not isinstance(event, Frame) or event.opcode is not Opcode.TEXT:
                continue
            assert event.fin
            frame = json.loads(bytes(event.data))
            if frame["type"] == "run.delta":
                assert frame["offset"] == len(self._text)
                self._text += frame["text"]
            if frame["type"] in TERMINAL_EVENTS:
                return True
        return False


def _resident_kb(worker: RunningWorker) -> int:
    status = Path(f"/proc/{worker.service.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
