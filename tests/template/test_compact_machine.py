"""The compaction's state machine: every state has a bound, and no way leaves the chat as one that is being
compacted."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatcore.domain.chat import STALE_COMPACTION_MS
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.tiers import Tier
from deploy.template import ROOT, properties, read, references

MACHINE = read("statemachines/compact.asl.yaml")
STATES: Mapping[str, Mapping[str, Any]] = MACHINE["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
LAMBDAS = {name: state for name, state in TASKS.items() if name != "Summarise"}


def test_whatever_fails_frees_the_chat() -> None:
    for name, state in TASKS.items():
        if name == "Release":
            continue
        (catcher,) = state["Catch"]
        assert (catcher["ErrorEquals"], catcher["Next"]) == (["States.ALL"], "Release"), name
        assert catcher["Assign"] == {"cause": "{% $states.errorOutput %}"}, name
    assert STATES["Release"]["Next"] == "NotCompacted"


def test_an_execution_that_failed_tells_why() -> None:
    failed = [state for state in STATES.values() if state["Type"] == "Fail"]
    (state,) = failed
    assert state["Error"] == "{% $cause.Error %}"
    assert "$cause.Cause" in state["Cause"]


def test_every_answer_of_the_function_has_its_way() -> None:
    for choice, outcome, leads_to in (
        ("Planned", "planned", "Summarise"),
        ("Committed", "committed", "Compacted"),
    ):
        (rule,) = STATES[choice]["Choices"]
        assert rule["Condition"] == f"{{% $states.input.outcome = '{outcome}' %}}"
        assert rule["Next"] == leads_to
        assert STATES[STATES[choice]["Default"]]["Type"] == "Succeed"
        assert f'"outcome": "{outcome}"' in _app()


def test_the_function_knows_every_step_and_gets_what_was_asked() -> None:
    steps = {state["Arguments"]["Payload"]["step"] for state in LAMBDAS.values()}
    assert steps == set(re.findall(r'step == "(\w+)"', _app()))
    for state in LAMBDAS.values():
        assert state["Arguments"]["FunctionName"] == "${CompactChatFunctionArn}"
        asked = state["Arguments"]["Payload"]["asked"]
        assert asked == "{% $states.context.Execution.Input %}"


def test_what_may_pass_is_tried_again() -> None:
    for name, state in LAMBDAS.items():
        (retrier,) = state["Retry"]
        assert set(retrier["ErrorEquals"]) == {"States.TaskFailed", "States.Timeout"}, name
        assert retrier["MaxAttempts"] >= 3, name
    # A second message would have the same run made for another token.
    assert "Retry" not in STATES["Summarise"]


def test_everything_is_timed_and_the_whole_outlasts_its_parts() -> None:
    for name, state in LAMBDAS.items():
        assert state["TimeoutSeconds"] > properties("CompactChatFunction")["Timeout"], name
    summarise = STATES["Summarise"]
    assert summarise["HeartbeatSeconds"] < summarise["TimeoutSeconds"]
    longest_s = summarise["TimeoutSeconds"] + sum(map(_longest_s, LAMBDAS.values()))
    assert longest_s <= MACHINE["TimeoutSeconds"]
    # One that died with its execution is passed over only when that is surely over.
    assert MACHINE["TimeoutSeconds"] * 1000 < STALE_COMPACTION_MS


def _longest_s(task: Mapping[str, Any]) -> float:
    (retrier,) = task["Retry"]
    tries: int = retrier["MaxAttempts"]
    pauses = [retrier["IntervalSeconds"] * retrier["BackoffRate"] ** n for n in range(tries)]
    longest: float = task["TimeoutSeconds"] * (tries + 1) + sum(pauses)
    return longest


def test_the_job_goes_into_the_lane_of_the_background_in_its_users_group() -> None:
    summarise = STATES["Summarise"]
    assert summarise["Resource"] == "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
    arguments = summarise["Arguments"]
    assert arguments["MessageGroupId"] == "{% $states.input.job.user_id %}"
    assert "'task_token': $states.context.Task.Token" in arguments["MessageBody"]
    lane = Lane(Tier.BACKGROUND, RETURNS)
    substitutions = properties("CompactStateMachine")["DefinitionSubstitutions"]
    assert arguments["QueueUrl"] == "${BackgroundLaneUrl}"
    queue = properties(substitutions["BackgroundLaneUrl"]["Ref"])
    assert queue["QueueName"] == {"Fn::Sub": f"${{AWS::StackName}}-lane-{lane}"}


def test_template_fills_in_what_the_definition_leaves_open() -> None:
    machine = properties("CompactStateMachine")
    include = machine["Definition"]["Fn::Transform"]
    assert include["Parameters"]["Location"] == "statemachines/compact.asl.yaml"
    substitutions = machine["DefinitionSubstitutions"]
    text = (ROOT / "statemachines" / "compact.asl.yaml").read_text(encoding="utf-8")
    assert set(substitutions) == set(re.findall(r"\$\{(\w+)\}", text))
    assert set(references(substitutions)) == {"CompactChatFunction", "LaneBackgroundReturns"}


def test_machine_is_logged_and_traced_without_what_users_wrote() -> None:
    machine = properties("CompactStateMachine")
    assert machine["Type"] == "STANDARD"
    assert machine["Logging"]["IncludeExecutionData"] is False
    assert set(references(machine["Logging"]["Destinations"])) == {"CompactStateMachineLogs"}
    assert machine["Tracing"] == {"Enabled": True}


def _app() -> str:
    path: Path = ROOT / properties("CompactChatFunction")["CodeUri"] / "app.py"
    return path.read_text(encoding="utf-8")
