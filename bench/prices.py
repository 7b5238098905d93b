"""What AWS asks for a unit of each thing, from `bench/prices.toml`.

Owns reading and checking that table: each price has its unit, its date and where it was seen, or nothing is
priced. It must not know how much of anything is used.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

FILE = Path(__file__).with_name("prices.toml")

UNITS = frozenset(
    {
        "write request unit",
        "read request unit",
        "write capacity unit hour",
        "read capacity unit hour",
        "request",
        "GB-second",
        "message of 32 KB",
        "connection minute",
        "GB",
        "metric month",
        "alarm month",
        "dashboard month",
        "key month",
        "web ACL month",
        "rule month",
        "parameter month",
        "user month",
        "trace",
        "state transition",
        "instance hour",
    }
)

DATES = frozenset({"page", "read"})


class BadPrice(Exception):
    """An entry of the table that cannot be used. The message names it."""


@dataclass(frozen=True)
class Price:
    """usd_each: of one unit. seen: the page's own date, or where it bears none the day it was read
    (`dated`: page, read)."""

    name: str
    usd_each: float
    unit: str
    seen: date
    dated: str
    source: str
    url: str


def prices(path: Path = FILE) -> Mapping[str, Price]:
    """By name. Raises BadPrice."""
    with path.open("rb") as file:
        return {name: _price(name, entry) for name, entry in tomllib.load(file).items()}


def _price(name: str, entry: object) -> Price:
    match entry:
        case {
            "usd": int() | float() as usd,
            "per": int() as per,
            "unit": str() as unit,
            "seen": date() as seen,
            "dated": str() as dated,
            "source": str() as source,
            "url": str() as url,
            **rest,
        } if not rest:
            pass
        case _:
            raise BadPrice(f"{name} has not exactly usd, per, unit, seen, dated, source and url")
    if usd < 0 or per < 1:
        raise BadPrice(f"{name} costs {usd} for {per}")
    if unit not in UNITS:
        raise BadPrice(f"{name} is by an unknown unit: {unit}")
    if dated not in DATES or not source.strip() or not url.startswith("https://"):
        raise BadPrice(f"{name} does not say where and when it was seen")
    return Price(name, usd / per, unit, seen, dated, source, url)
