"""Owns the form of metrics, and those of the functions. A metric is part of a log line.

CloudWatch makes the numbers of a line into metrics where the line says so (embedded metric format):
nothing is called for them, and nobody waits. Told apart are only the service and, for some, the tier: each
further difference would be a metric of its own on the bill. Whatever else a line says, as a run's id, is
for Logs Insights.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chatcore.domain.errors import Code
from chatcore.domain.tiers import Tier

NAMESPACE = "chatcore"

NO_TIER = "none"
"""Of those whose tier is not known, because they have not signed in."""


@dataclass(frozen=True, slots=True)
class Measures:
    """The metrics of some log lines. lines: their names; units: of each metric; by_tier: whether they are
    told apart by tier."""

    lines: tuple[str, ...]
    units: Mapping[str, MetricUnit]
    by_tier: bool = True

    def of(
        self, service: str, values: Mapping[str, float | None], tier: Tier | None = None
    ) -> dict[str, object]:
        """What goes into the line. None: there is no such figure this time. Raises KeyError where a metric
        is not one of these."""
        known = {name: value for name, value in values.items() if value is not None}
        if not known:
            return {}
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=service)
        if self.by_tier:
            metrics.add_dimension("tier", str(tier or NO_TIER))
        for name, value in known.items():
            metrics.add_metric(name, self.units[name], value)
        # As numbers, which the format takes too: people and queries read lines without lists better.
        return {**metrics.serialize_metric_set(), **known}


SENDS = Measures(("run.submitted",), {"sends": MetricUnit.Count})

_REFUSED = ("action.refused", "frame.refused", "request.refused")

REFUSALS = Measures(_REFUSED, dict.fromkeys(("refused", "budget_rejections"), MetricUnit.Count))

TROUBLES = Measures(_REFUSED, dict.fromkeys(("busy", "faults"), MetricUnit.Count), by_tier=False)

CONNECTIONS = Measures(
    ("connection.authorized", "connection.refused"),
    dict.fromkeys(("connections", "refused_connections"), MetricUnit.Count),
    by_tier=False,
)

OF_FUNCTIONS = (SENDS, REFUSALS, TROUBLES, CONNECTIONS)


def of_send(service: str, tier: Tier, repeat: bool) -> dict[str, object]:
    """A repeat is the same send."""
    return SENDS.of(service, {"sends": None if repeat else 1}, tier)


def of_refusal(service: str, code: Code, tier: Tier | None) -> dict[str, object]:
    """What a client was told in place of what it asked for: by us on purpose, or because something failed."""
    if code is Code.INTERNAL_ERROR:
        return TROUBLES.of(service, {"faults": 1})
    if code is Code.BUSY:
        return TROUBLES.of(service, {"busy": 1})
    rejected = 1 if code is Code.BUDGET_EXHAUSTED else None
    return REFUSALS.of(service, {"refused": 1, "budget_rejections": rejected}, tier)


def of_connection(service: str, authorized: bool) -> dict[str, object]:
    return CONNECTIONS.of(service, {"connections" if authorized else "refused_connections": 1})
