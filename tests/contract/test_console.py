"""The console on the emulator: its alarms, its dashboard and its topic can be made.

Left out of the template: saved queries, which MiniStack 1.5.33 does not know. It makes no metrics of logs.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import yaml

from deploy.console.__main__ import PATH
from deploy.console.alarms import alarms

STACK = "looked-at"
PARAMETERS = {
    "Stack": STACK,
    "HttpApi": "abc123",
    "HttpApiFunction": "http-api",
    "WsMessageFunction": "ws-message",
    "WsAuthorizerFunction": "ws-authorizer",
    "PurgeStateMachine": "arn:aws:states:us-east-1:000000000000:stateMachine:purge",
    "PurgeAccountStateMachine": "arn:aws:states:us-east-1:000000000000:stateMachine:purge-account",
    "ExportStateMachine": "arn:aws:states:us-east-1:000000000000:stateMachine:export",
    "CompactStateMachine": "arn:aws:states:us-east-1:000000000000:stateMachine:compact",
    "AlarmEmail": "operator@example.com",
    "RunbookUrl": "https://example.com/runbooks",
    "MonthlySpendUsd": "500",
}


@pytest.fixture(scope="module")
def cloudwatch(ministack_environment: dict[str, str]) -> Iterator[Any]:
    """Of an emulator that has the console."""
    template = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    template["Resources"] = {
        name: body
        for name, body in template["Resources"].items()
        if body["Type"] != "AWS::Logs::QueryDefinition"
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ministack_environment.items():
            patch.setenv(name, value)
        cloudformation = boto3.client("cloudformation")
        cloudformation.create_stack(
            StackName="console",
            # As short as it can be: a body may have 51,200 characters. The stack's own comes from S3.
            TemplateBody=json.dumps(template, separators=(",", ":")),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in PARAMETERS.items()
            ],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="console", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        # Untyped: no stubs of this service are locked.
        yield boto3.client("cloudwatch")


def test_every_alarm_is_made_and_names_its_runbook(cloudwatch: Any) -> None:
    pages = cloudwatch.get_paginator("describe_alarms").paginate()
    made = {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}
    assert set(made) == {f"{STACK}-{alarm.name}" for alarm in alarms()}
    for alarm in alarms():
        told = made[f"{STACK}-{alarm.name}"]
        assert told["AlarmDescription"].endswith(f" https://example.com/runbooks#{alarm.runbook}")
        (topic,) = told["AlarmActions"]
        assert topic.endswith(f":{STACK}-alarms")
        # Parameters are filled in.
        assert not [each for each in told["Dimensions"] if "$" in each["Value"]]


def test_the_dashboard_is_json_with_all_its_parameters_filled_in(
    cloudwatch: Any,
) -> None:
    body = cloudwatch.get_dashboard(DashboardName=STACK)["DashboardBody"]
    assert json.loads(body)["widgets"]
    assert not re.search(r"\$\{", body)
    assert f'"{STACK}-lane-free-0"' in body


def test_no_word_of_any_worker_is_an_alarm(cloudwatch: Any) -> None:
    """The only one that silence sets off."""
    silent = [alarm.name for alarm in alarms() if alarm.silence == "breaching"]
    assert silent == ["no-worker"]
    found = cloudwatch.describe_alarms(AlarmNames=[f"{STACK}-no-worker"])["MetricAlarms"]
    assert found[0]["TreatMissingData"] == "breaching"
