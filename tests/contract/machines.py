"""Owns the deploying of a state machine as it is written, with its function, on MiniStack."""

import io
import json
import sys
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import boto3

from chatcore.adapters.dynamo.tables import TableNames
from deploy.template import properties, read
from tests.cloud import eventually
from tests.contract.conftest import ROOT

ROLE = "arn:aws:iam::000000000000:role/tests"
DEADLINE_S = 20


@dataclass(frozen=True)
class Machine:
    """A deployed one."""

    arn: str
    states: Any

    def execution(self, name: str) -> str:
        """The ARN of the execution of that name."""
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{name}"

    def started(self, asked: Mapping[str, object]) -> str:
        """By hand, as in the console: the execution's ARN."""
        answer = self.states.start_execution(stateMachineArn=self.arn, input=json.dumps(asked))
        return str(answer["executionArn"])

    def end_of(self, execution: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            told: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            return None if told["status"] == "RUNNING" else told

        return eventually(ended, "the end of the execution", deadline_s)

    def last_state(self, execution: str) -> str:
        events = self.states.get_execution_history(executionArn=execution, maxResults=1000)
        entered = [
            e["stateEnteredEventDetails"]
            for e in events["events"]
            if "stateEnteredEventDetails" in e
        ]
        return str(entered[-1]["name"])


def deployed(states: Any, file: str, logical_id: str, filled: Mapping[str, str]) -> Machine:
    """file: of the machine, in statemachines/; filled: what the template fills in."""
    text = json.dumps(read(f"statemachines/{file}.asl.yaml"))
    assert filled.keys() == properties(logical_id)["DefinitionSubstitutions"].keys()
    for name, value in filled.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    name = f"m{uuid.uuid4().hex[:12]}"
    made = states.create_state_machine(name=name, roleArn=ROLE, definition=text)
    return Machine(made["stateMachineArn"], states)


def function_of(folder: str, tables: TableNames, variables: Mapping[str, str] | None = None) -> str:
    """The function as it is in the repository, with the packages of these tests in place of its layers;
    its ARN."""
    paths = [
        str(ROOT / "layers" / "chatcore"),
        *(path for path in sys.path if "site-packages" in path),
    ]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr(
            "first.py", f"import sys\nsys.path[:0] = {paths!r}\nfrom app import handler\n"
        )
        archive.write(ROOT / "functions" / folder / "app.py", "app.py")
    made = boto3.client("lambda").create_function(
        FunctionName=f"f{uuid.uuid4().hex[:12]}",
        Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
        Handler="first.handler",
        Role=ROLE,
        Code={"ZipFile": code.getvalue()},
        Timeout=25,
        Environment={
            "Variables": {
                **{f"{table.upper()}_TABLE": name for table, name in asdict(tables).items()},
                **(variables or {}),
            }
        },
    )
    return str(made["FunctionArn"])
