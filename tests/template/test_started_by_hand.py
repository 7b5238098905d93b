"""The state machines that people start, or an account's user does: every answer of their functions has its
way, every state a bound, and nothing of what users wrote is logged."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from chatcore.services.drain import Drained
from chatcore.services.export import LINK_S, Written
from chatcore.services.purge import PurgeState
from chatcore.services.purge_account import Forgotten
from chatcore.services.redrive import Found
from deploy.template import ROOT, properties, read, references

SOCKET_S = 2 * 3600
"""For so long API Gateway keeps a WebSocket connection at most (vendor's page: quotas of WebSocket APIs)."""


@dataclass(frozen=True)
class Machine:
    """file: in statemachines/; logical: of its resources; function: of the one that all its tasks call;
    subject: what its causes name; deciders: by state, the answers that it is to tell apart."""

    file: str
    logical: str
    function: str
    subject: str
    deciders: Mapping[str, type[Any]]

    @property
    def definition(self) -> dict[str, Any]:
        return read(f"statemachines/{self.file}.asl.yaml")

    @property
    def states(self) -> Mapping[str, Mapping[str, Any]]:
        states: Mapping[str, Mapping[str, Any]] = self.definition["States"]
        return states

    @property
    def tasks(self) -> dict[str, Mapping[str, Any]]:
        return {name: state for name, state in self.states.items() if state["Type"] == "Task"}


PURGE = Machine(
    "purge_account",
    "PurgeAccountStateMachine",
    "PurgeAccountFunction",
    "$user_id",
    {"DecideOnChats": PurgeState, "DecideOnForgetting": Forgotten},
)
EXPORT = Machine(
    "export", "ExportStateMachine", "ExportAccountFunction", "$export_id", {"Decide": Written}
)
DRAIN = Machine(
    "drain", "DrainStateMachine", "DrainWorkerFunction", "$worker_id", {"Decide": Drained}
)
REDRIVE = Machine("redrive", "RedriveStateMachine", "RedriveRunsFunction", "", {})


@pytest.fixture(params=[PURGE, EXPORT, DRAIN, REDRIVE], ids=lambda machine: machine.file)
def machine(request: pytest.FixtureRequest) -> Machine:
    found: Machine = request.param
    return found


def test_every_answer_of_the_function_has_its_way(machine: Machine) -> None:
    for name, answers in machine.deciders.items():
        decider = machine.states[name]
        conditions = " ".join(choice["Condition"] for choice in decider["Choices"])
        told = set(re.findall(r"state = '(\w+)'", conditions))
        assert told == {str(answer) for answer in answers}, name
        assert machine.states[decider["Default"]]["Type"] == "Fail"


def test_what_may_pass_is_tried_again_and_all_else_can_be_redriven(machine: Machine) -> None:
    assert machine.tasks
    for name, task in machine.tasks.items():
        retried = {error for retrier in task["Retry"] for error in retrier["ErrorEquals"]}
        assert {
            "Lambda.TooManyRequestsException",
            "Lambda.ServiceException",
            "States.TaskFailed",
            "States.Timeout",
        } < retried, name
        # A caught error would end in a Fail state, and a redrive would begin there and fail again.
        assert "Catch" not in task, name


def test_everything_is_timed(machine: Machine) -> None:
    for name, task in machine.tasks.items():
        assert task["TimeoutSeconds"] > properties(machine.function)["Timeout"], name
    waits = [state["Seconds"] for state in machine.states.values() if state["Type"] == "Wait"]
    assert machine.definition["TimeoutSeconds"] > sum(waits)


def test_loops_that_wait_are_counted() -> None:
    for machine, wait in ((PURGE, "WaitForWorkers"), (DRAIN, "WaitForWorker")):
        (counter,) = machine.states[wait]["Assign"]
        (decider,) = [
            state
            for state in machine.states.values()
            if any(choice["Next"] == wait for choice in state.get("Choices", ()))
        ]
        bounded, beyond = [
            choice
            for choice in decider["Choices"]
            if choice["Condition"].split("'")[1] in ("waiting", "leaving")
        ]
        assert re.search(rf"\${counter} < \d+", bounded["Condition"])
        assert machine.states[beyond["Next"]]["Type"] == "Fail"


def test_an_execution_that_failed_tells_which_and_why(machine: Machine) -> None:
    for name, state in machine.states.items():
        if state["Type"] == "Fail":
            assert state["Error"] == name
            assert machine.subject in state["Cause"], name


def test_all_tasks_call_the_one_function(machine: Machine) -> None:
    resource = properties(machine.logical)
    include = resource["Definition"]["Fn::Transform"]
    assert include["Parameters"]["Location"] == f"statemachines/{machine.file}.asl.yaml"
    text = (ROOT / "statemachines" / f"{machine.file}.asl.yaml").read_text(encoding="utf-8")
    substitutions = resource["DefinitionSubstitutions"]
    assert set(substitutions) == set(re.findall(r"\$\{(\w+)\}", text)) == {f"{machine.function}Arn"}
    assert set(references(substitutions)) == {machine.function}


def test_they_are_logged_and_traced_without_what_users_wrote(machine: Machine) -> None:
    resource = properties(machine.logical)
    assert resource["Type"] == "STANDARD"
    assert resource["Logging"]["IncludeExecutionData"] is False
    assert set(references(resource["Logging"]["Destinations"])) == {f"{machine.logical}Logs"}
    assert resource["Tracing"] == {"Enabled": True}


class TestPurge:
    def test_its_steps_are_those_of_its_function_in_their_order(self) -> None:
        app = (ROOT / "functions" / "purge_account" / "app.py").read_text(encoding="utf-8")
        told = [task["Arguments"]["Payload"]["step"] for task in PURGE.tasks.values()]
        assert told == re.findall(r'step == "(\w+)"', app) == ["shut", "chats", "rest", "forget"]

    def test_the_mark_outlives_whoever_could_speak_for_the_user(self) -> None:
        client = properties("UserPoolClient")
        assert client["TokenValidityUnits"]["IdToken"] == "minutes"
        token_s = client["IdTokenValidity"] * 60
        # With the last token's last second a socket is opened, by a ticket that is good for 30 s.
        assert PURGE.states["OutliveTokens"]["Seconds"] >= token_s + 30 + SOCKET_S + 300
        assert PURGE.states["DecideOnRest"]["Choices"][0]["Next"] == "OutliveTokens"
        assert PURGE.states["OutliveTokens"]["Next"] == "Forget"

    def test_an_account_that_was_reopened_begins_anew(self) -> None:
        choices = PURGE.states["DecideOnForgetting"]["Choices"]
        (reopened,) = [choice for choice in choices if "'reopened'" in choice["Condition"]]
        assert reopened["Next"] == "Shut"


class TestRedrive:
    def test_it_adds_up_all_that_its_function_tells(self) -> None:
        told = set(REDRIVE.states["Begin"]["Assign"]["told"])
        assert told == {"looked_at", *map(str, Found)}
        added = REDRIVE.states["Add"]["Assign"]["told"]
        for name in told:
            assert f"'{name}': $told.{name} + $states.input.{name}" in added

    def test_it_ends_within_the_history_of_an_execution(self) -> None:
        (_, bounded) = REDRIVE.states["Decide"]["Choices"]
        (pages,) = re.findall(r"\$pages < (\d+)", bounded["Condition"])
        # Five events of the task, two of each of the states behind it.
        assert 9 * int(pages) < 25_000


class TestExports:
    def test_their_bucket_is_private_and_forgets(self) -> None:
        """By whose key it is encrypted: test_storage.py."""
        bucket = properties("ExportsBucket")
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        (rule,) = bucket["OwnershipControls"]["Rules"]
        assert rule["ObjectOwnership"] == "BucketOwnerEnforced"
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", 7)
        assert "VersioningConfiguration" not in bucket
        (statement,) = properties("ExportsBucketPolicy")["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert len(statement["Resource"]) == 2

    def test_links_are_over_long_before_the_files_are(self) -> None:
        assert LINK_S <= 3600

    def test_what_an_execution_says_at_its_end_holds_numbers_only(self) -> None:
        output = json.dumps(EXPORT.states["TellOutcome"]["Output"])
        assert "$count($states.input.progress.files)" in output
        assert "$states.input.progress.counts" in output
        assert output.count("$states") == 2
