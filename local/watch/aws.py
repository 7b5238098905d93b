"""Owns the reading of what lies in AWS: the functions' log lines, the queues' counts, the fronts, and the
tiers' settings. In a thread of its own, so that a slow answer never holds the picture up.

    every 1 s    new lines of the functions
    every 2 s    counts of all lanes, fronts
    every 10 s   the tiers' settings

What fails is shown as trouble and tried again: the picture then is older, and says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.domain.calendar import LANES
from chatcore.domain.errors import InvalidTiers
from chatcore.domain.tier_document import parse_tiers
from chatcore.domain.tiers import DEFAULTS, Tier, Tiers
from local.endpoints import Endpoints
from local.ministack import session
from local.watch.line import Line, read
from local.watch.queues import Depth, Queues

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

FUNCTIONS = ("http_api", "ws_authorizer", "ws_message", "compact_chat", "purge_chat")

_LINES_EVERY_S = 1.0
_COUNTS_EVERY_S = 2.0
_TIERS_EVERY_S = 10.0
_OVERLAP_MS = 5_000
"""A line may be there a little after its moment: so much is read again, and what is known passed over."""

_FIRST_MS = 60_000
"""Of what was said before: sums are of the last minute."""

_COUNTS: tuple[QueueAttributeNameType, ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class FunctionLogs:
    """The lines of a function's log group that are new."""

    client: CloudWatchLogsClient
    group: str
    source: str
    since_ms: int
    _known: dict[tuple[str, int, str], int] = field(default_factory=dict)

    def lines(self) -> Iterator[Line]:
        """Raises ClientError, BotoCoreError. None where the function has not run yet."""
        pages = self.client.get_paginator("filter_log_events").paginate(
            logGroupName=self.group, startTime=self.since_ms
        )
        try:
            for page in pages:
                for event in page["events"]:
                    # The emulator's events have no ids.
                    at_ms, message = event["timestamp"], event["message"]
                    key = (event.get("logStreamName", ""), at_ms, message)
                    if key in self._known:
                        continue
                    self._known[key] = at_ms
                    self.since_ms = max(self.since_ms, at_ms - _OVERLAP_MS)
                    line = read(message, self.source)
                    if line is not None:
                        yield line
        except self.client.exceptions.ResourceNotFoundException:
            return
        self._known = {key: ms for key, ms in self._known.items() if ms >= self.since_ms}


class Aws:
    """`with`: reads in the background inside it. queues: None until they were first counted; tiers: as
    they stand; trouble: what went wrong at the last look, empty when nothing did."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.queues: Queues | None = None
        self.tiers: Tiers = DEFAULTS
        self.trouble = ""
        self._lines: SimpleQueue[Line] = SimpleQueue()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="watch-aws", daemon=True)
        config = Config(
            connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 1, "mode": "standard"}
        )
        made = session()
        url = endpoints.aws_endpoint_url
        formation = made.client("cloudformation", endpoint_url=url, config=config)
        logs = made.client("logs", endpoint_url=url, config=config)
        self._sqs = made.client("sqs", endpoint_url=url, config=config)
        self._dynamodb = made.client("dynamodb", endpoint_url=url, config=config)
        self._ssm = made.client("ssm", endpoint_url=url, config=config)
        (stack,) = formation.describe_stacks(StackName=endpoints.stack_name)["Stacks"]
        self._outputs = {
            output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])
        }
        since_ms = _now_ms() - _FIRST_MS
        self._functions = [
            FunctionLogs(logs, f"/aws/lambda/{endpoints.stack_name}/{name}", name, since_ms)
            for name in FUNCTIONS
        ]

    def __enter__(self) -> Aws:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def lines(self) -> Iterator[Line]:
        """What has come since the last call."""
        while True:
            try:
                yield self._lines.get_nowait()
            except Empty:
                return

    def look(self) -> None:
        """At everything, once. Raises ClientError, BotoCoreError."""
        self._look_at_the_tiers()
        self._count()
        self._look_at_the_lines()

    def _read(self) -> None:
        looks = (
            ("settings", _TIERS_EVERY_S, self._look_at_the_tiers),
            ("queues", _COUNTS_EVERY_S, self._count),
            ("logs", _LINES_EVERY_S, self._look_at_the_lines),
        )
        due_s = [0.0 for _ in looks]
        troubles = ["" for _ in looks]
        while not self._over.is_set():
            for number, (what, every_s, look) in enumerate(looks):
                if time.monotonic() < due_s[number]:
                    continue
                try:
                    look()
                    troubles[number] = ""
                except (ClientError, BotoCoreError) as error:
                    troubles[number] = f"{what}: {type(error).__name__}"
                due_s[number] = time.monotonic() + every_s
                self.trouble = ", ".join(filter(None, troubles))
            self._over.wait(max(0.0, min(due_s) - time.monotonic()))

    def _look_at_the_lines(self) -> None:
        for function in self._functions:
            for line in function.lines():
                self._lines.put(line)

    def _count(self) -> None:
        base = self._outputs["LaneBaseUrl"]
        at_ms = _now_ms()
        depths = {lane: self._depth(f"{base}-{lane}") for lane in LANES}
        fronts = {
            Tier(item["tier"]["S"]): int(item.get("front", {}).get("N", "0"))
            for item in self._dynamodb.scan(TableName=self._outputs["CalendarsTable"])["Items"]
        }
        dead = self._depth(self._outputs["DeadLetterQueueUrl"])
        self.queues = Queues(at_ms, depths, fronts, dead.visible)

    def _depth(self, url: str) -> Depth:
        told = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
        return Depth(*(int(told.get(name, "0")) for name in _COUNTS))

    def _look_at_the_tiers(self) -> None:
        found = self._ssm.get_parameter(Name=self._outputs["TiersParameter"])
        try:
            self.tiers = parse_tiers(found["Parameter"]["Value"])
        except InvalidTiers:
            # The workers' lines say what is wrong with it, and they keep to the last good one.
            return
