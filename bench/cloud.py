"""The local cloud that a benchmark starts for itself and ends, empty and on ports of its own.

Owns those ports, the benchmark's users, and what the parts have logged. It must not measure.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console

from local.accounts import Account
from local.ministack import session
from local.ports import Ports
from local.preflight import Unfit
from local.processes import ProcessFailure, Service, tail
from local.progress import Progress
from local.stack import STEPS, LocalStack

PORTS = Ports(
    ministack=24666, triton_http=28100, triton_grpc=28101, triton_metrics=28102, web=28400
)
_PASSWORD = "a benchmark on one machine"
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Cloud:
    """_killable: the workers that were added here, by their ids."""

    stack: LocalStack
    _killable: dict[str, Service] = field(default_factory=dict)

    def add_users(self, tier: str, count: int) -> list[Account]:
        """New accounts: a user's own limits must not be what is measured."""
        cognito = session().client("cognito-idp", endpoint_url=PORTS.aws_endpoint_url)
        pool = self.stack.outputs["UserPoolId"]
        users = [
            Account(tier, f"bench-{tier}-{number}@example.com", _PASSWORD)
            for number in range(1, count + 1)
        ]
        for user in users:
            cognito.admin_create_user(
                UserPoolId=pool,
                Username=user.email,
                UserAttributes=[
                    {"Name": "email", "Value": user.email},
                    {"Name": "email_verified", "Value": "true"},
                    {"Name": "custom:tier", "Value": tier},
                ],
                MessageAction="SUPPRESS",
            )
            cognito.admin_set_user_password(
                UserPoolId=pool, Username=user.email, Password=user.password, Permanent=True
            )
        return users

    def id_token(self, user: Account) -> str:
        cognito = session().client("cognito-idp", endpoint_url=PORTS.aws_endpoint_url)
        answer = cognito.initiate_auth(
            ClientId=self.stack.endpoints.user_pool_client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": user.email, "PASSWORD": user.password},
        )
        return answer["AuthenticationResult"]["IdToken"]

    def add_worker(self) -> None:
        """One more, to be killed perhaps."""
        service = self.stack.start_worker()
        ready = next(line for line in _json_lines(service.log) if line["message"] == "worker.ready")
        self._killable[ready["worker_id"]] = service

    def kill_worker(self, worker_id: str) -> None:
        """As a crash would: SIGKILL."""
        self._killable.pop(worker_id).kill()

    def worker_log(self, number: int = 1) -> list[dict[str, Any]]:
        """The JSON lines of a worker that was there from the beginning."""
        return _json_lines(self.stack.logs / f"worker-{number}.log")


def _json_lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@contextmanager
def running_cloud(
    console: Console,
    *,
    workers: int,
    slots: int,
    engine_settings: Mapping[str, str] | None = None,
    aws_settings: Mapping[str, str] | None = None,
) -> Iterator[Cloud]:
    stack = LocalStack(
        "bench",
        PORTS,
        Progress(console, STEPS),
        workers=workers,
        fresh=True,
        worker_settings={"SLOTS": str(slots)},
        # Twice the worker's: the benchmark also asks the engine itself.
        engine_settings={"DEMO_SLOTS": str(2 * slots), **(engine_settings or {})},
        aws_settings=aws_settings,
    )
    with stack:
        yield Cloud(stack)


def main(bench: Callable[[], None]) -> int:
    """Runs a benchmark; returns the exit code. However it ends, nothing is left running."""
    for number in _ENDING_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        bench()
    except KeyboardInterrupt:
        return 130
    except Unfit as unfit:
        print(f"chatcore: {unfit}", file=sys.stderr)
        return 1
    except ProcessFailure as failure:
        print(f"chatcore: {failure}; its log is {failure.log}", file=sys.stderr)
        print(tail(failure.log), file=sys.stderr)
        return 1
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
