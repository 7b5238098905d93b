"""What the operator's view reads in AWS, of a stack on MiniStack that has just what it looks at."""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from rich.console import Console

from chatcore.domain.calendar import LANES, RING
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.tier_document import tiers_document
from chatcore.domain.tiers import DEFAULTS, Tier
from local import ministack
from local.endpoints import Endpoints
from local.watch import screen
from local.watch.aws import Aws
from tests.unit.watch.said import text

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_sqs import SQSClient

DEADLINE_S = 20.0


def eventually(probe: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not probe():
        assert time.monotonic() < ends_s
        time.sleep(0.05)


@dataclass(frozen=True)
class Stage:
    """base: what the names begin with; group: of ws_message's log."""

    endpoints: Endpoints
    base: str
    session: boto3.Session
    group: str

    @property
    def sqs(self) -> SQSClient:
        return self.session.client("sqs", endpoint_url=self.endpoints.aws_endpoint_url)

    @property
    def logs(self) -> CloudWatchLogsClient:
        return self.session.client("logs", endpoint_url=self.endpoints.aws_endpoint_url)

    def url(self, queue: str) -> str:
        return self.sqs.get_queue_url(QueueName=f"{self.base}-{queue}")["QueueUrl"]

    def put_lines(self, *lines: str) -> None:
        at_ms = time.time_ns() // 1_000_000
        self.logs.put_log_events(
            logGroupName=self.group,
            logStreamName="one",
            logEvents=[{"timestamp": at_ms, "message": line} for line in lines],
        )


@pytest.fixture
def stage(ministack_environment: dict[str, str]) -> Stage:
    url, session = ministack_environment["AWS_ENDPOINT_URL"], ministack.session()
    base = f"watch-{uuid.uuid4().hex[:8]}"
    resources: dict[str, object] = {
        "Calendars": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": f"{base}-calendars",
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "tier", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "tier", "KeyType": "HASH"}],
            },
        },
        "Tiers": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {
                "Name": f"/{base}/tiers",
                "Type": "String",
                "Value": tiers_document(DEFAULTS),
            },
        },
    }
    names = [*(f"lane-{lane}" for lane in LANES), "dead"]
    for number, name in enumerate(names):
        resources[f"Queue{number}"] = {
            "Type": "AWS::SQS::Queue",
            "Properties": {"QueueName": f"{base}-{name}"},
        }
    queues = "http://sqs.us-east-1.amazonaws.com/000000000000"
    outputs = {
        "LaneBaseUrl": f"{queues}/{base}-lane",
        "DeadLetterQueueUrl": f"{queues}/{base}-dead",
        "CalendarsTable": f"{base}-calendars",
        "TiersParameter": f"/{base}/tiers",
    }
    template = {
        "Resources": resources,
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    formation = session.client("cloudformation", endpoint_url=url)
    formation.create_stack(StackName=base, TemplateBody=json.dumps(template))
    formation.get_waiter("stack_create_complete").wait(
        StackName=base, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    group = f"/aws/lambda/{base}/ws_message"
    logs = session.client("logs", endpoint_url=url)
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    endpoints = Endpoints("", "", "", url, ministack.REGION, "", (), base, "", "")
    return Stage(endpoints, base, session, group)


def test_queues_fronts_and_dead_letters_are_counted(stage: Stage) -> None:
    for queue, count in (("lane-free-3", 2), ("dead", 1)):
        for _ in range(count):
            stage.sqs.send_message(QueueUrl=stage.url(queue), MessageBody="{}")
    returns = stage.url("lane-pro-returns")
    stage.sqs.send_message(QueueUrl=returns, MessageBody="{}", DelaySeconds=60)
    stage.sqs.send_message(QueueUrl=returns, MessageBody="{}")
    stage.sqs.receive_message(QueueUrl=returns)
    dynamodb = stage.session.client("dynamodb", endpoint_url=stage.endpoints.aws_endpoint_url)
    dynamodb.put_item(
        TableName=f"{stage.base}-calendars",
        Item={"tier": {"S": "free"}, "front": {"N": str(RING + 2)}},
    )
    aws = Aws(stage.endpoints)
    aws.look()
    queues = aws.queues
    assert queues is not None
    assert queues.waiting(Tier.FREE) == queues.depths[Lane(Tier.FREE, 3)].visible == 2
    depth = queues.depths[Lane(Tier.PRO, RETURNS)]
    assert (depth.visible, depth.in_flight, depth.delayed) == (0, 1, 1)
    assert queues.dead_letters == 1
    assert [queues.front_index(tier) for tier in (Tier.FREE, Tier.PRO)] == [2, 0]
    assert queues.front_index(Tier.BACKGROUND) == RETURNS


def test_lines_of_functions_are_read_once_in_the_background(stage: Stage) -> None:
    stage.put_lines("START RequestId: 1", text("run.submitted", tier="free", sends=1))
    found: list[str] = []
    with Aws(stage.endpoints) as aws:

        def names() -> list[str]:
            found.extend(line.name for line in aws.lines())
            return found

        eventually(lambda: names() == ["run.submitted"])
        # Those of before are read again with these, and not told again.
        stage.put_lines(text("action.refused", tier="free"), text("action.busy", tier="free"))
        eventually(lambda: names() == ["run.submitted", "action.refused", "action.busy"])
        assert aws.trouble == ""


def test_a_change_of_the_tiers_is_seen_and_a_bad_document_changes_nothing(stage: Stage) -> None:
    ssm = stage.session.client("ssm", endpoint_url=stage.endpoints.aws_endpoint_url)
    aws = Aws(stage.endpoints)
    document = tiers_document(DEFAULTS).replace('"paused": false', '"paused": true')
    for value in (document, "no document"):
        ssm.put_parameter(Name=f"/{stage.base}/tiers", Value=value, Overwrite=True)
        aws.look()
        assert aws.tiers[Tier.FREE].paused


def test_what_fails_is_told_for_as_long_as_it_does_and_ends_nothing(stage: Stage) -> None:
    stage.sqs.delete_queue(QueueUrl=stage.url("lane-free-3"))
    stage.put_lines(text("run.submitted", tier="free", sends=1))
    with Aws(stage.endpoints) as aws:
        eventually(lambda: aws.trouble != "")
        assert aws.trouble == "queues: QueueDoesNotExist"
        assert aws.queues is None
        eventually(lambda: any(line.name == "run.submitted" for line in aws.lines()))
        assert aws.trouble != ""
        stage.sqs.create_queue(QueueName=f"{stage.base}-lane-free-3")
        eventually(lambda: aws.trouble == "")
        assert aws.queues is not None


def test_one_picture_of_logs_and_queues(stage: Stage, tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    told = {"service": "worker", "worker_id": "vm-1"}
    (tmp_path / "worker-7.log").write_text(text("worker.ready", now_ms, slots=5, **told) + "\n")
    stage.sqs.send_message(QueueUrl=stage.url("lane-free-3"), MessageBody="{}")
    console = Console(file=io.StringIO(), record=True, width=150)
    screen.once(replace(stage.endpoints, logs=str(tmp_path)), console)
    picture = console.export_text()
    assert "1 worker, 0 of 5 slots busy, 1 waiting, 0 dead letters" in picture
    assert "worker-7  ready" in picture


def test_a_picture_in_a_file_loads_nothing_from_elsewhere(stage: Stage, tmp_path: Path) -> None:
    screen.save(stage.endpoints, tmp_path / "watch.svg")
    svg = (tmp_path / "watch.svg").read_text(encoding="utf-8")
    assert "Lanes" in svg
    assert svg.replace('xmlns="http://www.w3.org/2000/svg"', "").count("://") == 0


def test_where_nothing_answers_that_is_said(stage: Stage) -> None:
    gone = replace(stage.endpoints, aws_endpoint_url="http://localhost:1")
    with pytest.raises(screen.NothingThere, match="make run"):
        screen.once(gone, Console(file=io.StringIO()))


class _Terminal(io.StringIO):
    """What is watched ends as soon as a picture of it was drawn."""

    def __init__(self, endpoints_file: Path) -> None:
        super().__init__()
        self._endpoints_file = endpoints_file

    def write(self, text: str) -> int:
        if "Tiers" in text:
            self._endpoints_file.unlink(missing_ok=True)
        return super().write(text)


def test_the_live_picture_ends_with_what_runs(stage: Stage, tmp_path: Path) -> None:
    endpoints_file = tmp_path / "endpoints.json"
    stage.endpoints.write(endpoints_file)
    terminal = _Terminal(endpoints_file)
    console = Console(file=terminal, force_terminal=True, width=120, height=40)
    screen.live(stage.endpoints, endpoints_file, console)
    assert terminal.getvalue().endswith("What ran has ended.\n")
