"""Owns when an operator is called, and by which page he is told what to do.

No alarm is a formula over several metrics: each can be read off one line of the dashboard, and the emulator
takes it. What costs users nothing calls nobody.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chatcore.domain.tiers import DEFAULTS, USER_TIERS, Tier
from deploy.console.metrics import FUNCTIONS, Metric, aws, ours

FIRST_TEXT_MS = {Tier.FREE: 30_000, Tier.PLUS: 10_000, Tier.PRO: 5_000}
"""At the 95th percentile. A free user may have to wait for a slot; who pays waits for little."""

FAILED_SHARE = 0.05
MINUTE_S = 60
BILLING_PERIOD_S = 21_600
"""AWS updates its estimate a few times a day."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """statistic: of each minute; threshold: beyond it, `above` or below, is bad; minutes: so many of the
    last `of` ones have to be bad; silence: what a minute without data is; runbook: heading of the page;
    condition: of the template, else always."""

    name: str
    metric: Metric
    statistic: str
    threshold: object
    says: str
    runbook: str
    above: bool = True
    minutes: int = 3
    of: int = 5
    silence: str = "notBreaching"
    period_s: int = MINUTE_S
    condition: str | None = None

    def resource(self) -> dict[str, object]:
        percentile = self.statistic.startswith("p")
        description = f"{self.says} ${{RunbookUrl}}#{self.runbook}"
        body: dict[str, object] = {"Type": "AWS::CloudWatch::Alarm"}
        if self.condition:
            body["Condition"] = self.condition
        body["Properties"] = {
            "AlarmName": {"Fn::Sub": f"${{Stack}}-{self.name}"},
            "AlarmDescription": {"Fn::Sub": description},
            "Namespace": self.metric.namespace,
            "MetricName": self.metric.name,
            "Dimensions": _dimensions(self.metric.dimensions),
            "ExtendedStatistic" if percentile else "Statistic": self.statistic,
            "Period": self.period_s,
            "DatapointsToAlarm": self.minutes,
            "EvaluationPeriods": self.of,
            "Threshold": self.threshold,
            "ComparisonOperator": f"{'Greater' if self.above else 'Less'}ThanThreshold",
            "TreatMissingData": self.silence,
            "AlarmActions": [{"Ref": "AlarmTopic"}],
            "OKActions": [{"Ref": "AlarmTopic"}],
        }
        return body


def _dimensions(dimensions: Mapping[str, object]) -> list[dict[str, object]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]


def alarms() -> Iterator[Alarm]:
    for tier in USER_TIERS:
        yield from _of_tier(tier)
    yield Alarm(
        "no-worker",
        ours("ready"),
        "Maximum",
        1,
        "No worker tells that its engine answers: nobody gets an answer.",
        "no-worker",
        above=False,
        minutes=3,
        of=3,
        silence="breaching",
    )
    yield Alarm(
        "dead-letters",
        aws(
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            QueueName={"Fn::Sub": "${Stack}-dead-letters"},
        ),
        "Maximum",
        0,
        "There are messages in the dead letter queue.",
        "dead-letters",
        minutes=1,
        of=1,
    )
    for function in FUNCTIONS:
        yield Alarm(
            f"faults-{function}",
            ours("faults", function),
            "Sum",
            0,
            f"{function} told clients of a fault of ours.",
            "faults",
        )
    for function, parameter in (
        ("http_api", "HttpApiFunction"),
        ("ws_message", "WsMessageFunction"),
        ("ws_authorizer", "WsAuthorizerFunction"),
    ):
        yield Alarm(
            f"errors-{function}",
            aws("AWS/Lambda", "Errors", FunctionName={"Ref": parameter}),
            "Sum",
            0,
            f"{function} ended with an error, ran out of time or of memory.",
            "faults",
        )
    yield Alarm(
        "http-5xx",
        aws("AWS/ApiGateway", "5xx", ApiId={"Ref": "HttpApi"}),
        "Sum",
        0,
        "The HTTP API answered with a status of 500 or more; a 503 is `busy`, `queue_too_old` or"
        " `tier_paused`.",
        "faults",
        minutes=5,
    )
    yield Alarm(
        "busy",
        ours("busy", "ws_message"),
        "Sum",
        {"Ref": "BusyAMinute"},
        "Many sends could not be done: AWS throttles, or is in trouble.",
        "busy",
    )
    for machine, parameter in (
        ("purge", "PurgeStateMachine"),
        ("purge-account", "PurgeAccountStateMachine"),
        ("export", "ExportStateMachine"),
        ("compact", "CompactStateMachine"),
    ):
        yield Alarm(
            f"{machine}-failed",
            aws("AWS/States", "ExecutionsFailed", StateMachineArn={"Ref": parameter}),
            "Sum",
            # One summary less is a prompt with less in it; what was promised to a user is another matter.
            10 if machine == "compact" else 0,
            f"Executions of {machine} failed.",
            f"{machine}-failed",
            minutes=1,
            of=1,
            period_s=300,
        )
    yield Alarm(
        "posts-throttled",
        ours("throttled_posts"),
        "Sum",
        0,
        "API Gateway throttles frames to viewers: text comes late.",
        "posts-throttled",
    )
    yield Alarm(
        "posts-near-quota",
        ours("posts"),
        "Sum",
        {"Ref": "PostsAMinute"},
        "Frames to viewers take most of the account's quota of requests.",
        "posts-throttled",
    )
    yield Alarm(
        "spend",
        aws("AWS/Billing", "EstimatedCharges", Currency="USD"),
        "Maximum",
        {"Ref": "MonthlySpendUsd"},
        "The account's bill of this month is beyond what was planned.",
        "spend",
        minutes=1,
        of=1,
        period_s=BILLING_PERIOD_S,
        condition="HasSpendAlarm",
    )


def _of_tier(tier: Tier) -> Iterator[Alarm]:
    yield Alarm(
        f"first-text-{tier}",
        ours("ttft_ms", tier=tier),
        "p95",
        FIRST_TEXT_MS[tier],
        f"Of {tier} users' answers, more than one in twenty begins late.",
        "first-text",
    )
    yield Alarm(
        f"wait-{tier}",
        ours("queue_ms", tier=tier),
        "Maximum",
        # What a send is refused for, when it is expected.
        DEFAULTS[tier].max_wait_s * 1000,
        f"Runs of {tier} wait for longer than their users were to.",
        "wait",
    )
    yield Alarm(
        f"stalled-{tier}",
        ours("stalled", tier=tier),
        "Minimum",
        0,
        f"Runs of {tier} wait, and none of them is begun.",
        "stalled",
        minutes=3,
        of=3,
    )
    yield Alarm(
        f"failed-{tier}",
        ours("failed", tier=tier),
        "Average",
        FAILED_SHARE,
        f"Of {tier} users' answers, more than one in twenty fails.",
        "failed",
    )
