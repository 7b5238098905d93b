"""Owns the start of state machines, and the answers that their steps wait for."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.export import ExportState
from chatcore.domain.summary import SummaryAsked

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


def states_client() -> "SFNClient":
    config = Config(
        connect_timeout=1, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
    )
    return cast("SFNClient", session().create_client("stepfunctions", config=config))


@dataclass(frozen=True, slots=True)
class StatesPurges:
    """The execution is named by the chat, so that there is one of it, to be found by its name."""

    client: "SFNClient"
    state_machine_arn: str

    def start(self, user_id: str, chat_id: str) -> None:
        asked = {"user_id": user_id, "chat_id": chat_id}
        _start(self.client, self.state_machine_arn, f"purge-{chat_id}", asked)


@dataclass(frozen=True, slots=True)
class StatesAccountPurges:
    """The execution is named by the user, likewise."""

    client: "SFNClient"
    state_machine_arn: str

    def start(self, user_id: str) -> None:
        name = f"purge-account-{user_id}"
        _start(self.client, self.state_machine_arn, name, {"user_id": user_id})


@dataclass(frozen=True, slots=True)
class StatesExportJobs:
    """The execution is named by the user and the export, so nobody finds one that is not his."""

    client: "SFNClient"
    state_machine_arn: str

    def start(self, user_id: str, export_id: str) -> None:
        asked = {"user_id": user_id, "export_id": export_id}
        _start(self.client, self.state_machine_arn, _export_name(user_id, export_id), asked)

    def state(self, user_id: str, export_id: str) -> ExportState | None:
        machine = self.state_machine_arn.replace(":stateMachine:", ":execution:", 1)
        arn = f"{machine}:{_export_name(user_id, export_id)}"
        with _translated(frozenset({"ExecutionDoesNotExist"})) as outcome:
            told = self.client.describe_execution(executionArn=arn)
        if outcome.passed_over:
            return None
        return _EXPORT_STATES.get(told["status"], ExportState.FAILED)


_EXPORT_STATES = {
    "RUNNING": ExportState.PREPARING,
    "PENDING_REDRIVE": ExportState.PREPARING,
    "SUCCEEDED": ExportState.READY,
}


def _export_name(user_id: str, export_id: str) -> str:
    return f"export-{user_id}-{export_id}"


@dataclass(frozen=True, slots=True)
class StatesCompactions:
    """The execution is named by the chat, the place that its summary is to speak up to, and the try."""

    client: "SFNClient"
    state_machine_arn: str

    def start(self, asked: SummaryAsked) -> None:
        name = f"compact-{asked.chat_id}-{asked.up_to_seq}-{asked.asked_ms}"
        _start(self.client, self.state_machine_arn, name, asdict(asked))


@dataclass(frozen=True, slots=True)
class StatesWaits:
    client: "SFNClient"

    def succeed(self, token: str) -> None:
        with _translated(_NOBODY_WAITS):
            self.client.send_task_success(taskToken=token, output="{}")

    def fail(self, token: str, code: str, cause: str) -> None:
        with _translated(_NOBODY_WAITS):
            self.client.send_task_failure(taskToken=token, error=code, cause=cause)

    def beat(self, token: str) -> bool:
        with _translated(_NOBODY_WAITS) as outcome:
            self.client.send_task_heartbeat(taskToken=token)
        return not outcome.passed_over


_NOBODY_WAITS = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})


@dataclass(slots=True)
class _Outcome:
    passed_over: bool = False


@contextmanager
def _translated(passed_over: frozenset[str]) -> Iterator[_Outcome]:
    """Passes over errors of these codes; raises StoreUnavailable for all others."""
    outcome = _Outcome()
    try:
        yield outcome
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code not in passed_over:
            raise StoreUnavailable(f"Step Functions: {code}") from error
        outcome.passed_over = True
    except BotoCoreError as error:
        raise StoreUnavailable(f"Step Functions: {type(error).__name__}") from error


def _start(client: "SFNClient", arn: str, name: str, asked: Mapping[str, object]) -> None:
    with _translated(frozenset({"ExecutionAlreadyExists"})):
        client.start_execution(stateMachineArn=arn, name=name, input=json.dumps(asked))
