"""The real handler of ws_message and the real worker in this process, put together for `bench.cost`.

Played are the engine (tokens at a steady pace, in real time, since frames and checkpoints follow the
clock) and the posts' far end. Owns asking and waiting for the answer; it must not count.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

from aws_lambda_powertools import Logger

from bench.bill import Bill
from bench.meter import KEYS, POST_S, SENDER, Meter, Sender
from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import TableNames, open_tables
from chatcore.adapters.memory.states import MemoryCompactions, MemoryWaits
from chatcore.adapters.sqs import SqsInboxes, SqsLanes, sqs_client
from chatcore.adapters.ssm import SsmTiers, ssm_client
from chatcore.domain.calendar import LANES
from chatcore.domain.identity import chat_id_for
from chatcore.domain.ledger import estimate_tokens
from chatcore.domain.run import Usage
from chatcore.domain.tiers import Tier
from chatcore.ports import Generated, Posted
from gpu_service.worker.__main__ import CALLS
from gpu_service.worker.threads import Threads
from gpu_service.worker.worker import Worker, WorkerLimits, WorkerParts
from local.stack import ROOT

TOKENS_PER_S = 30.0
TOKEN = " word"
"""As long as English tokens are on average, about."""

SLOTS = 4
PATIENCE_S = 120.0
QUESTION = (
    "How do I tell apart a slow engine from a slow network, when all I see is the time it took?"
)


@dataclass
class MeteredPosts:
    """The worker's posts, with the far end played."""

    meter: Meter

    async def post(self, connection_id: str, frame: bytes) -> Posted:
        await asyncio.sleep(POST_S)
        self.meter.note_post(connection_id, frame)
        return Posted.SENT


@dataclass
class PacedEngine:
    """Says as many tokens as it is told, at a steady pace."""

    output_tokens: int = 1

    async def ready(self) -> bool:
        return True

    async def generate(
        self, prompt: str, max_output_tokens: int
    ) -> AsyncGenerator[Generated, None]:
        output_tokens = self.output_tokens
        input_tokens = estimate_tokens(prompt)
        started_s = time.monotonic()
        for number in range(1, output_tokens + 1):
            await asyncio.sleep(started_s + number / TOKENS_PER_S - time.monotonic())
            last = number == output_tokens
            yield Generated(TOKEN, Usage(input_tokens, 0, number), "stop" if last else None)


class Lines(logging.Handler):
    """Notes each line as it would be written."""

    def __init__(self, meter: Meter, said_by: str) -> None:
        super().__init__()
        self.meter = meter
        self.said_by = said_by

    def emit(self, record: logging.LogRecord) -> None:
        self.meter.note_line(self.format(record), self.said_by)


class Said(Lines):
    """How often the worker has logged what, too."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter, "worker")
        self.counts: Counter[str] = Counter()
        self.ready = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self.counts[str(record.msg)] += 1
        if record.msg == "worker.ready":
            self.ready.set()


@dataclass
class Chat:
    """chat_id: None before its first message. connection_id: the one that it is open on. With another for
    each message the former ones would go on watching, and each frame be posted to them too."""

    user_id: str
    tier: Tier
    chat_id: str | None = None
    connection_id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass
class Stage:
    meter: Meter
    engine: PacedEngine
    said: Said
    _handler: Callable[[dict[str, Any], Any], object] = field(init=False)

    def __post_init__(self) -> None:
        function = _ws_message()
        # Its lines are measured here, at the level that the template gives it.
        lines = Lines(self.meter, "function")
        lines.setFormatter(function.logger.registered_handler.formatter)
        function.logger.removeHandler(function.logger.registered_handler)
        function.logger.addHandler(lines)
        function.logger.setLevel("INFO")
        self._handler = function.handler

    async def ask(self, bill: Bill, chat: Chat) -> None:
        """One message and its whole answer, on this bill. Raises RuntimeError where there is none."""
        message_id = uuid.uuid4().hex
        event = {
            "requestContext": {
                "connectionId": chat.connection_id,
                "authorizer": {"user_id": chat.user_id, "tier": str(chat.tier)},
            },
            "body": json.dumps(
                {
                    "action": "send",
                    "chat_id": chat.chat_id,
                    "message_id": message_id,
                    "text": QUESTION,
                }
            ),
        }
        last_frame = self.meter.last_frame(chat.connection_id)
        sender = SENDER.set(Sender(bill, chat.connection_id))
        try:
            cpu_s = await asyncio.to_thread(self._handle, event)
            bill.handler_cpu_s += cpu_s
        finally:
            SENDER.reset(sender)
        chat.chat_id = chat.chat_id or chat_id_for(chat.user_id, message_id)
        if await asyncio.wait_for(last_frame, PATIENCE_S) == "error":
            raise RuntimeError("a send was refused")

    def _handle(self, event: dict[str, Any]) -> float:
        """CPU seconds of the handler's thread; what counting took of them the meter takes off the bill."""
        begun_s = time.thread_time()
        self._handler(event, LAMBDA_CONTEXT)
        return time.thread_time() - begun_s


@asynccontextmanager
async def serving(settings: Mapping[str, str], meter: Meter) -> AsyncIterator[Stage]:
    """`settings`: of a local worker, which the environment holds already."""
    stage = Stage(meter, PacedEngine(), Said(meter))
    worker = _worker(settings, stage)
    running = asyncio.create_task(worker.run())
    ready = asyncio.create_task(stage.said.ready.wait())
    await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    try:
        yield stage
    finally:
        worker.stopping.set()
        await running


LAMBDA_CONTEXT = SimpleNamespace(
    function_name="ws_message",
    memory_limit_in_mb=1024,
    invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:ws_message",
    aws_request_id="bench",
)


def _ws_message() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "ws_message_app", ROOT / "functions" / "ws_message" / "app.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _worker(settings: Mapping[str, str], stage: Stage) -> Worker:
    """Put together as gpu_service.worker.__main__ does, but for engine, posts and log."""
    client = sqs_client(CALLS + len(LANES) + 1)
    tables = {name: settings[f"{name.upper()}_TABLE"] for name in KEYS}
    logger = Logger(service="worker", level="INFO", logger_handler=stage.said)
    logger.append_keys(worker_id="bench")
    parts = WorkerParts(
        stores=dynamo_stores(open_tables(TableNames(**tables), CALLS)),
        lanes=SqsLanes(client, settings["LANE_BASE_URL"]),
        inboxes=SqsInboxes(client, settings["INBOX_BASE_URL"]),
        posts=MeteredPosts(stage.meter),
        tiers=SsmTiers(ssm_client(), settings["TIERS_PARAMETER"], logger, now_ms),
        compactions=MemoryCompactions(),
        waits=MemoryWaits(),
        engine=stage.engine,
        count_tokens=estimate_tokens,
        calls=Threads(CALLS, "aws"),
        polls=Threads(len(LANES) + 1, "poll"),
        logger=logger,
        now_ms=now_ms,
    )
    limits = WorkerLimits(
        slots=SLOTS, drain_s=1, first_token_timeout_s=PATIENCE_S, next_token_timeout_s=PATIENCE_S
    )
    return Worker("bench", parts, limits)


def set_environment(settings: Mapping[str, str]) -> None:
    os.environ.update({**settings, "LOG_LEVEL": "ERROR", "POWERTOOLS_SERVICE_NAME": "ws_message"})
