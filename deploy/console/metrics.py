"""Owns how the console names metrics: ours by the code that emits them, AWS's by a list of those in use."""

from collections.abc import Mapping
from dataclasses import dataclass

from chatcore.adapters.measures import NAMESPACE, OF_FUNCTIONS
from chatcore.domain.tiers import Tier
from gpu_service.worker.measures import OF_THE_WORKER
from gpu_service.worker.measures import SERVICE as WORKER

FUNCTIONS = ("ws_message", "http_api")
"""Services that clients speak to."""

_UNITS = {
    name: (measures.by_tier, unit)
    for measures in (*OF_FUNCTIONS, *OF_THE_WORKER)
    for name, unit in measures.units.items()
}

AWS_METRICS = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName"},
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): {"QueueName"},
    ("AWS/Lambda", "Errors"): {"FunctionName"},
    ("AWS/Lambda", "Throttles"): {"FunctionName"},
    ("AWS/Lambda", "Duration"): {"FunctionName"},
    ("AWS/States", "ExecutionsFailed"): {"StateMachineArn"},
    ("AWS/ApiGateway", "5xx"): {"ApiId"},
    ("AWS/Billing", "EstimatedCharges"): {"Currency"},
}
"""With their dimensions (vendor's pages: the services' lists of CloudWatch metrics)."""


@dataclass(frozen=True, slots=True)
class Metric:
    namespace: str
    name: str
    dimensions: Mapping[str, object]


def ours(name: str, service: str = WORKER, tier: Tier | str | None = None) -> Metric:
    """Raises KeyError where the code emits no such metric, ValueError where not with these dimensions."""
    by_tier, _ = _UNITS[name]
    if by_tier is (tier is None):
        raise ValueError(f"{name} is {'' if by_tier else 'not '}told apart by tier")
    return Metric(NAMESPACE, name, {"service": service} | ({"tier": str(tier)} if tier else {}))


def aws(namespace: str, name: str, **dimensions: object) -> Metric:
    """Raises ValueError where it is not one of those in use."""
    if AWS_METRICS.get((namespace, name)) != set(dimensions):
        raise ValueError(f"{namespace} {name} is not known with {sorted(dimensions)}")
    return Metric(namespace, name, dimensions)
