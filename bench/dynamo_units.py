"""DynamoDB's published rules of what a request is billed for, in request units of on-demand tables.

Sizes:   https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
Units:   https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
Indexes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/LSI.html
Twice in a transaction: .../developerguide/transaction-apis.html

Owns the rules alone. That a transaction doubles its index writes too is not said there in so many
words; it is counted so, which is the dearer reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Item = Mapping[str, Mapping[str, Any]]
"""As on the wire: {"seq": {"N": "7"}}."""

READ_BYTES = 4096
WRITE_BYTES = 1024
IN_TRANSACTION = 2
EVENTUALLY = 0.5


def item_bytes(item: Item | None) -> int:
    """Names and values; 0 where there is no item."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in (item or {}).items())


def read_units(read_bytes: int, *, transaction: bool = False, consistent: bool = True) -> float:
    """Of one item, or of all that a query or scan has looked at. Nothing found is billed like little; a read
    that may be a moment old, half."""
    units = max(1, math.ceil(read_bytes / READ_BYTES))
    return units * (IN_TRANSACTION if transaction else 1 if consistent else EVENTUALLY)


def write_units(before: Item | None, after: Item | None, *, transaction: bool = False) -> int:
    """Of a put, update or delete: the greater of what was there and what is there now."""
    size_bytes = max(item_bytes(before), item_bytes(after))
    return _writes(size_bytes) * (IN_TRANSACTION if transaction else 1)


def index_write_units(
    before: Item | None, after: Item | None, key: str, *, transaction: bool = False
) -> int:
    """Of an index on `key` that holds all attributes: when the key changes, the entry is removed and
    made anew."""
    if before == after:
        return 0
    if before is not None and after is not None and before.get(key) == after.get(key):
        units = _writes(max(item_bytes(before), item_bytes(after)))
    else:
        units = sum(
            _writes(item_bytes(entry)) for entry in (before, after) if _in_index(entry, key)
        )
    return units * (IN_TRANSACTION if transaction else 1)


def _writes(size_bytes: int) -> int:
    return max(1, math.ceil(size_bytes / WRITE_BYTES))


def _in_index(item: Item | None, key: str) -> bool:
    return item is not None and key in item


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return _number_bytes(content)
        case "B":
            return len(content)
        case "BOOL" | "NULL":
            return 1
        case "SS":
            return sum(len(text.encode()) for text in content)
        case "NS":
            return sum(_number_bytes(number) for number in content)
        case "BS":
            return sum(len(data) for data in content)
        case "L":
            return 3 + sum(1 + _value_bytes(entry) for entry in content)
        case "M":
            return 3 + sum(
                1 + len(name.encode()) + _value_bytes(entry) for name, entry in content.items()
            )
    raise ValueError(f"DynamoDB has no type {kind}")


def _number_bytes(number: str) -> int:
    """About one byte for two significant digits, one more, and one more when it is negative."""
    digits = number.lstrip("-").replace(".", "").strip("0")
    return math.ceil(len(digits) / 2) + 1 + number.startswith("-")
