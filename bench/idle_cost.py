"""What the stack costs in a month in which nobody uses it and no worker runs, by the template's resources.

    usd = Σ over types of resources: how many × what one costs standing still

Owns which types cost something by standing there. A type that is not named here stops the count: whoever
adds one says what it costs, if it is nothing too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.prices import Price

PRICED: Mapping[str, str] = {
    "AWS::KMS::Key": "kms_key_month",
    "AWS::CloudWatch::Alarm": "alarm_month",
    "AWS::CloudWatch::CompositeAlarm": "composite_alarm_month",
    "AWS::CloudWatch::Dashboard": "dashboard_month",
    "AWS::WAFv2::WebACL": "waf_acl_month",
    "AWS::SSM::Parameter": "ssm_standard_parameter",
}

FREE = frozenset(
    {
        # By use alone.
        "AWS::ApiGatewayV2::Api",
        "AWS::CloudFront::Distribution",
        "AWS::CloudFront::Function",
        "AWS::Cognito::UserPool",
        "AWS::DynamoDB::Table",
        "AWS::Events::Rule",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
        "AWS::Scheduler::Schedule",
        "AWS::Serverless::Function",
        "AWS::Serverless::StateMachine",
        # Parts and permissions of others.
        "AWS::ApiGateway::Account",
        "AWS::ApiGatewayV2::Authorizer",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::Budgets::Budget",
        "AWS::CloudFront::OriginAccessControl",
        "AWS::CloudFront::ResponseHeadersPolicy",
        "AWS::CodeDeploy::Application",
        "AWS::CodeDeploy::DeploymentGroup",
        "AWS::Cognito::UserPoolClient",
        "AWS::Cognito::UserPoolGroup",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Role",
        "AWS::KMS::Alias",
        "AWS::Lambda::Alias",
        "AWS::Lambda::Permission",
        "AWS::Logs::MetricFilter",
        "AWS::Logs::QueryDefinition",
        "AWS::Logs::ResourcePolicy",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::Serverless::LayerVersion",
        "AWS::WAFv2::WebACLAssociation",
        "AWS::XRay::Group",
        "AWS::XRay::SamplingRule",
        # The GPU fleet, which is not counted here.
        "AWS::CloudFormation::Stack",
        "AWS::Serverless::Application",
    }
)


class Unpriced(Exception):
    """A type of resource of which nobody has said what it costs."""


@dataclass(frozen=True)
class Standing:
    """What resources of one kind cost in a month."""

    part: str
    count: int
    usd_each: float

    @property
    def usd(self) -> float:
        return self.count * self.usd_each


def idle_month(
    resources: Mapping[str, Mapping[str, Any]], prices: Mapping[str, Price]
) -> list[Standing]:
    """resources: of the template, those behind conditions too. Those that cost something come first, by what
    they come to; the rest is one line. Raises Unpriced."""
    counts = Counter(str(resource["Type"]) for resource in resources.values())
    unknown = counts.keys() - PRICED.keys() - FREE
    if unknown:
        raise Unpriced(f"what does {', '.join(sorted(unknown))} cost? (bench/idle_cost.py)")
    found = [
        Standing(kind, count, prices[PRICED[kind]].usd_each)
        for kind, count in counts.items()
        if kind in PRICED
    ]
    rules = sum(1 for resource in resources.values() for _ in _rules(resource))
    if rules:
        found.append(Standing("rules of web ACLs", rules, prices["waf_rule_month"].usd_each))
    found.sort(key=lambda each: (-each.usd, each.part))
    free = sum(count for kind, count in counts.items() if kind in FREE)
    return [*found, Standing("all others, by use alone", free, 0.0)]


def _rules(resource: Mapping[str, Any]) -> Iterator[object]:
    if resource["Type"] == "AWS::WAFv2::WebACL":
        yield from resource.get("Properties", {}).get("Rules", ())
