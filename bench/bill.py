"""A bill of AWS calls, and what it comes to by list prices (`bench/prices.toml`).

Fair queues cost more on standard queues, by a page that does not say which requests it is on; here it is
left out, and `bench.answer_cost` has it as a line of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from bench.prices import prices

_PRICES = prices()

POST = "ApiGatewayManagementApi.PostToConnection"


@dataclass
class Bill:
    """calls: by step and call, such as `SQS.SendMessage lane`; units: DynamoDB's, by step, and those written
    by table; frames: those
    posted, by type, and their bytes; log_bytes, log_lines: of the lines that name the run, by who said them;
    handler_cpu_s: of the Lambda's thread, without the counting."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    read_units: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    write_units: Counter[str] = field(default_factory=Counter)
    table_write_units: Counter[str] = field(default_factory=Counter)
    frame_types: Counter[str] = field(default_factory=Counter)
    frame_bytes: int = 0
    log_bytes: Counter[str] = field(default_factory=Counter)
    log_lines: Counter[str] = field(default_factory=Counter)
    handler_cpu_s: float = 0.0

    def in_all(self) -> int:
        return sum(self.calls.values())

    def of_service(self, service: str) -> int:
        return sum(
            count for (_, call), count in self.calls.items() if call.partition(".")[0] == service
        )

    def of_call(self, *calls: str) -> int:
        return sum(count for (_, name), count in self.calls.items() if name in calls)

    def of_step(self, steps: Collection[str]) -> dict[str, int]:
        found: Counter[str] = Counter()
        for (step, name), count in self.calls.items():
            if step in steps:
                found[name] += count
        return dict(found)

    def usd(self) -> float:
        """Of queues and tables; Lambda and API Gateway are not in it."""
        return (
            self.of_service("SQS") * _PRICES["sqs_request"].usd_each
            + sum(self.read_units.values()) * _PRICES["dynamodb_read"].usd_each
            + sum(self.write_units.values()) * _PRICES["dynamodb_write"].usd_each
        )
