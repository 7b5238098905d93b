"""`make bench-cost`: a prompt's whole bill of AWS calls, for answers of several lengths.

The real handler of ws_message and the real worker run in this process, against the emulator's tables
and queues; botocore's event hooks see every call they make. Played are the engine (tokens at a steady
pace, in real time, since frames and checkpoints follow the clock) and the posts' far end, which takes
as long as POST_S. Owns the bill: what is called in which step, and its DynamoDB units.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from rich.console import Console
from rich.table import Table

from bench import cloud
from bench.dynamo_units import Item, index_write_units, item_bytes, read_units, write_units
from bench.report import Figure, Goal, finish, reported
from chatcore.adapters import aws
from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import TableNames, open_tables
from chatcore.adapters.sqs import SqsInboxes, SqsLanes, sqs_client
from chatcore.domain.ledger import estimate_tokens
from chatcore.domain.run import Usage
from chatcore.ports import Generated, Posted
from gpu_service.worker.threads import Threads
from gpu_service.worker.worker import Worker, WorkerLimits, WorkerParts
from local import worker as local_worker
from local.ministack import session
from local.stack import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

QUICK_TOKENS = (129, 500)
FULL_TOKENS = (129, 500, 1000, 2000)
TOKENS_PER_S = 30.0
TOKEN = " word"
"""As long as English tokens are on average, about."""

POST_S = 0.01
"""How long a post takes here; what comes meanwhile goes into one frame. It matters little: the floor
between frames is longer from the first few on."""

STEPS = ("submit", "claim", "stream", "settle")
"""submit: in the Lambda; claim: from the lane to the engine; stream: while it answers; settle: after."""

IDLE = "idle"
"""Between prompts, and when the worker starts and ends: nobody's bill."""

POLLS = 8
PATIENCE_S = 30.0
QUESTION = (
    "How do I tell apart a slow engine from a slow network, when all I see is the time it took?"
)


@dataclass
class Bill:
    """calls: by step, service and operation."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    read_units: Counter[str] = field(default_factory=Counter)
    write_units: Counter[str] = field(default_factory=Counter)
    frame_types: Counter[str] = field(default_factory=Counter)

    def of_service(self, service: str) -> int:
        return sum(
            count for (_, call), count in self.calls.items() if call.partition(".")[0] == service
        )

    def of_call(self, call: str) -> int:
        return sum(count for (_, name), count in self.calls.items() if name == call)


@dataclass
class Meter:
    """Hears of every call in this process. Empty polls are counted apart: an idle worker makes them
    too."""

    ask: DynamoDBClient
    bill: Bill = field(default_factory=Bill)
    step: str = IDLE
    empty_polls: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _items: dict[tuple[str, str], Item | None] = field(default_factory=dict)

    def attach(self) -> None:
        """Before any client is made: clients take their hooks from the session."""
        shared = aws.session()
        shared.register("before-parameter-build.*.*", self._before)
        shared.register("after-call.*.*", self._after)
        shared.register("before-call.apigatewaymanagementapi.*", self._post)

    def start(self) -> Bill:
        with self._lock:
            self.bill = Bill()
            self.ended.clear()
            return self.bill

    def _before(self, **heard: Any) -> None:  # noqa: ANN401 - botocore's
        heard["context"]["bench_params"] = heard["params"]
        # When it was begun, not when it ended: a checkpoint may end after the stream.
        heard["context"]["bench_step"] = self.step

    def _after(self, **heard: Any) -> None:  # noqa: ANN401 - botocore's
        parsed, context, model = heard["parsed"], heard["context"], heard["model"]
        service, operation = str(model.service_model.service_id), str(model.name)
        params, step = context["bench_params"], context["bench_step"]
        with self._lock:
            if step == IDLE and operation != "ReceiveMessage":
                return
            if operation == "ReceiveMessage":
                if not parsed.get("Messages"):
                    self.empty_polls += 1
                    return
                self.step = step = "claim"
            self.bill.calls[step, f"{service}.{operation}"] += 1
            if service == "DynamoDB":
                self._count_units(step, operation, params, parsed)

    def _post(self, **heard: Any) -> Any:  # noqa: ANN401 - botocore's
        """Answers in the place of the far end; botocore then sends nothing."""
        time.sleep(POST_S)
        self.note_frame(heard["params"]["body"])
        return SimpleNamespace(status_code=HTTPStatus.OK), {}

    def note_frame(self, body: bytes | str) -> None:
        frame = json.loads(body)
        with self._lock:
            self.bill.frame_types[frame["type"]] += 1
        if frame["type"] == "run.completed":
            self.ended.set()

    def note_call(self, call: str) -> None:
        """One that botocore does not make."""
        with self._lock:
            self.bill.calls[self.step, call] += 1

    def _count_units(
        self, step: str, operation: str, params: Mapping[str, Any], parsed: Mapping[str, Any]
    ) -> None:
        bill = self.bill
        match operation:
            case "GetItem":
                bill.read_units[step] += read_units(item_bytes(parsed.get("Item")))
            case "Query":
                found = sum(item_bytes(item) for item in parsed["Items"])
                bill.read_units[step] += read_units(found)
            case "TransactGetItems":
                for answer in parsed["Responses"]:
                    size_bytes = item_bytes(answer.get("Item"))
                    bill.read_units[step] += read_units(size_bytes, transaction=True)
            case "PutItem" | "UpdateItem" | "DeleteItem":
                bill.write_units[step] += self._written(params, transaction=False)
            case "BatchWriteItem":
                for table, requests in params["RequestItems"].items():
                    for request in requests:
                        put = {"TableName": table, "Item": request["PutRequest"]["Item"]}
                        bill.write_units[step] += self._written(put, transaction=False)
            case "TransactWriteItems":
                for entry in params["TransactItems"]:
                    (write,) = entry.values()
                    bill.write_units[step] += self._written(write, transaction=True)
            case _:
                raise ValueError(f"no rule for DynamoDB's {operation}")

    def _written(self, write: Mapping[str, Any], *, transaction: bool) -> int:
        """The units of one write, by what the item was and what it has become."""
        table = str(write["TableName"])
        keys = KEYS[table.rpartition("-")[2]]
        source = write.get("Key") or write["Item"]
        key = {name: source[name] for name in keys}
        place = (table, json.dumps(key, sort_keys=True))
        before = self._items.get(place)
        found = self.ask.get_item(TableName=table, Key=key, ConsistentRead=True)
        after: Item | None = found.get("Item")
        self._items[place] = after
        units = write_units(before, after, transaction=transaction)
        if table.endswith("-chats"):
            units += index_write_units(before, after, "last_active_ms", transaction=transaction)
        return units


KEYS = {
    "chats": ("user_id", "chat_id"),
    "messages": ("chat_id", "seq"),
    "runs": ("run_id",),
    "checkpoints": ("run_id", "part"),
    "ledgers": ("user_id",),
}


@dataclass
class MeteredPosts:
    """The worker's posts, with the far end played."""

    meter: Meter

    async def post(self, connection_id: str, frame: bytes) -> Posted:
        self.meter.note_call("ApiGatewayManagementApi.PostToConnection")
        await asyncio.sleep(POST_S)
        self.meter.note_frame(frame)
        return Posted.SENT


@dataclass
class PacedEngine:
    """Says as many tokens as it is told, at a steady pace."""

    meter: Meter
    output_tokens: int = 1

    async def ready(self) -> bool:
        return True

    async def generate(
        self, prompt: str, max_output_tokens: int
    ) -> AsyncGenerator[Generated, None]:
        self.meter.step = "stream"
        input_tokens = estimate_tokens(prompt)
        started_s = time.monotonic()
        for number in range(1, self.output_tokens + 1):
            await asyncio.sleep(started_s + number / TOKENS_PER_S - time.monotonic())
            last = number == self.output_tokens
            if last:
                self.meter.step = "settle"
            yield Generated(TOKEN, Usage(input_tokens, 0, number), "stop" if last else None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    parser.add_argument("--full", action="store_true", help="longer answers, too")
    lengths = FULL_TOKENS if parser.parse_args().full else QUICK_TOKENS
    return cloud.main(lambda: bench(lengths))


def bench(lengths: tuple[int, ...]) -> None:
    console = Console()
    with cloud.running_cloud(console, workers=0, slots=1) as running:
        settings = local_worker.environment(ROOT, cloud.PORTS, running.stack.outputs)
        os.environ.update({**settings, "LOG_LEVEL": "ERROR", "POWERTOOLS_SERVICE_NAME": "bench"})
        meter = Meter(session().client("dynamodb", endpoint_url=cloud.PORTS.aws_endpoint_url))
        meter.attach()
        bills, idle_polls = asyncio.run(_run_prompts(settings, meter, lengths, console))
    _report(console, bills, idle_polls)


async def _run_prompts(
    settings: Mapping[str, str], meter: Meter, lengths: tuple[int, ...], console: Console
) -> tuple[dict[int, Bill], float]:
    """The bill of each length, and how many empty polls the worker makes in a minute."""
    handler = _ws_message().handler
    engine = PacedEngine(meter)
    worker = _worker(settings, engine)
    serving = asyncio.create_task(worker.run())
    started_s = time.monotonic()
    bills: dict[int, Bill] = {}
    try:
        # The first makes the chat and the ledger, and opens the connections: not part of the figures.
        chat_id = await _prompt(handler, meter, None)
        for output_tokens in lengths:
            console.print(
                f"an answer of {output_tokens} tokens: {output_tokens / TOKENS_PER_S:.0f} s",
                highlight=False,
            )
            engine.output_tokens = output_tokens
            bills[output_tokens] = meter.start()
            await _prompt(handler, meter, chat_id)
        polls_per_minute = meter.empty_polls / (time.monotonic() - started_s) * 60
    finally:
        worker.stopping.set()
        await serving
    return bills, polls_per_minute


async def _prompt(
    handler: Callable[[dict[str, Any], Any], object], meter: Meter, chat_id: str | None
) -> str:
    """One message in a chat (None: a new one) and its whole answer. Returns the chat's id."""
    meter.ended.clear()
    meter.step = "submit"
    message_id = uuid.uuid4().hex
    send = {"action": "send", "chat_id": chat_id, "message_id": message_id, "text": QUESTION}
    event = {
        "requestContext": {
            "connectionId": "bench",
            "authorizer": {"user_id": "bench-user", "tier": "pro"},
        },
        "body": json.dumps(send),
    }
    await asyncio.to_thread(handler, event, LAMBDA_CONTEXT)
    if not await asyncio.to_thread(meter.ended.wait, PATIENCE_S * 4):
        raise RuntimeError("the answer did not end")
    # The job is acknowledged after the last frame.
    await asyncio.sleep(1)
    meter.step = IDLE
    found = meter.ask.scan(TableName=os.environ["CHATS_TABLE"])
    return found["Items"][0]["chat_id"]["S"]


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


def _worker(settings: Mapping[str, str], engine: PacedEngine) -> Worker:
    """Put together as gpu_service.worker.__main__ does, but for the engine."""
    client = sqs_client(POLLS)
    tables = {name: settings[f"{name.upper()}_TABLE"] for name in KEYS}
    parts = WorkerParts(
        stores=dynamo_stores(open_tables(TableNames(**tables))),
        lanes=SqsLanes(client, settings["LANE_BASE_URL"]),
        inboxes=SqsInboxes(client, settings["INBOX_BASE_URL"]),
        posts=MeteredPosts(engine.meter),
        engine=engine,
        count_tokens=estimate_tokens,
        calls=Threads(POLLS, "aws"),
        polls=Threads(POLLS, "poll"),
        logger=Logger(service="worker", level="ERROR"),
        now_ms=now_ms,
    )
    limits = WorkerLimits(
        slots=2, drain_s=1, first_token_timeout_s=PATIENCE_S, next_token_timeout_s=PATIENCE_S
    )
    return Worker("bench", parts, limits)


def _report(console: Console, bills: Mapping[int, Bill], idle_polls_per_minute: float) -> None:
    figures: dict[str, Figure] = {"idle_sqs_polls_per_minute": round(idle_polls_per_minute, 1)}
    goals: dict[str, Goal] = {}
    for output_tokens, bill in bills.items():
        totals: dict[str, float] = {
            "aws_calls": sum(bill.calls.values()),
            "dynamodb_calls": bill.of_service("DynamoDB"),
            "dynamodb_read_units": sum(bill.read_units.values()),
            "dynamodb_write_units": sum(bill.write_units.values()),
            "sqs_requests": bill.of_service("SQS"),
            "frames_posted": sum(bill.frame_types.values()),
            "lambda_invocations": 1,
        }
        figures[f"tokens_{output_tokens}"] = {
            **totals,
            "calls": {
                step: {name: count for (at, name), count in bill.calls.items() if at == step}
                for step in STEPS
            },
            "read_units": {step: bill.read_units[step] for step in STEPS},
            "write_units": {step: bill.write_units[step] for step in STEPS},
            "frames": dict(bill.frame_types),
        }
        goals |= {f"{name}_at_{output_tokens}": reported(total) for name, total in totals.items()}
        console.print(_table(output_tokens, bill))
    goals["idle_sqs_polls_per_minute"] = reported(idle_polls_per_minute)
    console.print(
        "A message in a chat that exists, by one viewer. Not in it: the connection's own ticket "
        "(one HTTP request, one Lambda, one write) and authorizer (one Lambda, one delete), and the "
        f"worker's empty long polls, {idle_polls_per_minute:.0f} a minute whether it works or not. "
        "Units are computed from the items' sizes by DynamoDB's rules (bench/dynamo_units.py).",
        highlight=False,
    )
    finish(console, "cost", figures, goals)


def _table(output_tokens: int, bill: Bill) -> Table:
    table = Table("call", *STEPS, "all", title=f"Answer of {output_tokens} tokens")
    for call in sorted({name for _, name in bill.calls}):
        counts = [bill.calls[step, call] for step in STEPS]
        table.add_row(call, *(str(count or "") for count in counts), str(bill.of_call(call)))
    table.add_section()
    for name, units in (("read units", bill.read_units), ("write units", bill.write_units)):
        counts = [units[step] for step in STEPS]
        table.add_row(f"DynamoDB {name}", *(str(count or "") for count in counts), str(sum(counts)))
    return table


if __name__ == "__main__":
    sys.exit(main())
