"""Owns the dashboard: what stands where, and of which metrics it is made."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chatcore.adapters.measures import NO_TIER
from chatcore.domain.calendar import LANES
from chatcore.domain.tiers import USER_TIERS, Tier
from deploy.console.metrics import FUNCTIONS, Metric, aws, ours
from gpu_service.worker.measures import TELL_EVERY_S

WIDTH, HEIGHT = 8, 6
COLUMNS = 3
"""Of CloudWatch's 24 units."""

Row = list[object]
Options = Mapping[str, object]


def dashboard_body() -> str:
    """JSON, for `Fn::Sub`: it refers to the template's parameters."""
    placed: list[dict[str, Any]] = [
        {
            "type": "metric",
            "x": place % COLUMNS * WIDTH,
            "y": place // COLUMNS * HEIGHT,
            "width": WIDTH,
            "height": HEIGHT,
            "properties": properties,
        }
        for place, properties in enumerate(_widgets())
    ]
    widgets = ",\n".join(_written(widget) for widget in placed)
    return f'{{"widgets": [\n{widgets}\n]}}\n'


def _written(widget: dict[str, Any]) -> str:
    """A line for each metric, so that a change of one is seen as one."""
    rows = widget["properties"].pop("metrics")
    head = json.dumps(widget).removesuffix("}}")
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    return f'{head}, "metrics": [\n{lines}\n]}}}}'


def _widgets() -> list[dict[str, object]]:
    return [
        *(_first_text(tier) for tier in USER_TIERS),
        _graph("Time between tokens, ms", _by_tier("itl_ms", {"stat": "p50"}, {"stat": "p95"})),
        _graph("Whole answers, ms", _by_tier("total_ms", {"stat": "p50"}, {"stat": "p95"})),
        _graph(
            "Wait for the first slot, ms",
            _by_tier("queue_ms", {"stat": "p50"}, {"stat": "Maximum"}),
        ),
        _graph("Waiting runs", _by_tier("waiting", {"stat": "Maximum"}, tiers=tuple(Tier))),
        _graph(
            "Slot time that waits, s",
            _by_tier("backlog_slot_s", {"stat": "Maximum"}, tiers=tuple(Tier)),
        ),
        _graph(
            "Runs begun a second", _by_tier("starts_per_s", {"stat": "Average"}, tiers=tuple(Tier))
        ),
        *(_lanes(tier) for tier in USER_TIERS),
        _slots(),
        _cache(),
        _graph("Tokens written", _by_tier("output_tokens", {"stat": "Sum"}, tiers=tuple(Tier))),
        _graph("Answers", _by_tier("completed", {"stat": "Sum"})),
        _graph("Answers that failed, share", _by_tier("failed", {"stat": "Average"})),
        _graph("Answers that were cancelled", _by_tier("cancelled", {"stat": "Sum"})),
        _graph(
            "From a stop to the free slot, ms",
            _by_tier("cancel_ms", {"stat": "p50"}, {"stat": "p95"}),
        ),
        _graph("Rewinds", _by_tier("rewinds", {"stat": "Sum"})),
        _graph("Preemptions", _by_tier("preemptions", {"stat": "Sum"})),
        _graph(
            "Sends",
            [_row(ours("sends", f, t), {"stat": "Sum"}) for f in FUNCTIONS for t in USER_TIERS],
        ),
        _graph("Refusals", [_row(ours("refused", f, t), {"stat": "Sum"}) for f, t in _refusing()]),
        _graph(
            "Refusals for a spent budget",
            [
                _row(ours("budget_rejections", f, t), {"stat": "Sum"})
                for f in FUNCTIONS
                for t in USER_TIERS
            ],
        ),
        _graph("Faults and trouble", _faults()),
        _graph("Sockets opened", _connections()),
        _graph(
            "Posts to viewers",
            [_row(ours(n), {"stat": "Sum"}) for n in ("posts", "post_failures", "throttled_posts")],
        ),
        _graph(
            "Viewers", [_row(ours("viewers"), {"stat": "Average"})], note="of a worker, on the mean"
        ),
        _graph("Dead letters", [_queue("ApproximateNumberOfMessagesVisible", "dead-letters")]),
        _cost(),
    ]


def _first_text(tier: Tier) -> dict[str, object]:
    metric = ours("ttft_ms", tier=tier)
    rows = [_row(metric, {"stat": stat, "label": stat}) for stat in ("p50", "p95", "p99")]
    return _graph(f"Time to first text, ms: {tier}", rows)


def _by_tier(name: str, *options: Options, tiers: Sequence[Tier] = USER_TIERS) -> list[Row]:
    return [
        _row(ours(name, tier=tier), {**each, "label": f"{tier} {each['stat']}"})
        for tier in tiers
        for each in options
    ]


def _refusing() -> Iterable[tuple[str, str]]:
    for function in FUNCTIONS:
        yield from ((function, str(tier)) for tier in USER_TIERS)
    yield "http_api", NO_TIER


def _lanes(tier: Tier) -> dict[str, object]:
    """Depth on the left, age on the right."""
    rows = []
    for lane in (lane for lane in LANES if lane.tier is tier):
        rows.append(
            _queue("ApproximateNumberOfMessagesVisible", f"lane-{lane}", label=f"{lane.index}")
        )
        rows.append(
            _queue(
                "ApproximateAgeOfOldestMessage",
                f"lane-{lane}",
                label=f"{lane.index} age, s",
                yAxis="right",
            )
        )
    return _graph(f"Lanes: {tier}", rows)


def _slots() -> dict[str, object]:
    """Each worker tells of itself every few seconds: sums of a period are that many times too great."""
    times = f"(PERIOD(slots) / {TELL_EVERY_S:g})"
    return _graph(
        "Slots of the fleet",
        [
            _row(ours("slots"), {"id": "slots", "stat": "Sum", "visible": False}),
            _row(ours("busy_slots"), {"id": "busy", "stat": "Sum", "visible": False}),
            _row(ours("ready"), {"id": "ready", "stat": "Sum", "visible": False}),
            _formula(f"slots / {times}", "slots"),
            _formula(f"busy / {times}", "busy"),
            _formula(f"ready / {times}", "workers that are ready"),
        ],
    )


def _cache() -> dict[str, object]:
    rows: list[Row] = []
    for tier in USER_TIERS:
        for name in ("cached_tokens", "input_tokens"):
            hidden = {"id": f"{name[:2]}_{tier}", "stat": "Sum", "visible": False}
            rows.append(_row(ours(name, tier=tier), hidden))
        rows.append(_formula(f"100 * ca_{tier} / in_{tier}", str(tier)))
    return _graph("Prompt tokens that were cached, %", rows)


def _faults() -> list[Row]:
    rows = [_row(ours(n, f), {"stat": "Sum"}) for n in ("faults", "busy") for f in FUNCTIONS]
    for parameter in ("HttpApiFunction", "WsMessageFunction", "WsAuthorizerFunction"):
        for name in ("Errors", "Throttles"):
            metric = aws("AWS/Lambda", name, FunctionName=f"${{{parameter}}}")
            rows.append(_row(metric, {"stat": "Sum"}))
    rows.append(_row(aws("AWS/ApiGateway", "5xx", ApiId="${HttpApi}"), {"stat": "Sum"}))
    return rows


def _connections() -> list[Row]:
    names = ("connections", "refused_connections")
    return [_row(ours(name, "ws_authorizer"), {"stat": "Sum"}) for name in names]


def _cost() -> dict[str, object]:
    """What the workers that were there cost, by the answers that they gave. Modelled: it knows their price
    by the hour, and neither Spot's discount nor AWS's other services."""
    answers = [
        _row(ours("completed", tier=tier), {"id": f"n_{tier}", "stat": "Sum", "visible": False})
        for tier in USER_TIERS
    ]
    total = " + ".join(f"FILL(n_{tier}, 0)" for tier in USER_TIERS)
    hours = f"heard * {TELL_EVERY_S:g} / 3600"
    heard = {"id": "heard", "stat": "SampleCount", "visible": False}
    return _graph(
        "Workers' cost of 1,000 answers, $ (modelled)",
        [
            *answers,
            _row(ours("slots"), heard),
            _formula(f"1000 * {hours} * ${{WorkerHourUsd}} / ({total})", "$ for 1,000 answers"),
        ],
        period_s=3600,
    )


def _graph(
    title: str, rows: Iterable[Row], note: str = "", period_s: int = 60
) -> dict[str, object]:
    return {
        "title": f"{title} ({note})" if note else title,
        "region": "${AWS::Region}",
        "period": period_s,
        "view": "timeSeries",
        "stat": "Average",
        "metrics": list(rows),
    }


def _row(metric: Metric, options: Options) -> Row:
    pairs = [part for pair in metric.dimensions.items() for part in pair]
    return [metric.namespace, metric.name, *pairs, dict(options)]


def _queue(name: str, queue: str, **options: object) -> Row:
    metric = aws("AWS/SQS", name, QueueName=f"${{Stack}}-{queue}")
    return _row(metric, {"stat": "Maximum", **options})


def _formula(expression: str, label: str) -> Row:
    return [{"expression": expression, "label": label}]
