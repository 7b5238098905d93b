"""The purge's state machine: every state is reached, ends, and has a bound."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from chatcore.services.purge import PurgeState
from tests.template.source import properties, read, references

MACHINE = read("statemachines/purge.asl.yaml")
STATES: Mapping[str, Mapping[str, Any]] = MACHINE["States"]


def _successors(state: Mapping[str, Any]) -> Iterator[str]:
    for key in ("Next", "Default"):
        if key in state:
            yield state[key]
    for branch in (*state.get("Choices", ()), *state.get("Catch", ())):
        yield branch["Next"]


def test_states_are_connected() -> None:
    reached: set[str] = set()
    ahead = [MACHINE["StartAt"]]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead.extend(_successors(STATES[name]))
    assert reached == set(STATES)


def test_every_state_leads_on_or_ends() -> None:
    for name, state in STATES.items():
        ends = state["Type"] in ("Succeed", "Fail")
        assert ends == (not list(_successors(state))), name


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
