"""Hears of every AWS call that this process makes, by botocore's hooks, and says whose bill it is on.

A call belongs to a run if the run's id, its user, its chat or a handle of its job is in it; else it is the
worker's own: standing polls, beats, calendars, backlogs. Which step of the run it belongs to follows from
what was called before. Owns that sorting, and the posts' far end, which it plays.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bench.bill import POST, Bill
from bench.dynamo_units import Item, index_write_units, item_bytes, read_units, write_units
from chatcore.adapters import aws

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

POST_S = 0.01
"""How long a post takes here; what comes meanwhile goes into one frame. It matters little: the floor
between frames is longer from the first few on."""

RUN_STEPS = ("submit", "claim", "dispatch", "stream", "settle", "twin")
"""submit: in the Lambda; claim: from the queue to the engine; dispatch: the account and the user's next run;
stream: while it answers; settle: after; twin: the job's second copy in the returns, found held or over."""

STANDING_STEPS = ("polls", "survey")
"""A worker's own, whatever it has to do. polls: those that bring nothing."""

KEYS = {
    "chats": ("user_id", "chat_id"),
    "messages": ("chat_id", "seq"),
    "summaries": ("chat_id", "summary_id"),
    "runs": ("run_id",),
    "checkpoints": ("run_id", "part"),
    "ledgers": ("user_id",),
    "usage": ("user_id", "day"),
    "calendars": ("tier",),
    "workers": ("worker_id",),
}

RUN_KEYS = ("run_id", "user_id", "chat_id")


@dataclass
class Billed:
    """A run, for which the calls go onto this bill; how far it has come."""

    bill: Bill
    delivered: bool = False
    has_twin: bool = False
    claimed: bool = False
    settled: bool = False


@dataclass(frozen=True)
class Sender:
    """Whose send the Lambda is working on, and on which connection."""

    bill: Bill
    connection_id: str


SENDER: ContextVar[Sender | None] = ContextVar("sender", default=None)
"""Set around a call of the handler, whose thread takes it along."""


@dataclass
class Heard:
    """One call: named by service, operation and, after a space, table or kind of queue."""

    name: str
    step: str
    bill: Bill


@dataclass
class Meter:
    """ask: of a session of its own, which is not heard. standing: what belongs to no run; background: what
    chats' titles take; metrics: the series that the log lines are to become in CloudWatch."""

    ask: DynamoDBClient
    standing: Bill = field(default_factory=Bill)
    background: Bill = field(default_factory=Bill)
    metrics: set[tuple[str, ...]] = field(default_factory=set)
    _awaited: dict[str, asyncio.Future[str]] = field(default_factory=dict)
    _known: dict[str, Billed] = field(default_factory=dict)
    _twins: set[str] = field(default_factory=set)
    _titles: set[str] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _items: dict[tuple[str, str], Item | None] = field(default_factory=dict)

    def attach(self) -> None:
        """Before any client is made: clients take their hooks from the session."""
        shared = aws.session()
        shared.register("before-parameter-build.*.*", self._before)
        shared.register("after-call.*.*", self._after)
        shared.register("before-call.apigatewaymanagementapi.*", self._post)

    def stand(self) -> Bill:
        """A new bill for what belongs to no run; the one until now."""
        with self._lock:
            former, self.standing = self.standing, Bill()
            return former

    def last_frame(self, connection_id: str) -> asyncio.Future[str]:
        """Its type, once it is posted there: `run.completed` or `error`."""
        self._awaited[connection_id] = asyncio.get_running_loop().create_future()
        return self._awaited[connection_id]

    def note_post(self, connection_id: str, body: bytes | str, step: str | None = None) -> None:
        frame = json.loads(body)
        with self._lock:
            run = self._known.get(frame.get("run_id", "")) or self._known.get(connection_id)
            sender = SENDER.get()
            bill = run.bill if run else sender.bill if sender else self.standing
            if step is None:
                step = "settle" if run is not None and run.settled else "stream"
                bill.calls[step, POST] += 1
            bill.frame_types[frame["type"]] += 1
            bill.frame_bytes += len(body)
        if frame["type"] in ("run.completed", "error"):
            awaited = self._awaited.pop(connection_id)
            awaited.get_loop().call_soon_threadsafe(awaited.set_result, frame["type"])

    def note_line(self, line: str, said_by: str) -> None:
        """A line of the log goes onto the bill of the run that it names; in the Lambda, of the sender."""
        told = json.loads(line)
        with self._lock:
            sender = SENDER.get()
            run = self._known.get(told.get("run_id", ""))
            bill = sender.bill if sender else run.bill if run else self.standing
            bill.log_bytes[said_by] += len(line.encode())
            bill.log_lines[said_by] += 1
            self.metrics.update(_series(told))

    def _before(self, **heard: Any) -> None:  # noqa: ANN401 - botocore's
        begun_s = time.thread_time()
        params, model = heard["params"], heard["model"]
        service, operation = str(model.service_model.service_id), str(model.name)
        heard["context"]["bench_params"] = params
        # When it was begun, not when it ended: a checkpoint may end after the stream.
        heard["context"]["bench_heard"] = self.sort(service, operation, params)
        _not_the_handlers(begun_s)

    def _after(self, **heard: Any) -> None:  # noqa: ANN401 - botocore's
        begun_s = time.thread_time()
        parsed, context = heard["parsed"], heard["context"]
        self.count(context["bench_heard"], context["bench_params"], parsed)
        _not_the_handlers(begun_s)

    def sort(self, service: str, operation: str, params: Mapping[str, Any]) -> Heard:
        name = f"{service}.{operation}{_target(params)}"
        with self._lock:
            sender = SENDER.get()
            if sender is not None:
                if operation == "TransactGetItems":
                    self._meet(sender, params)
                return Heard(name, "submit", sender.bill)
            if self._is_of_a_title(name, params):
                return Heard(name, "background", self.background)
            run = self._run_in(params)
            if run is None:
                return Heard(name, "survey", self.standing)
            return Heard(name, self._step(name, run, params), run.bill)

    def count(self, heard: Heard, params: Mapping[str, Any], parsed: Mapping[str, Any]) -> None:
        service, _, rest = heard.name.partition(".")
        operation = rest.partition(" ")[0]
        with self._lock:
            if operation == "ReceiveMessage":
                self._receive(heard, parsed.get("Messages", []))
            heard.bill.calls[heard.step, heard.name] += 1
        if service == "DynamoDB":
            read, written = self._units(operation, params, parsed)
            with self._lock:
                heard.bill.read_units[heard.step] += read
                heard.bill.write_units[heard.step] += written.total()
                heard.bill.table_write_units.update(written)

    def _meet(self, sender: Sender, params: Mapping[str, Any]) -> None:
        """A send's first look names all that its run will be known by."""
        run = Billed(sender.bill)
        self._known[sender.connection_id] = run
        for entry in params["TransactItems"]:
            key = entry["Get"]["Key"]
            self._known.update({key[name]["S"]: run for name in RUN_KEYS if name in key})

    def _run_in(self, params: Mapping[str, Any]) -> Billed | None:
        found = (self._known.get(text) for text in _strings(params))
        return next((run for run in found if run is not None), None)

    def _is_of_a_title(self, name: str, params: Mapping[str, Any]) -> bool:
        """By its run's id or its job's handle, or as nobody else here does that to a chat."""
        texts = set(_strings(params))
        return (
            name == "SQS.SendMessage background"
            or name == "DynamoDB.UpdateItem chats"
            or (name == "DynamoDB.Query messages" and "Limit" not in params)
            or bool(texts & self._titles)
            or any(text.startswith("b_") for text in texts)
        )

    def _step(self, name: str, run: Billed, params: Mapping[str, Any]) -> str:
        if self._twins.intersection(_strings(params)):
            return "twin"
        match name:
            case "DynamoDB.UpdateItem runs" if "inbox" in _names(params):
                first, run.claimed = not run.claimed, True
                return "claim" if first else "twin"
            case "DynamoDB.Query messages":
                # Of a run that was offered there may be none but its twin's.
                return "twin" if run.has_twin or run.settled else "claim"
            case "DynamoDB.GetItem ledgers":
                return _beside_the_run(run)
            # The account as a whole; a charge changes a single number of it.
            case "DynamoDB.UpdateItem ledgers" if "waiting" in _names(params):
                return _beside_the_run(run)
            case "DynamoDB.GetItem runs":
                # By a claim that found it not queued, or for the next of its user.
                return "twin" if run.claimed else "dispatch"
            case "DynamoDB.TransactWriteItems":
                run.settled = True
        if run.settled:
            return "settle"
        return "stream" if run.claimed else "claim"

    def _receive(self, heard: Heard, messages: list[dict[str, Any]]) -> None:
        """Puts the call onto the bill of what it brought."""
        if messages and heard.name.endswith(" background"):
            self._titles.update(each["ReceiptHandle"] for each in messages)
            heard.bill, heard.step = self.background, "background"
            return
        runs = [(self._run_in(json.loads(each["Body"])), each) for each in messages]
        for run, message in runs:
            if run is None:
                continue
            self._known[message["ReceiptHandle"]] = run
            heard.bill, heard.step = run.bill, "claim"
            if run.delivered and heard.name.endswith(" returns"):
                heard.step = "twin"
                run.has_twin = True
                self._twins.add(message["ReceiptHandle"])
            run.delivered = True
        if not messages:
            heard.step = "polls"

    def _post(self, **heard: Any) -> Any:  # noqa: ANN401 - botocore's
        """Answers in the place of the far end; botocore then sends nothing."""
        time.sleep(POST_S)
        sender = SENDER.get()
        assert sender is not None
        self.note_post(sender.connection_id, heard["params"]["body"], "submit")
        return SimpleNamespace(status_code=HTTPStatus.OK), {}

    def _units(
        self, operation: str, params: Mapping[str, Any], parsed: Mapping[str, Any]
    ) -> tuple[float, Counter[str]]:
        """Read units of a call, and write units by table."""
        consistent = bool(params.get("ConsistentRead"))
        none: Counter[str] = Counter()
        match operation:
            case "GetItem":
                return read_units(item_bytes(parsed.get("Item")), consistent=consistent), none
            case "Query" | "Scan":
                found = sum(item_bytes(item) for item in parsed.get("Items", ()))
                return read_units(found, consistent=consistent), none
            case "TransactGetItems":
                items = [answer.get("Item") for answer in parsed.get("Responses", ())]
                return sum(read_units(item_bytes(each), transaction=True) for each in items), none
            case "PutItem" | "UpdateItem" | "DeleteItem":
                return 0, self._written([params], transaction=False)
            case "BatchWriteItem":
                puts = [
                    {"TableName": table, "Item": request["PutRequest"]["Item"]}
                    for table, requests in params["RequestItems"].items()
                    for request in requests
                ]
                return 0, self._written(puts, transaction=False)
            case "TransactWriteItems":
                writes = [write for entry in params["TransactItems"] for write in entry.values()]
                return 0, self._written(writes, transaction=True)
        raise ValueError(f"no rule for DynamoDB's {operation}")

    def _written(self, writes: Iterable[Mapping[str, Any]], *, transaction: bool) -> Counter[str]:
        """The units of writes by table, by what each item was and what it has become."""
        units: Counter[str] = Counter()
        for write in writes:
            table = str(write["TableName"])
            name = table.rpartition("-")[2]
            source = write.get("Key") or write["Item"]
            key = {each: source[each] for each in KEYS[name]}
            place = (table, json.dumps(key, sort_keys=True))
            found = self.ask.get_item(TableName=table, Key=key, ConsistentRead=True)
            after: Item | None = found.get("Item")
            with self._lock:
                before, self._items[place] = self._items.get(place), after
            units[name] += write_units(before, after, transaction=transaction)
            if name == "chats":
                units[name] += index_write_units(
                    before, after, "last_active_ms", transaction=transaction
                )
        return units


def _not_the_handlers(begun_s: float) -> None:
    """CPU time of this thread since then went into counting."""
    sender = SENDER.get()
    if sender is not None:
        sender.bill.handler_cpu_s -= time.thread_time() - begun_s


def _series(told: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Each metric with the values of its dimensions, by CloudWatch's embedded metric format."""
    for directive in told.get("_aws", {}).get("CloudWatchMetrics", ()):
        for dimensions in directive["Dimensions"]:
            for metric in directive["Metrics"]:
                yield (metric["Name"], *(str(told[name]) for name in dimensions))


def _target(params: Mapping[str, Any]) -> str:
    """What the call is made to, behind a space; nothing where it is made to several."""
    if "TableName" in params:
        return " " + str(params["TableName"]).rpartition("-")[2]
    if "QueueUrl" not in params:
        return ""
    queue = str(params["QueueUrl"])
    if queue.endswith("-background-returns"):
        return " background"
    return " inbox" if "-inbox-" in queue else " returns" if queue.endswith("-returns") else " lane"


def _strings(value: object) -> Iterator[str]:
    """All texts in a call, however deep, but the names of maps."""
    match value:
        case str():
            yield value
        case Mapping():
            for each in value.values():
                yield from _strings(each)
        case list() | tuple() | set():
            for each in value:
                yield from _strings(each)


def _beside_the_run(run: Billed) -> str:
    if run.settled:
        return "twin"
    return "dispatch" if run.claimed else "claim"


def _names(params: Mapping[str, Any]) -> set[str]:
    """The attributes that an update writes or looks at."""
    return set(params.get("ExpressionAttributeNames", {}).values())
