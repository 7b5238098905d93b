"""The cloud as the integration and browser tests see it: endpoints, tables, workers.

Owns the local one's ports and the way to it, and to a deployed stack, of which nothing but its outputs is
known. Locally AWS calls go through localstack-client, so that any emulator on the port serves. It must
not know what is tested.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from localstack_client.session import Session
from rich.console import Console

from local import ministack
from local.deployment import LocalUrls
from local.endpoints import Endpoints
from local.ports import Ports
from local.processes import Service
from local.progress import Progress
from local.stack import ROOT, STEPS, LocalStack
from tests.deployed import Deployed

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBServiceResource
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

T = TypeVar("T")
Row = dict[str, Any]

PORTS = Ports(
    ministack=14566, triton_http=18000, triton_grpc=18001, triton_metrics=18002, web=18400
)
SLOTS = 4
"""Of each worker: two workers are full with the eight runs that one pro user may have."""

WORKERS = 2
STATES_WAIT_SCALE = "0.002"
"""How long state machines wait, of what they are told to: three hours are some twenty seconds."""

DEADLINE_S = 30.0
_LOOK_EVERY_S = 0.05


def eventually(probe: Callable[[], T | None], what: str, deadline_s: float = DEADLINE_S) -> T:
    """What the probe finds as soon as it is neither None nor False."""
    ends_s = time.monotonic() + deadline_s
    while True:
        found = probe()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < ends_s, f"not within {deadline_s} s: {what}"
        time.sleep(_LOOK_EVERY_S)


@dataclass(frozen=True)
class RunningWorker:
    """A GPU worker's process, and the id that it gave itself."""

    service: Service
    worker_id: str

    def log_lines(self) -> list[Row]:
        return _json_lines(self.service.log.read_text())


@dataclass
class Cloud:
    """A stack with its clients. `aws` makes clients as a boto3 session does."""

    endpoints: Endpoints
    outputs: Mapping[str, str]
    callback_url: str
    aws: Any
    local: LocalStack | None = None
    workers: list[RunningWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cognito: CognitoIdentityProviderClient = self.aws.client("cognito-idp")
        self.sqs: SQSClient = self.aws.client("sqs")
        self.states: SFNClient = self.aws.client("stepfunctions")
        self.logs: CloudWatchLogsClient = self.aws.client("logs")
        self._dynamodb: DynamoDBServiceResource = self.aws.resource("dynamodb")

    @classmethod
    def of_processes(cls, stack: LocalStack, ports: Ports = PORTS) -> Cloud:
        """The local cloud, started and ended by these tests."""
        return cls(
            endpoints=stack.endpoints,
            outputs=stack.outputs,
            callback_url=LocalUrls.from_outputs(stack.outputs, ports.aws_endpoint_url).callback_url,
            aws=Session(localstack_host=f"localhost:{ports.ministack}"),
            local=stack,
        )

    @classmethod
    def of_outputs(cls, deployed: Deployed) -> Cloud:
        """A stack that somebody else runs, with the credentials of this shell."""
        return cls(
            endpoints=deployed.endpoints,
            outputs=deployed.outputs,
            callback_url=deployed.callback_url,
            aws=boto3.Session(region_name=deployed.endpoints.region),
        )

    @property
    def stack(self) -> LocalStack:
        """The local cloud's processes."""
        assert self.local is not None, (
            "This test needs processes of the local cloud: give it the mark `local`."
        )
        return self.local

    def add_worker(self, source: Path = ROOT, **settings: str) -> RunningWorker:
        """source: of the release that the worker is of."""
        service = self.stack.start_worker(source, **settings)
        ready = next(
            line
            for line in _json_lines(service.log.read_text())
            if line.get("message") == "worker.ready"
        )
        worker = RunningWorker(service, ready["worker_id"])
        self.workers.append(worker)
        return worker

    def kill_worker(self, worker: RunningWorker) -> None:
        """As a crash would: SIGKILL."""
        self.workers.remove(worker)
        worker.service.kill()

    def stop_worker(self, worker: RunningWorker) -> None:
        """As a scale-in would: SIGTERM, and wait for its end."""
        self.workers.remove(worker)
        worker.service.stop()

    def worker_of(self, run_id: str) -> RunningWorker:
        """Who holds the run now."""
        worker_id = self.run(run_id)["worker_id"]
        return next(worker for worker in self.workers if worker.worker_id == worker_id)

    def rows(self, table: str) -> list[Row]:
        """All items of a table, named as in the code: `runs`, `messages`."""
        found: list[Row] = []
        start: dict[str, Any] = {}
        while True:
            page = self.table(table).scan(ConsistentRead=True, **start)
            found += [_plain(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def run(self, run_id: str) -> Row:
        item = self.table("runs").get_item(Key={"run_id": run_id}, ConsistentRead=True)
        found: Row = _plain(item["Item"])
        return found

    def table(self, name: str) -> Any:
        return self._dynamodb.Table(self.outputs[f"{name.capitalize()}Table"])

    def close_connection(self, connection_id: str) -> None:
        """End a client's WebSocket from the server's side."""
        # localstack-client knows one endpoint for all; this API's is the stage's own.
        session = ministack.session() if self.local else self.aws
        management = session.client("apigatewaymanagementapi", endpoint_url=self.callback_url)
        management.delete_connection(ConnectionId=connection_id)

    def lambda_log(self, function: str) -> list[str]:
        """The messages in a function's log group, oldest first."""
        group = f"/aws/lambda/{self.endpoints.stack_name}/{function}"
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        return [event["message"] for page in pages for event in page["events"]]


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    """A fresh cloud for the length of the block."""
    stack = LocalStack(
        "test",
        PORTS,
        Progress(Console(stderr=True), STEPS),
        # Started below, so that it is known which process has which id.
        workers=0,
        fresh=True,
        worker_settings={"SLOTS": str(SLOTS), "DRAIN_S": "1"},
        engine_settings={"DEMO_SLOTS": str(2 * SLOTS * WORKERS)},
        aws_settings={"SFN_WAIT_SCALE": STATES_WAIT_SCALE},
    )
    with stack:
        cloud = Cloud.of_processes(stack)
        for _ in range(WORKERS):
            cloud.add_worker()
        yield cloud


def _json_lines(text: str) -> list[Row]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _plain(value: Any) -> Any:
    """DynamoDB's numbers are Decimals."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
