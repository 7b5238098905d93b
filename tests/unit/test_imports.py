"""What the Lambdas on the way to the first token load, and what their cold start costs.

Each import runs in a process of its own: in this one, pytest has long imported half of it. The
budget is a ratio of CPU times (user and system, not wall time, which other work on the machine
stretches) of processes that take turns in one run, and the least of each side is compared: noise
only ever adds.
"""

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUDGET = 1.5
WARM_UP_PAIRS = 1
PAIRS = 5
MORE_PAIRS = 25
"""On a busy machine the least of five is still noise; more pairs only bring it nearer to the truth."""

TABLES = (
    "CHATS",
    "MESSAGES",
    "SUMMARIES",
    "RUNS",
    "CHECKPOINTS",
    "LEDGERS",
    "USAGE",
    "TICKETS",
    "CALENDARS",
    "WORKERS",
)
ENVIRONMENT = {
    **{f"{name}_TABLE": name.lower() for name in TABLES},
    "LANE_BASE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/lane",
    "INBOX_BASE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/inbox",
    "CALLBACK_URL": "https://api.execute-api.us-east-1.amazonaws.com/v1",
    "TIERS_PARAMETER": "/stack/tiers",
    "EXPORTS_BUCKET": "exports",
    "USER_POOL_ID": "us-east-1_pool",
    "WEB_ORIGIN": "https://chat.example.com",
    "POWERTOOLS_SERVICE_NAME": "imports",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "PATH": os.defpath,
}

NOT_LOADED = {
    "the HTTP API's framework": ("fastapi", "mangum", "pydantic", "pydantic_core", "starlette"),
    "the worker's, and kept from the Lambdas": ("grpc", "numpy", "tiktoken", "tritonclient"),
    # botocore makes the same clients; boto3 adds the S3 transfer manager.
    "boto3 and what comes with it": ("boto3", "s3transfer", "multiprocessing"),
    "Powertools beyond the logger": (
        "aws_lambda_powertools.event_handler",
        "aws_lambda_powertools.utilities.batch",
        "aws_lambda_powertools.utilities.data_classes",
        "aws_lambda_powertools.utilities.parameters",
        "aws_lambda_powertools.utilities.parser",
        "aws_lambda_powertools.utilities.validation",
        "aws_xray_sdk",
        "jsonschema",
        "opentelemetry",
    ),
    "chatcore's other half": (
        "chatcore.adapters.memory",
        "chatcore.adapters.stepfunctions",
        "chatcore.adapters.triton",
        "chatcore.adapters.vocabulary",
        "chatcore.domain.context",
        "chatcore.protocol.http",
        "gpu_service",
    ),
    "the event loop and test tools": ("asyncio", "unittest"),
}
"""pynamodb has no part to leave out: pynamodb.models imports all the rest."""


@dataclass(frozen=True)
class Function:
    """clients: the services that it calls, and nothing else."""

    name: str
    clients: tuple[str, ...]

    @property
    def load(self) -> str:
        return (
            f"import sys; sys.path.insert(0, {str(ROOT / 'functions' / self.name)!r}); import app"
        )

    @property
    def bare(self) -> str:
        """A script that can call the same services, and has nothing else in it."""
        return "import boto3\n" + "\n".join(
            f"boto3.client({service!r}, endpoint_url='https://localhost')"
            for service in self.clients
        )


WS_MESSAGE = Function("ws_message", ("dynamodb", "sqs", "apigatewaymanagementapi", "ssm"))
WS_AUTHORIZER = Function("ws_authorizer", ("dynamodb",))
PURGE_CHAT = Function("purge_chat", ("dynamodb", "sqs"))
COMPACT_CHAT = Function("compact_chat", ("dynamodb",))
PURGE_ACCOUNT = Function("purge_account", ("cognito-idp", "dynamodb", "s3", "sqs"))
EXPORT_ACCOUNT = Function("export_account", ("cognito-idp", "dynamodb", "s3"))
DRAIN_WORKER = Function("drain_worker", ("dynamodb", "sqs"))
REDRIVE_RUNS = Function("redrive_runs", ("dynamodb", "sqs"))

on_the_way_to_a_socket = pytest.mark.parametrize(
    "function", [WS_MESSAGE, WS_AUTHORIZER], ids=lambda function: function.name
)
lean = pytest.mark.parametrize(
    "function",
    [
        WS_MESSAGE,
        WS_AUTHORIZER,
        PURGE_CHAT,
        COMPACT_CHAT,
        PURGE_ACCOUNT,
        EXPORT_ACCOUNT,
        DRAIN_WORKER,
        REDRIVE_RUNS,
    ],
    ids=lambda function: function.name,
)


@on_the_way_to_a_socket
def test_it_loads_nothing_that_it_does_not_use(function: Function) -> None:
    loaded = json.loads(_python(f"{function.load}; import json; print(json.dumps([*sys.modules]))"))
    for reason, denied in NOT_LOADED.items():
        inside = tuple(f"{name}." for name in denied)
        found = [name for name in loaded if name in denied or name.startswith(inside)]
        assert not found, f"{function.name} loads {reason}: {found}"


@lean
def test_its_clients_are_made_once_while_it_starts(function: Function) -> None:
    # Not by the first request, which would pay for what the initialisation does for free; and over
    # one session, since each loads the endpoint rules and the list of services anew.
    made = _python(
        "import botocore.session as b, json\n"
        "made, sessions, create = [], set(), b.Session.create_client\n"
        "def note(self, name, *args, **kwargs):\n"
        "    made.append(name); sessions.add(id(self))\n"
        "    return create(self, name, *args, **kwargs)\n"
        "b.Session.create_client = note\n"
        f"{function.load}\n"
        "print(json.dumps([sorted(made), len(sessions)]))"
    )
    assert json.loads(made) == [sorted(function.clients), 1]


@lean
def test_its_start_is_within_budget(function: Function) -> None:
    bare_s: list[float] = []
    loaded_s: list[float] = []
    for _ in range(WARM_UP_PAIRS):
        _python(function.bare)
        _python(function.load)
    while len(bare_s) < PAIRS or (
        min(loaded_s) > BUDGET * min(bare_s) and len(bare_s) < MORE_PAIRS
    ):
        bare_s.append(_cpu_s(function.bare))
        loaded_s.append(_cpu_s(function.load))
    ratio = min(loaded_s) / min(bare_s)
    print(
        f"{function.name}: {min(loaded_s):.3f} s of CPU, {ratio:.2f} × the {min(bare_s):.3f} s of a "
        f"script that only makes its clients ({len(bare_s)} pairs)"
    )
    assert ratio <= BUDGET


def _cpu_s(code: str) -> float:
    """CPU time of a process that runs the code and ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _python(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT / "layers" / "chatcore")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
