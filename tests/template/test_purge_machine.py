"""The purge's state machine: every answer of its function has its way, and every state a bound."""

import re
from collections.abc import Mapping
from typing import Any

from chatcore.services.purge import PurgeState
from deploy.template import properties, read, references

MACHINE = read("statemachines/purge.asl.yaml")
STATES: Mapping[str, Mapping[str, Any]] = MACHINE["States"]


def test_every_answer_of_the_function_has_its_way() -> None:
    conditions = " ".join(choice["Condition"] for choice in STATES["Decide"]["Choices"])
    assert set(re.findall(r"state = '(\w+)'", conditions)) == {str(state) for state in PurgeState}
    assert STATES[STATES["Decide"]["Default"]]["Type"] == "Fail"


def test_waiting_is_counted_and_the_whole_is_timed() -> None:
    waiting = [c for c in STATES["Decide"]["Choices"] if "'waiting'" in c["Condition"]]
    assert "$waits < 300" in waiting[0]["Condition"]
    assert STATES[waiting[1]["Next"]]["Type"] == "Fail"
    assert STATES["WaitForWorker"]["Seconds"] == 2
    assert MACHINE["TimeoutSeconds"] == 3600


def test_trouble_of_lambda_is_retried_and_all_other_trouble_is_told() -> None:
    task = STATES["Purge"]
    retried = {error for retrier in task["Retry"] for error in retrier["ErrorEquals"]}
    assert {
        "Lambda.TooManyRequestsException",
        "Lambda.ServiceException",
        "States.Timeout",
    } < retried
    # A caught error would end in a Fail state, and a redrive would begin there and fail again.
    assert "Catch" not in task
    for state in STATES.values():
        if state["Type"] == "Fail":
            assert state["Error"]
            assert "$chat_id" in state["Cause"]


def test_task_outlasts_the_function() -> None:
    assert STATES["Purge"]["TimeoutSeconds"] > properties("PurgeChatFunction")["Timeout"]


def test_template_fills_in_what_the_definition_leaves_open() -> None:
    machine = properties("PurgeStateMachine")
    include = machine["Definition"]["Fn::Transform"]
    assert include["Parameters"]["Location"] == "statemachines/purge.asl.yaml"
    substitutions = machine["DefinitionSubstitutions"]
    assert STATES["Purge"]["Arguments"]["FunctionName"] == "${PurgeChatFunctionArn}"
    assert set(substitutions) == {"PurgeChatFunctionArn"}
    assert set(references(substitutions)) == {"PurgeChatFunction"}


def test_machine_is_logged_and_traced_without_what_users_wrote() -> None:
    machine = properties("PurgeStateMachine")
    assert machine["Logging"]["IncludeExecutionData"] is False
    assert set(references(machine["Logging"]["Destinations"])) == {"PurgeStateMachineLogs"}
    assert machine["Tracing"] == {"Enabled": True}
