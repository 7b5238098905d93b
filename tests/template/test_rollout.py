"""How a new version of a function comes to be, is tried on some callers, and is taken back."""

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from deploy.template import ROOT, TEMPLATE, of_type, properties

FUNCTIONS = sorted(of_type("AWS::Serverless::Function"))
ROLLOUTS = TEMPLATE["Parameters"]["Rollout"]["AllowedValues"]
GRADUAL = [name for name in ROLLOUTS if name != "none"]

_SAM_PYTHON = ROOT / ".local" / "venvs" / "sam" / "bin" / "python"
# SAM's own translation, with the files of the build left out: it only hashes where they lie.
_TRANSLATE = """
import json, sys
from samtranslator.translator.transform import transform
class NoPolicies:
    def load(self):
        return {}
print(json.dumps([transform(*each, NoPolicies()) for each in json.load(sys.stdin)]))
"""


def _alarm(function: str) -> str:
    return function.removesuffix("Function") + "VersionErrors"


def _built(layer: str) -> dict[str, Any]:
    """The template as `sam package` leaves it. layer: what the layers hold."""
    template: dict[str, Any] = json.loads(json.dumps(TEMPLATE))
    for name, resource in template["Resources"].items():
        for place in ("CodeUri", "ContentUri"):
            if place in resource["Properties"]:
                held = layer if place == "ContentUri" else name
                resource["Properties"][place] = f"s3://build/{held}"
        if resource["Type"] == "AWS::Serverless::StateMachine":
            resource["Properties"]["Definition"] = {"StartAt": "Only"}
    return template


@cache
def _translated() -> dict[tuple[str, str], dict[str, Any]]:
    """All that is asked for below, in one process."""
    wanted = [*((rollout, "first") for rollout in ROLLOUTS), ("none", "second")]
    asked = [(_built(layer), {"Rollout": rollout}) for rollout, layer in wanted]
    done = subprocess.run(
        [str(_SAM_PYTHON), "-c", _TRANSLATE],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        env={"AWS_DEFAULT_REGION": "us-east-1"},
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(wanted, json.loads(done.stdout), strict=True))


def translated(rollout: str, layer: str = "first") -> dict[str, Any]:
    """The plain CloudFormation resources."""
    resources: dict[str, Any] = _translated()[rollout, layer]["Resources"]
    return resources


def _versions(resources: dict[str, Any]) -> set[str]:
    return {name for name, body in resources.items() if body["Type"] == "AWS::Lambda::Version"}


def _functions_by_arn(value: object) -> Iterator[str]:
    """Functions that a value names other than by their alias."""
    if isinstance(value, list):
        for item in value:
            yield from _functions_by_arn(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref" and inner in FUNCTIONS:
                yield inner
            elif key in ("Fn::GetAtt", "Fn::Sub") and isinstance(inner, str):
                for name in FUNCTIONS:
                    if inner == f"{name}.Arn" or f"${{{name}" in inner:
                        yield name
            else:
                yield from _functions_by_arn(inner)


def test_nobody_calls_a_function_but_by_its_alias() -> None:
    assert TEMPLATE["Globals"]["Function"]["AutoPublishAlias"] == "live"
    # These look at functions, whatever version answers.
    onlookers = {_alarm(function) for function in FUNCTIONS} | {"ConsoleStack"}
    for name, body in TEMPLATE["Resources"].items():
        if name not in onlookers:
            assert not list(_functions_by_arn(body)), name


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_change_of_any_kind_makes_a_version(function: str) -> None:
    assert properties(function)["AutoPublishAliasAllProperties"] is True
    for layer in of_type("AWS::Serverless::LayerVersion"):
        assert properties(layer)["PublishLambdaVersion"] is True, layer


def test_a_change_in_a_layer_makes_one_of_every_function() -> None:
    before, after = _versions(translated("none")), _versions(translated("none", "second"))
    assert len(before) == len(after) == len(FUNCTIONS)
    assert not before & after


def test_without_a_rollout_there_is_nothing_of_codedeploy() -> None:
    assert TEMPLATE["Parameters"]["Rollout"]["Default"] == "none"
    resources = translated("none")
    assert not [name for name, body in resources.items() if "CodeDeploy" in body["Type"]]
    assert not any("UpdatePolicy" in body for body in resources.values())


def test_every_rollout_is_known_to_the_mapping() -> None:
    assert set(TEMPLATE["Mappings"]["Rollouts"]) == set(ROLLOUTS)


@pytest.mark.parametrize("rollout", GRADUAL)
def test_a_rollout_moves_every_alias_and_takes_it_back_on_its_alarm(rollout: str) -> None:
    resources = translated(rollout)
    for function in FUNCTIONS:
        group = resources[f"{function}DeploymentGroup"]["Properties"]
        assert group["DeploymentConfigName"]["Fn::Sub"][1] == {"ConfigName": rollout}
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        condition, alarms, _ = group["AlarmConfiguration"]["Fn::If"]
        assert condition == "HasRollout"
        assert alarms == {"Enabled": True, "Alarms": [{"Name": {"Ref": _alarm(function)}}]}
        role = group["ServiceRoleArn"]["Fn::If"]
        assert role[:2] == ["HasRollout", {"Fn::GetAtt": "RolloutRole.Arn"}]
        update = resources[f"{function}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert update["DeploymentGroupName"] == {"Ref": f"{function}DeploymentGroup"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_its_alarm_hears_the_new_versions_errors_alone(function: str) -> None:
    alarm = properties(_alarm(function))
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Errors")
    assert {each["Name"]: each["Value"] for each in alarm["Dimensions"]} == {
        "FunctionName": {"Ref": function},
        "Resource": {"Fn::Sub": f"${{{function}}}:live"},
        "ExecutedVersion": {"Fn::GetAtt": f"{function}.Version.Version"},
    }
    # No calls are no errors: a rollout at night must not wait for them.
    assert alarm["TreatMissingData"] == "notBreaching"


def test_warm_instances_are_of_the_alias_and_only_where_asked_for() -> None:
    assert TEMPLATE["Parameters"]["WsMessageProvisioned"]["Default"] == 0
    alias = translated("none")["WsMessageFunctionAliaslive"]["Properties"]
    assert alias["ProvisionedConcurrencyConfig"]["Fn::If"] == [
        "HasWsMessageProvisioned",
        {"ProvisionedConcurrentExecutions": {"Ref": "WsMessageProvisioned"}},
        {"Ref": "AWS::NoValue"},
    ]


def test_the_role_is_codedeploys() -> None:
    (statement,) = properties("RolloutRole")["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "codedeploy.amazonaws.com"}
