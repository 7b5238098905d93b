"""The fleet's template as a CloudFormation reads it: moto's, which fills in names and parameters.

moto knows no dual-stack networks, so only what names the rest of the stack is deployed: roles, logs and the
task. That a role may do no more is `tests/template/test_fleet.py`'s; here it is what the patterns come to.
"""

import ast
import json
from collections.abc import Mapping
from typing import Any

import boto3
import pytest

from deploy.template import read

ACCOUNT = "123456789012"
KEPT = {
    "AWS::ECS::Cluster",
    "AWS::ECS::TaskDefinition",
    "AWS::IAM::Role",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
}
QUEUES = f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/chat-prod"
REPOSITORY = "210987654321.dkr.ecr.us-east-1.amazonaws.com"
TABLES = {
    f"{name.capitalize()}Table": f"chat-prod-{name}"
    for name in (
        *("chats", "messages", "summaries", "runs", "checkpoints"),
        *("ledgers", "usage", "calendars", "workers"),
    )
}
PARAMETERS = {
    **TABLES,
    "LaneBaseUrl": f"{QUEUES}-lane",
    "InboxBaseUrl": f"{QUEUES}-inbox",
    "DeadLetterQueueUrl": f"{QUEUES}-dead-letters",
    "TiersParameter": "/chat-prod/tiers",
    "CompactStateMachineArn": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:chat-prod-compact",
    "CallbackUrl": "https://abc123.execute-api.us-east-1.amazonaws.com/v1",
    "WorkerImage": f"{REPOSITORY}/chatcore-worker@sha256:{'0' * 64}",
    "TritonImage": f"{REPOSITORY}/chatcore-triton@sha256:{'1' * 64}",
    "ModelBucket": "models",
    "ModelPrefix": "gpt-oss-20b/1",
}


def _in_json(value: object) -> object:
    """The dotted form of Fn::GetAtt is YAML's only."""
    if isinstance(value, Mapping):
        return {
            key: inner.split(".", 1) if key == "Fn::GetAtt" else _in_json(inner)
            for key, inner in value.items()
        }
    return [_in_json(inner) for inner in value] if isinstance(value, list) else value


@pytest.fixture
def deployed(moto_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Physical ids by logical ones."""
    for key, value in moto_environment.items():
        monkeypatch.setenv(key, value)
    template = read("gpu_service/template.yaml")
    # Looked up by CloudFormation, and used by what is left out only.
    del template["Parameters"]["MachineImage"]
    resources = template["Resources"]
    kept = {name: body for name, body in resources.items() if body["Type"] in KEPT}
    client: Any = boto3.client("cloudformation")
    client.create_stack(
        StackName="fleet",
        TemplateBody=json.dumps(_in_json({**template, "Resources": kept, "Outputs": {}})),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in PARAMETERS.items()
        ],
    )
    found = client.list_stack_resources(StackName="fleet")["StackResourceSummaries"]
    return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}


def resources_of(role: str) -> dict[str, Any]:
    """By the statement's Sid."""
    client: Any = boto3.client("iam")
    told = client.get_role_policy(RoleName=role, PolicyName="least-privilege")["PolicyDocument"]
    # moto tells what CloudFormation made by Python's own notation.
    document = ast.literal_eval(told)
    return {each["Sid"]: each["Resource"] for each in document["Statement"]}


def test_a_worker_may_reach_what_it_is_told_of(deployed: dict[str, str]) -> None:
    found = resources_of(deployed["WorkerRole"])
    table = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/chat-prod-"
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:chat-prod-"
    task = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/{deployed['Cluster']}/*"
    assert found == {
        "Runs": f"{table}runs",
        "Checkpoints": f"{table}checkpoints",
        "Chats": f"{table}chats",
        "Messages": f"{table}messages",
        "Summaries": f"{table}summaries",
        "Accounts": f"{table}ledgers",
        "CountUsage": f"{table}usage",
        "WhereTheLanesStand": f"{table}calendars",
        "Beats": f"{table}workers",
        "Lanes": f"{queue}lane-*",
        "Inboxes": f"{queue}inbox-*",
        "DeadLetters": f"{queue}dead-letters",
        "ReadTiers": f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/chat-prod/tiers",
        "AskForSummaries": PARAMETERS["CompactStateMachineArn"],
        "AnswerSteps": "*",
        "TellOfTraces": "*",
        "PostToConnections": (
            f"arn:aws:execute-api:us-east-1:{ACCOUNT}:abc123/v1/POST/@connections/*"
        ),
        "ProtectItselfWhileItAnswers": task,
        "ListModel": "arn:aws:s3:::models",
        "FetchModel": "arn:aws:s3:::models/gpt-oss-20b/1/*",
    }


def test_images_come_from_their_two_repositories(deployed: dict[str, str]) -> None:
    found = resources_of(deployed["StartRole"])
    repository = "arn:aws:ecr:us-east-1:210987654321:repository/"
    assert found["FetchImages"] == [f"{repository}chatcore-worker", f"{repository}chatcore-triton"]


def test_machines_belong_to_this_cluster_only(deployed: dict[str, str]) -> None:
    found = resources_of(deployed["MachineRole"])
    cluster = f"arn:aws:ecs:us-east-1:{ACCOUNT}"
    assert found["BeInTheCluster"] == f"{cluster}:cluster/{deployed['Cluster']}"
    assert found["HearOfTasks"] == f"{cluster}:container-instance/{deployed['Cluster']}/*"


def test_the_task_is_one_that_ecs_takes(deployed: dict[str, str]) -> None:
    client: Any = boto3.client("ecs")
    task = client.describe_task_definition(taskDefinition=deployed["Task"])["taskDefinition"]
    containers = {each["name"]: each for each in task["containerDefinitions"]}
    assert containers["worker"]["image"] == PARAMETERS["WorkerImage"]
    told = {each["name"]: each["value"] for each in containers["worker"]["environment"]}
    assert told["LANE_BASE_URL"] == f"{QUEUES}-lane"
    assert told["SLOTS"] == "62"
    options = containers["worker"]["logConfiguration"]["options"]
    assert options["awslogs-group"] == deployed["WorkerLogs"] == "/aws/ecs/fleet/worker"
