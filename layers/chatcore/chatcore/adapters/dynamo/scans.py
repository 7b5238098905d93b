"""Owns the walk through a whole table, a page a call, for what people start by hand.

A scan pays for all that it looks at, so nothing that users wait for may use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pynamodb.expressions.condition import Condition
from pynamodb.models import Model

from chatcore.adapters.dynamo.faults import translated

_Item = TypeVar("_Item", bound=Model)


@dataclass(frozen=True, slots=True)
class Scanned(Generic[_Item]):
    """items: the wanted ones; next_id: the hash key behind which the next page starts, empty at the end."""

    items: Sequence[_Item]
    looked_at: int
    next_id: str


def scan_page(table: type[_Item], wanted: Condition, limit: int, after_id: str) -> Scanned[_Item]:
    """table: one with a hash key alone; limit: of the items that are looked at, not of those found.

    Below pynamodb's models, whose scan goes on until it has found as many.
    """
    with translated():
        answer = table._get_connection().scan(
            filter_condition=wanted, limit=limit, exclusive_start_key=after_id or None
        )
    last = answer.get("LastEvaluatedKey")
    return Scanned(
        items=[table.from_raw_data(item) for item in answer["Items"]],
        looked_at=int(answer["ScannedCount"]),
        next_id=next(iter(last.values()))["S"] if last else "",
    )
