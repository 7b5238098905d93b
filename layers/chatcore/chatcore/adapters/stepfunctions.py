"""Owns the start of state machines."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session
from chatcore.domain.errors import StoreUnavailable

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
        try:
            self.client.start_execution(
                stateMachineArn=self.state_machine_arn,
                name=f"purge-{chat_id}",
                input=json.dumps({"user_id": user_id, "chat_id": chat_id}),
            )
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code != "ExecutionAlreadyExists":
                raise StoreUnavailable(f"Step Functions: {code}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"Step Functions: {type(error).__name__}") from error
