"""A bill of AWS calls, and what it comes to by list prices.

Prices of us-east-1 without free tiers and volume discounts, as third parties quote the vendor's pages (the
pages themselves fill their tables in the reader's browser):
SQS:      https://cloudburn.io/blog/amazon-sqs-pricing of March 2026; standard queues
DynamoDB: https://airbyte.com/data-engineering-resources/dynamodb-pricing of July 2025; on demand, tables of
          the standard class, since the cut of November 2024

The first page also names a surcharge of $0.10 a million for fair queues, without saying which requests it
is on; it is left out here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

SQS_USD_PER_MILLION = 0.40
READ_USD_PER_MILLION = 0.125
WRITE_USD_PER_MILLION = 0.625

POST = "ApiGatewayManagementApi.PostToConnection"


@dataclass
class Bill:
    """calls: by step and call, such as `SQS.SendMessage lane`; units: DynamoDB's, by step."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    read_units: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    write_units: Counter[str] = field(default_factory=Counter)
    frame_types: Counter[str] = field(default_factory=Counter)

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
            self.of_service("SQS") * SQS_USD_PER_MILLION
            + sum(self.read_units.values()) * READ_USD_PER_MILLION
            + sum(self.write_units.values()) * WRITE_USD_PER_MILLION
        ) / 1e6
