"""`python -m deploy.console` writes operations/template.yaml; with `--check` it says whether that is in step.

It is made from the code that emits the metrics, so that no alarm waits for one that nobody tells.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from deploy.console.alarms import alarms
from deploy.console.dashboard import dashboard_body
from deploy.console.queries import QUERIES

PATH = Path(__file__).parents[2] / "operations" / "template.yaml"

_HEAD = """\
# Made by `python -m deploy.console` from deploy/console: change that, not this.
# Nested in template.yaml by its parameter Console. The emulator does not know of saved queries.

"""

_GROUPS = (
    "http_api",
    "ws_message",
    "ws_authorizer",
    "purge_chat",
    "compact_chat",
    "purge_account",
    "export_account",
    "drain_worker",
    "redrive_runs",
)

_PARAMETERS: dict[str, dict[str, object]] = {
    "Stack": {"Type": "String", "Description": "Name of the stack that is looked at"},
    "HttpApi": {"Type": "String", "Description": "Id of its HTTP API"},
    "HttpApiFunction": {"Type": "String"},
    "WsMessageFunction": {"Type": "String"},
    "WsAuthorizerFunction": {"Type": "String"},
    "PurgeStateMachine": {"Type": "String", "Description": "ARN"},
    "PurgeAccountStateMachine": {"Type": "String", "Description": "ARN"},
    "ExportStateMachine": {"Type": "String", "Description": "ARN"},
    "CompactStateMachine": {"Type": "String", "Description": "ARN"},
    "WorkerLogGroup": {
        "Type": "String",
        "Default": "",
        "Description": "Where the workers log to; empty where that is not CloudWatch Logs",
    },
    "AlarmEmail": {
        "Type": "String",
        "Default": "",
        "Description": "Who is told of alarms; he has to confirm that. Empty for nobody",
    },
    "RunbookUrl": {
        "Type": "String",
        "Default": "docs/runbooks.md",
        "Description": "Where the runbooks are read",
    },
    "WorkerHourUsd": {
        "Type": "Number",
        "Default": 2,
        "Description": "What a worker costs by the hour, for the modelled cost of answers",
    },
    "BusyAMinute": {
        "Type": "Number",
        "Default": 10,
        "Description": "Sends a minute that may fail because AWS is in trouble",
    },
    "PostsAMinute": {
        "Type": "Number",
        "Default": 480000,
        "Description": "80 % of what the account may post in a minute",
    },
    "MonthlySpendUsd": {
        "Type": "Number",
        "Default": 0,
        "Description": "Bill of the account that is too much; 0 for no alarm, as anywhere but in us-east-1",
    },
}


class _Lines(str):
    """Text that is written as a block."""


class _Dumper(yaml.SafeDumper):
    """No aliases: each resource is read by itself."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(
    _Lines, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def template() -> dict[str, object]:
    resources: dict[str, object] = {**_topic()}
    resources["Dashboard"] = {
        "Type": "AWS::CloudWatch::Dashboard",
        "Properties": {
            "DashboardName": {"Fn::Sub": "${Stack}"},
            "DashboardBody": {"Fn::Sub": _Lines(dashboard_body())},
        },
    }
    for alarm in alarms():
        resources[f"{_logical_id(alarm.name)}Alarm"] = alarm.resource()
    for name, query in QUERIES.items():
        resources[f"{_logical_id(name)}Query"] = _query(name, query)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "chatcore - dashboard, alarms and saved queries",
        "Parameters": _PARAMETERS,
        "Conditions": {
            "HasAlarmEmail": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]}]},
            "HasWorkerLogGroup": {"Fn::Not": [{"Fn::Equals": [{"Ref": "WorkerLogGroup"}, ""]}]},
            "HasSpendAlarm": {"Fn::Not": [{"Fn::Equals": [{"Ref": "MonthlySpendUsd"}, 0]}]},
        },
        "Resources": resources,
        "Outputs": {
            "AlarmTopic": {
                "Description": "Topic that alarms are told on",
                "Value": {"Ref": "AlarmTopic"},
            }
        },
    }


def _topic() -> dict[str, object]:
    account = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
    by_alarms = {"Service": "cloudwatch.amazonaws.com"}
    ours_only = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    return {
        # CloudWatch cannot use the key that AWS keeps for SNS: a topic of its own needs a key of its own.
        "AlarmKey": {
            "Type": "AWS::KMS::Key",
            "DeletionPolicy": "Delete",
            "UpdateReplacePolicy": "Delete",
            "Properties": {
                "Description": {"Fn::Sub": "What ${Stack}'s alarms say"},
                "EnableKeyRotation": True,
                "KeyPolicy": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "TheAccount",
                            "Effect": "Allow",
                            "Principal": {"AWS": account},
                            "Action": "kms:*",
                            "Resource": "*",
                        },
                        {
                            "Sid": "Alarms",
                            "Effect": "Allow",
                            "Principal": by_alarms,
                            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
                            "Resource": "*",
                            "Condition": ours_only,
                        },
                    ],
                },
            },
        },
        "AlarmTopic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {
                "TopicName": {"Fn::Sub": "${Stack}-alarms"},
                "KmsMasterKeyId": {"Ref": "AlarmKey"},
            },
        },
        "AlarmTopicPolicy": {
            "Type": "AWS::SNS::TopicPolicy",
            "Properties": {
                "Topics": [{"Ref": "AlarmTopic"}],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "Alarms",
                            "Effect": "Allow",
                            "Principal": by_alarms,
                            "Action": "sns:Publish",
                            "Resource": {"Ref": "AlarmTopic"},
                            "Condition": ours_only,
                        }
                    ],
                },
            },
        },
        "AlarmMail": {
            "Type": "AWS::SNS::Subscription",
            "Condition": "HasAlarmEmail",
            "Properties": {
                "TopicArn": {"Ref": "AlarmTopic"},
                "Protocol": "email",
                "Endpoint": {"Ref": "AlarmEmail"},
            },
        },
    }


def _query(name: str, query: str) -> dict[str, object]:
    workers = {"Fn::If": ["HasWorkerLogGroup", {"Ref": "WorkerLogGroup"}, {"Ref": "AWS::NoValue"}]}
    groups = [{"Fn::Sub": f"/aws/lambda/${{Stack}}/{group}"} for group in _GROUPS]
    return {
        "Type": "AWS::Logs::QueryDefinition",
        "Properties": {
            "Name": {"Fn::Sub": f"${{Stack}}/{name}"},
            "LogGroupNames": [*groups, workers],
            "QueryString": _Lines(query),
        },
    }


def _logical_id(name: str) -> str:
    return "".join(
        word.capitalize() for word in name.replace("_", "-").replace(" ", "-").split("-")
    )


def written() -> str:
    return _HEAD + yaml.dump(
        template(), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.console", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    if parser.parse_args().check:
        if PATH.read_text(encoding="utf-8") != written():
            print(
                "operations/template.yaml is not in step: python -m deploy.console", file=sys.stderr
            )
            return 1
        return 0
    PATH.write_text(written(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
