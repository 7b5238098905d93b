"""Who may do what. The lists are the whole truth: a permission changed is changed here too."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from deploy.template import RESOURCES, of_type, properties, references

_LANES = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${AWS::StackName}-lane-*"
_INBOXES = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${AWS::StackName}-inbox-*"
_CONNECTIONS = (
    "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}"
    ":${WebSocketApi}/v1/POST/@connections/*"
)
_TIERS = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter${TiersParameter}"
_OF_A_CHAT = {"ChatsTable", "MessagesTable", "SummariesTable", "RunsTable", "CheckpointsTable"}
_EXPORT_EXECUTIONS = (
    "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}"
    ":execution:${AWS::StackName}-export:*"
)
_EXPORT_FILES = "${ExportsBucket.Arn}/*"
_THROUGH_FILES = {
    "StringEquals": {"kms:ViaService": {"Fn::Sub": "s3.${AWS::Region}.amazonaws.com"}}
}
"""The key is of use by the files alone: with it nothing else that it encrypts can be read."""
_FUNCTIONS = (
    "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-*"
)
_INDEX = "${ChatsTable.Arn}/index/by_activity"

_TRACES = {"xray:PutTraceSegments": {"*"}, "xray:PutTelemetryRecords": {"*"}}

_OF_A_STATE_MACHINE = {
    "logs:CreateLogDelivery": {"*"},
    "logs:DeleteLogDelivery": {"*"},
    "logs:DescribeLogGroups": {"*"},
    "logs:DescribeResourcePolicies": {"*"},
    "logs:GetLogDelivery": {"*"},
    "logs:ListLogDeliveries": {"*"},
    "logs:PutResourcePolicy": {"*"},
    "logs:UpdateLogDelivery": {"*"},
    "xray:GetSamplingRules": {"*"},
    "xray:GetSamplingTargets": {"*"},
    **_TRACES,
}


# Of whoever takes sends and stops runs. What is asked for in fact: tests/contract/test_permissions.py.
_SENDS = {
    "dynamodb:GetItem": {
        "CalendarsTable",
        "ChatsTable",
        "LedgersTable",
        "RunsTable",
        "WorkersTable",
    },
    "dynamodb:PutItem": {"ChatsTable", "MessagesTable", "RunsTable"},
    "dynamodb:UpdateItem": {"ChatsTable", "LedgersTable", "RunsTable", "UsageTable"},
    "dynamodb:Query": {"CheckpointsTable", "MessagesTable"},
}


def _log(group: str) -> dict[str, set[str]]:
    return {"logs:CreateLogStream": {group}, "logs:PutLogEvents": {group}}


# Role → action → what it may be done to: a logical id, or the pattern of an ARN.
PERMISSIONS: dict[str, dict[str, set[str]]] = {
    "HttpApiRole": {
        **_SENDS,
        "dynamodb:PutItem": {*_SENDS["dynamodb:PutItem"], "TicketsTable"},
        "dynamodb:Query": {*_SENDS["dynamodb:Query"], _INDEX, "UsageTable"},
        "sqs:SendMessage": {_LANES, _INBOXES},
        "dynamodb:ConditionCheckItem": {"LedgersTable"},
        "states:StartExecution": {
            "PurgeStateMachine",
            "PurgeAccountStateMachine",
            "ExportStateMachine",
        },
        "states:DescribeExecution": {_EXPORT_EXECUTIONS},
        "s3:GetObject": {_EXPORT_FILES},
        "kms:Decrypt": {"DataKey"},
        "s3:ListBucket": {"ExportsBucket"},
        "ssm:GetParameter": {_TIERS},
        "execute-api:ManageConnections": {_CONNECTIONS},
        **_log("HttpApiLogs"),
        **_TRACES,
    },
    "WsAuthorizerRole": {
        "dynamodb:DeleteItem": {"TicketsTable"},
        **_log("WsAuthorizerLogs"),
        **_TRACES,
    },
    "WsMessageRole": {
        **_SENDS,
        "sqs:SendMessage": {_LANES, _INBOXES},
        "ssm:GetParameter": {_TIERS},
        "execute-api:ManageConnections": {_CONNECTIONS},
        **_log("WsMessageLogs"),
        **_TRACES,
    },
    "PurgeChatRole": {
        "dynamodb:BatchWriteItem": {"CheckpointsTable", "MessagesTable"},
        "dynamodb:DeleteItem": {"ChatsTable", "RunsTable", "SummariesTable"},
        "dynamodb:GetItem": {"RunsTable"},
        "dynamodb:Query": {"CheckpointsTable", "MessagesTable", "SummariesTable"},
        "dynamodb:PutItem": {"MessagesTable"},
        "dynamodb:UpdateItem": {"ChatsTable", "LedgersTable", "RunsTable", "UsageTable"},
        "sqs:SendMessage": {_INBOXES},
        **_log("PurgeChatLogs"),
        **_TRACES,
    },
    "PurgeStateMachineRole": {
        "lambda:InvokeFunction": {"PurgeChatFunction"},
        **_OF_A_STATE_MACHINE,
    },
    "PurgeAccountRole": {
        "dynamodb:BatchWriteItem": {*_OF_A_CHAT, "UsageTable", "TicketsTable"},
        "dynamodb:DeleteItem": {*_OF_A_CHAT, "LedgersTable"},
        "dynamodb:GetItem": {*_OF_A_CHAT, "LedgersTable"},
        "dynamodb:Query": {*_OF_A_CHAT, "UsageTable"},
        "dynamodb:Scan": {"TicketsTable"},
        "dynamodb:PutItem": {"MessagesTable"},
        "dynamodb:UpdateItem": {"ChatsTable", "LedgersTable", "RunsTable", "UsageTable"},
        "sqs:SendMessage": {_INBOXES},
        "s3:ListBucket": {"ExportsBucket"},
        "s3:DeleteObject": {_EXPORT_FILES},
        "cognito-idp:AdminDeleteUser": {"UserPool"},
        "cognito-idp:AdminDisableUser": {"UserPool"},
        "cognito-idp:AdminUserGlobalSignOut": {"UserPool"},
        **_log("PurgeAccountLogs"),
        **_TRACES,
    },
    "PurgeAccountStateMachineRole": {
        "lambda:InvokeFunction": {"PurgeAccountFunction"},
        **_OF_A_STATE_MACHINE,
    },
    "ExportAccountRole": {
        "dynamodb:GetItem": {"LedgersTable"},
        "dynamodb:Query": {"ChatsTable", "MessagesTable", "SummariesTable", "UsageTable"},
        "s3:PutObject": {_EXPORT_FILES},
        "kms:GenerateDataKey": {"DataKey"},
        "cognito-idp:AdminGetUser": {"UserPool"},
        **_log("ExportAccountLogs"),
        **_TRACES,
    },
    "ExportStateMachineRole": {
        "lambda:InvokeFunction": {"ExportAccountFunction"},
        **_OF_A_STATE_MACHINE,
    },
    "DrainWorkerRole": {
        "dynamodb:GetItem": {"WorkersTable"},
        "sqs:SendMessage": {_INBOXES},
        **_log("DrainWorkerLogs"),
        **_TRACES,
    },
    "DrainStateMachineRole": {
        "lambda:InvokeFunction": {"DrainWorkerFunction"},
        **_OF_A_STATE_MACHINE,
    },
    "RedriveRunsRole": {
        "dynamodb:GetItem": {"RunsTable", "LedgersTable", "CalendarsTable"},
        "dynamodb:Scan": {"RunsTable"},
        "dynamodb:UpdateItem": {"RunsTable", "LedgersTable"},
        "sqs:SendMessage": {_LANES},
        **_log("RedriveRunsLogs"),
        **_TRACES,
    },
    "RedriveStateMachineRole": {
        "lambda:InvokeFunction": {"RedriveRunsFunction"},
        **_OF_A_STATE_MACHINE,
    },
    "CompactChatRole": {
        "dynamodb:GetItem": {"ChatsTable", "SummariesTable"},
        "dynamodb:PutItem": {"RunsTable"},
        "dynamodb:UpdateItem": {"ChatsTable"},
        "dynamodb:DeleteItem": {"SummariesTable"},
        "dynamodb:Query": {"SummariesTable"},
        **_log("CompactChatLogs"),
        **_TRACES,
    },
    "CompactStateMachineRole": {
        "lambda:InvokeFunction": {"CompactChatFunction"},
        "sqs:SendMessage": {"LaneBackgroundReturns"},
        **_OF_A_STATE_MACHINE,
    },
    "RolloutRole": {
        "lambda:GetAlias": {_FUNCTIONS},
        "lambda:GetProvisionedConcurrencyConfig": {_FUNCTIONS},
        "lambda:UpdateAlias": {_FUNCTIONS},
        "cloudwatch:DescribeAlarms": {"*"},
    },
}

# The services behind these take no resource in a policy, or only an account-wide one.
WITHOUT_RESOURCE = ("xray:", "logs:", "cloudwatch:DescribeAlarms")
WITH_PATTERN = {_LANES, _INBOXES, _CONNECTIONS, _FUNCTIONS, _EXPORT_EXECUTIONS, _EXPORT_FILES}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _statements(role: str) -> Iterator[Mapping[str, Any]]:
    """With those that stand there only where the stack has a key of its own."""
    for policy in properties(role)["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            if "Fn::If" in statement:
                condition, statement, otherwise = statement["Fn::If"]
                assert (condition, otherwise) == ("HasDataKey", {"Ref": "AWS::NoValue"})
            yield statement


def _target(resource: object) -> str:
    if isinstance(resource, str):
        return resource
    assert isinstance(resource, Mapping)
    if "Fn::Sub" in resource:
        return str(resource["Fn::Sub"])
    return next(references(resource))


@pytest.mark.parametrize("role", sorted(of_type("AWS::IAM::Role")))
def test_role_may_do_what_is_listed_and_nothing_else(role: str) -> None:
    granted: dict[str, set[str]] = defaultdict(set)
    for statement in _statements(role):
        assert statement["Effect"] == "Allow"
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        is_of_the_key = "DataKey" in references(statement["Resource"])
        assert statement.get("Condition") == (_THROUGH_FILES if is_of_the_key else None)
        for action in _listed(statement["Action"]):
            granted[action] |= {_target(resource) for resource in _listed(statement["Resource"])}
    assert granted == PERMISSIONS[role]
    assert "ManagedPolicyArns" not in properties(role)


def test_no_action_is_a_pattern_and_few_resources_are() -> None:
    for role, permissions in PERMISSIONS.items():
        for action, targets in permissions.items():
            assert "*" not in action, role
            for target in targets - WITH_PATTERN:
                if "*" in target:
                    assert target == "*", (role, target)
                    assert action.startswith(WITHOUT_RESOURCE), (role, action)


def test_no_function_is_told_of_a_table_that_it_may_not_use() -> None:
    for name in of_type("AWS::Serverless::Function"):
        role = next(references(properties(name)["Role"]))
        told = {
            value["Ref"]
            for variable, value in properties(name)["Environment"]["Variables"].items()
            if variable.endswith("_TABLE")
        }
        usable = {
            target
            for targets in PERMISSIONS[role].values()
            for target in targets
            if target in of_type("AWS::DynamoDB::Table")
        }
        assert told == usable, name


def test_a_role_is_for_one_service_and_one_resource() -> None:
    for role, body in of_type("AWS::IAM::Role").items():
        if role == "RolloutRole":
            # CodeDeploy takes it for whichever function changes (test_rollout.py).
            continue
        trust = body["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert [statement["Action"] for statement in trust] == ["sts:AssumeRole"]
        users = [
            name
            for name, other in RESOURCES.items()
            if role in set(references(other["Properties"].get("Role")))
        ]
        assert len(users) == 1, role


def test_functions_are_invoked_by_this_stacks_apis_only() -> None:
    for name, body in of_type("AWS::Lambda::Permission").items():
        permission = body["Properties"]
        assert permission["Principal"] == "apigateway.amazonaws.com", name
        assert {"HttpApi", "WebSocketApi"} & set(references(permission["SourceArn"])), name
