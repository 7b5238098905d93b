"""The sides that the contract suite runs on: memory, DynamoDB and SQS by moto, and by MiniStack.

moto checks and writes without a lock, so races are run on memory and MiniStack only.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import TableNames, open_tables
from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.queues import MemoryInboxes, MemoryLanes
from chatcore.adapters.memory.stores import memory_stores
from chatcore.adapters.sqs import SqsInboxes, SqsLanes, sqs_client
from chatcore.domain.calendar import LANES
from chatcore.ports import Inboxes, Lanes, Stores
from deploy.template import of_type
from local import ministack
from tests.contract.clock import TestClock

MINISTACK_PORT = 14666
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def ministack_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    home = tmp_path_factory.mktemp("ministack")
    service = ministack.service(
        ROOT / ".local" / "venvs" / "ministack",
        home,
        MINISTACK_PORT,
        home / "ministack.log",
        settings={"SFN_WAIT_SCALE": "0.001"},
    )
    service.start()
    try:
        yield ministack.aws_environment(f"http://localhost:{MINISTACK_PORT}")
    finally:
        service.stop()


@pytest.fixture
def moto_environment() -> Iterator[dict[str, str]]:
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with mock_aws():
        yield environment


@pytest.fixture(params=["memory", "moto", "ministack"])
def side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The side's name, with the environment set for its clients."""
    return _enter(request, monkeypatch)


@pytest.fixture(params=["memory", "ministack"])
def racing_side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return _enter(request, monkeypatch)


def _enter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = str(request.param)
    if name != "memory":
        for key, value in request.getfixturevalue(f"{name}_environment").items():
            monkeypatch.setenv(key, value)
    return name


def open_stores(side: str) -> Stores:
    """Stores of their own, empty."""
    if side == "memory":
        return memory_stores(MemoryDatabase())
    return dynamo_stores(open_tables(make_tables(), max_connections=40))


def make_tables() -> TableNames:
    """As the template has them."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    client = boto3.client("dynamodb")
    names = {}
    for logical_id, table in of_type("AWS::DynamoDB::Table").items():
        properties = table["Properties"]
        name = logical_id.removesuffix("Table").lower()
        names[name] = f"{prefix}-{name}"
        indexes = properties.get("LocalSecondaryIndexes")
        client.create_table(
            TableName=names[name],
            KeySchema=properties["KeySchema"],
            AttributeDefinitions=properties["AttributeDefinitions"],
            BillingMode="PAY_PER_REQUEST",
            **({"LocalSecondaryIndexes": indexes} if indexes else {}),
        )
    return TableNames(**names)


@pytest.fixture
def stores(side: str) -> Stores:
    return open_stores(side)


@pytest.fixture
def racing_stores(racing_side: str) -> Stores:
    return open_stores(racing_side)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def lanes(side: str, clock: TestClock) -> Lanes:
    if side == "memory":
        return MemoryLanes(clock)
    client = sqs_client()
    prefix = f"q{uuid.uuid4().hex[:12]}-lane"
    for lane in LANES:
        url = client.create_queue(QueueName=f"{prefix}-{lane}")["QueueUrl"]
    dead_letters = client.create_queue(QueueName=f"{prefix}-dead-letters")["QueueUrl"]
    return SqsLanes(client, url.removesuffix(f"-{LANES[-1]}"), dead_letters)


@pytest.fixture
def inboxes(side: str) -> Inboxes:
    if side == "memory":
        return MemoryInboxes()
    base = "https://sqs.us-east-1.amazonaws.com/000000000000/i"
    if side == "moto":
        base = base.replace("000000000000", "123456789012")
    return SqsInboxes(sqs_client(), f"{base}{uuid.uuid4().hex[:12]}-inbox")
