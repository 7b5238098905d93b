"""Every AWS call between a user's send and his first token, counted on the real code.

The handler of ws_message and the worker's own start-up run in this process, against the local cloud,
with botocore's event hooks on all their clients and a count of the worker's posts. The worker has
lanes of its own here, so that no other takes the job, and an engine that says when it was asked.

    ws_message   TransactGetItems ▶ TransactWriteItems ▶ SendMessage ▶ (run.queued)
    worker                                       ReceiveMessage ▶ UpdateItem ∥ Query ▶ engine ▶ run.delta
                                                                       (run.started) beside the engine
"""

import asyncio
import importlib.util
import itertools
import json
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from chatcore.adapters import aws
from chatcore.adapters.async_posts import AsyncApiGatewayPosts
from chatcore.domain import calendar
from chatcore.domain.run import Usage
from chatcore.ports import Generated, Posted
from chatcore.settings import WorkerSettings
from gpu_service.worker import __main__ as worker_main
from local import worker as local_worker
from tests.cloud import PORTS, Cloud, eventually
from tests.person import Person, new_message_id

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("counts the calls of a worker in its own process"),
]

ROOT = Path(__file__).parents[2]
LANES = tuple(map(str, calendar.LANES))
ON_A_TABLE = {"GetItem", "PutItem", "UpdateItem", "Query", "Scan"}
PATIENCE_S = 10.0
PROMPT = "My dog is called Biscuit."
REQUEST_ID = "request-of-the-counted-send"

STARTED = "PostToConnection run.started"
FIRST_TOKEN = "PostToConnection run.delta"
BESIDE = {"ledgers", "calendars", "workers"}
"""Tables that nothing on the way waits for."""
BEFORE_AND_AFTER = {"ReceiveMessage", "GetQueueAttributes"}
"""Polls for the next jobs, and the count of what waits."""
SEQUENTIAL = [
    {"TransactGetItems"},
    {"TransactWriteItems"},
    {"SendMessage"},
    {"ReceiveMessage"},
    {"UpdateItem", "Query"},
    {FIRST_TOKEN},
]
"""Calls of one entry run beside each other. docs/architecture.md says why each is there."""


@dataclass
class Call:
    """queue: or table; began, ended: places in the order of all that was recorded."""

    name: str
    queue: str
    began: int
    ended: int | None = None
    messages: int = 0


@dataclass
class Recorder:
    """The calls of all clients that are made from a session. before: is run as one of them begins."""

    before: Callable[[Call], None] = lambda call: None
    calls: list[Call] = field(default_factory=list)
    _moments: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def listen(self, session: Any) -> None:
        session.register("before-call", self._began)
        session.register("after-call", self._ended)
        session.register("after-call-error", self._ended)

    def moment(self) -> int:
        with self._lock:
            self._moments += 1
            return self._moments

    def named(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.name == name]

    def begin(self, name: str, queue: str = "") -> Call:
        call = Call(name, queue, self.moment())
        self.calls.append(call)
        return call

    def _began(self, model: Any, params: Any, context: dict[str, Any], **_: Any) -> None:
        name, queue = model.name, ""
        if name == "PostToConnection":
            name = post_of(params["body"])
        elif name in {"SendMessage", "ReceiveMessage"}:
            queue = json.loads(params["body"])["QueueUrl"].rpartition("/")[2]
        elif name in ON_A_TABLE:
            queue = json.loads(params["body"])["TableName"].rpartition("-")[2]
        context["recorded"] = self.begin(name, queue)
        self.before(context["recorded"])

    def _ended(self, context: dict[str, Any], parsed: Any = None, **_: Any) -> None:
        call = context["recorded"]
        call.ended = self.moment()
        call.messages = len((parsed or {}).get("Messages", ()))


def post_of(frame: bytes) -> str:
    return f"PostToConnection {json.loads(frame)['type']}"


@dataclass
class GatedEngine:
    """Its prefill takes until run.started is posted; its answer ends when the first token is."""

    recorder: Recorder
    asked: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)
    asked_at: int = 0
    answered_at: int = 0

    async def ready(self) -> bool:
        return True

    async def close(self) -> None:
        return

    async def generate(
        self, prompt: str, max_output_tokens: int
    ) -> AsyncGenerator[Generated, None]:
        self.asked_at = self.recorder.moment()
        self.asked.set()
        assert await asyncio.to_thread(self.may_answer.wait, PATIENCE_S)
        self.answered_at = self.recorder.moment()
        yield Generated("Bis", Usage(input_tokens=9, output_tokens=1))
        assert await asyncio.to_thread(self.may_end.wait, PATIENCE_S)
        yield Generated("cuit.", Usage(input_tokens=9, output_tokens=2), "stop")


class CountedPosts(AsyncApiGatewayPosts):
    """The worker's own way to post, which is not botocore's: recorded, and gated for the engine."""

    recorder: Recorder
    engine: GatedEngine

    async def post(self, connection_id: str, frame: bytes) -> Posted:
        call = self.recorder.begin(post_of(frame))
        if call.name == STARTED:
            # Held until the engine is at work: the prompt must not wait for this post.
            assert await asyncio.to_thread(self.engine.asked.wait, PATIENCE_S)
        posted = await super().post(connection_id, frame)
        call.ended = self.recorder.moment()
        if call.name == STARTED:
            self.engine.may_answer.set()
        elif call.name == FIRST_TOKEN:
            self.engine.may_end.set()
        return posted


@pytest.fixture
def environment(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A worker's settings, with lanes that no other worker pulls, set for this process."""
    prefix = f"{cloud.endpoints.stack_name}-counted-lane"
    settings = local_worker.environment(ROOT, PORTS, cloud.outputs)
    settings["LANE_BASE_URL"] = cloud.outputs["LaneBaseUrl"].rpartition("/")[0] + f"/{prefix}"
    queues = [cloud.sqs.create_queue(QueueName=f"{prefix}-{lane}")["QueueUrl"] for lane in LANES]
    for name, value in settings.items():
        if name != "PYTHONPATH":
            monkeypatch.setenv(name, value)
    aws.session.cache_clear()
    yield settings
    aws.session.cache_clear()
    for queue in queues:
        cloud.sqs.delete_queue(QueueUrl=queue)


@pytest.fixture
def signals() -> Iterator[None]:
    """The worker takes them; its loop leaves the defaults behind, not what was there."""
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


def _ws_message(recorder: Recorder) -> ModuleType:
    """The function's module, its clients recorded."""
    aws.session.cache_clear()
    recorder.listen(aws.session())
    path = ROOT / "functions" / "ws_message" / "app.py"
    spec = importlib.util.spec_from_file_location("counted_ws_message", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _connection_id_of(person: Person, run_id: str) -> str:
    """As the run notes it while it is active."""
    (connection_id,) = person.cloud.run(run_id)["viewers"]
    return str(connection_id)


@pytest.mark.usefixtures("signals")
def test_six_sequential_round_trips_from_send_to_first_token(
    alice: Person,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with alice.line() as line:
        # A run of no interest, by which the real connection's id is learnt.
        known = line.ask("Please count to 300.")
        connection_id = _connection_id_of(alice, known.run_id)
        line.say("cancel", run_id=known.run_id)
        line.finish(known)

        lambdas, workers = Recorder(), Recorder()
        app = _ws_message(lambdas)
        # As a function has them that is not at its first send.
        app.tiers.refresh()
        lambdas.calls.clear()
        event = {
            "requestContext": {
                "connectionId": connection_id,
                "authorizer": {"user_id": alice.user_id, "tier": alice.tier},
            },
            "body": json.dumps(
                {
                    "action": "send",
                    "chat_id": None,
                    "message_id": new_message_id(),
                    "text": PROMPT,
                }
            ),
        }
        engine = GatedEngine(workers)
        claim_and_history = threading.Barrier(2, timeout=PATIENCE_S)

        def before(call: Call) -> None:
            if engine.asked.is_set():
                return
            if (call.name, call.queue) in {("UpdateItem", "runs"), ("Query", "messages")}:
                # Each waits here for the other: one after the other would break the barrier.
                claim_and_history.wait()
            elif call.queue == "ledgers":
                # The account's turn comes beside the prompt: held until the engine is at work.
                assert engine.asked.wait(PATIENCE_S)

        workers.before = before
        aws.session.cache_clear()
        workers.listen(aws.session())
        CountedPosts.recorder, CountedPosts.engine = workers, engine
        monkeypatch.setattr(worker_main, "AsyncApiGatewayPosts", CountedPosts)
        monkeypatch.setattr(worker_main, "TritonEngine", lambda url, model: engine)

        async def scenario() -> None:
            serving = asyncio.create_task(
                worker_main.serve(WorkerSettings.read(environment), Logger(service="counted"))
            )
            await asyncio.to_thread(eventually, lambda: _is_standing(workers), "standing polls")
            await asyncio.to_thread(app.handler, event, _context())
            await asyncio.to_thread(
                line.hear_until, lambda frame: frame["type"] == "run.completed", "the answer"
            )
            signal.raise_signal(signal.SIGTERM)
            await serving

        asyncio.run(scenario())
        (answer,) = [each for run_id, each in line.answers.items() if run_id != known.run_id]
    assert answer.text == "Biscuit."
    _check_log(capsys.readouterr().out, answer.run_id)

    # Of the Lambda: all it does, in its order. Its own reply comes last: nobody waits for it.
    assert [call.name for call in lambdas.calls] == [
        *(name for names in SEQUENTIAL[:3] for name in names),
        "PostToConnection run.queued",
    ]
    assert _is_in_sequence(lambdas.calls)

    # Of the worker: all that it began between the job's arrival and the first token's post.
    # Its title's job may have come since then.
    (received, *_) = [call for call in workers.named("ReceiveMessage") if call.messages]
    (first_delta, *_) = workers.named(FIRST_TOKEN)
    on_the_way = [
        call
        for call in workers.calls
        if _ended(received) < call.began <= first_delta.began
        and call.name not in BEFORE_AND_AFTER
        and call.queue not in BESIDE
    ]
    (started,) = [call for call in on_the_way if call.name == STARTED]
    on_the_way.remove(started)
    assert started.began < engine.asked_at or _ended(started) < engine.answered_at
    assert {call.name for call in on_the_way[:2]} == SEQUENTIAL[4]
    assert [{call.name} for call in on_the_way[2:]] == SEQUENTIAL[5:]
    assert all(_ended(call) < engine.asked_at for call in on_the_way[:2])
    assert engine.asked_at < engine.answered_at < first_delta.began
    assert {received.name} == SEQUENTIAL[3]
    assert len(SEQUENTIAL) == 6


def _check_log(written: str, run_id: str) -> None:
    """The emulator keeps no log of a WebSocket's functions: theirs is looked at here."""
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    (submitted,) = [line for line in lines if line["message"] == "run.submitted"]
    assert (submitted["run_id"], submitted["trace_id"]) == (run_id, REQUEST_ID)
    of_worker = [line for line in lines if line["service"] == "counted" and "trace_id" in line]
    assert {line["trace_id"] for line in of_worker} == {REQUEST_ID}
    assert PROMPT not in written
    assert "Biscuit" not in written


def _is_standing(recorder: Recorder) -> bool:
    """Whether a poll stands on every lane, so that a job is met at once."""
    standing = {call.queue for call in recorder.named("ReceiveMessage") if call.ended is None}
    return sum(queue.endswith(LANES) for queue in standing) == len(LANES)


def _ended(call: Call) -> int:
    assert call.ended is not None
    return call.ended


def _is_in_sequence(calls: list[Call]) -> bool:
    return all(_ended(a) < b.began for a, b in itertools.pairwise(calls))


def _context() -> Any:
    return SimpleNamespace(
        function_name="ws_message",
        memory_limit_in_mb=1024,
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:ws_message",
        aws_request_id=REQUEST_ID,
    )
