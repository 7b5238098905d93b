"""The tables of docs/scale.md, which are what `bench.scale` computes.

    <!-- scale: name -->
    the table
    <!-- scale: end -->

Owns their form, and putting them into the page or finding where it differs. It must not compute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.scale_sums import Assumption, Bound, Cost, Measured, fewest

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
_PLACE = re.compile(
    r"(<!-- scale: (?P<name>\w+) -->\n)(?P<table>.*?)(<!-- scale: end -->)", re.DOTALL
)

DEMAND_WORDS: Mapping[str, str] = {
    "answers_per_day": "answers a day",
    "answers_per_s_mean": "answers a second, mean of the day",
    "answers_per_s": "answers a second",
    "frames_per_s": "frames posted a second",
    "gateway_requests_per_s": "requests to API Gateway a second",
    "new_connections_per_s": "new connections a second",
    "open_connections": "open connections",
    "sign_ins_per_s": "token refreshes a second",
    "monthly_users": "users in a month",
    "answers_running": "answers in the making",
    "slots": "slots",
    "workers": "workers",
    "gpus": "H100s, busy",
    "lambdas_at_once": "functions running at once",
    "write_units_per_s": "DynamoDB write units a second",
    "busiest_table_write_units_per_s": "… of the busiest table",
    "read_units_per_s": "DynamoDB read units a second",
    "calendar_read_units_per_s": "… of the free tier's calendar, one item",
    "sqs_requests_per_s": "SQS requests a second",
    "settings_reads_per_s": "GetParameter a second",
    "compactions_per_s": "compactions a second",
}
"""In the order of the page. What is asked of a quota alone is told with it."""


def tables(
    assumptions: Mapping[str, Assumption],
    counted: Measured,
    asked: Mapping[str, float],
    found: Sequence[Bound],
    costs: Sequence[Cost],
) -> dict[str, str]:
    cells = found[0].cells
    raised = fewest(found)
    people = assumptions["daily users"].value
    return {
        "assumptions": _table(
            ("assumed", "value", "unit", "from"),
            [
                *((name, number(it.value), it.unit, it.source) for name, it in assumptions.items()),
                (
                    "frames, units, requests of an answer",
                    "–",
                    f"{counted.output_tokens} tokens",
                    f"`make bench-cost` of {counted.counted.isoformat()}",
                ),
            ],
        ),
        "demand": _table(
            ("at the peak", "all", f"one of {cells} cells"),
            [
                (words, number(asked[name]), number(asked[name] / cells))
                for name, words in DEMAND_WORDS.items()
            ],
        ),
        "quotas": _table(
            ("quota", "default", "asked at the peak", "cells", "AWS raises it", "page"),
            [
                (
                    bound.quota.unit,
                    number(bound.quota.quota),
                    number(bound.demand),
                    f"**{bound.cells}**" if bound is found[0] else str(bound.cells),
                    "yes" if bound.quota.raisable else "no",
                    bound.quota.source,
                )
                for bound in found
            ],
        ),
        "cells": _table(
            ("quotas", "bound by", "cells", "daily users of one"),
            [
                (words, bound.quota.unit, str(bound.cells), number(people / bound.cells))
                for words, bound in (
                    ("as they are by default", found[0]),
                    ("raised, where AWS raises them", raised),
                )
            ],
        ),
        "day": _table(
            ("a day of all cells", "$", "how"),
            [(cost.part, number(cost.usd_per_day), cost.how) for cost in costs],
        ),
    }


def write(found: Mapping[str, str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_with(found, text), encoding="utf-8")


def different(found: Mapping[str, str]) -> list[str]:
    """The names of tables that the page does not have, or has otherwise."""
    text = PAGE.read_text(encoding="utf-8")
    there = {match["name"]: match["table"].strip() for match in _PLACE.finditer(text)}
    return [name for name in {**found, **there} if there.get(name) != found.get(name)]


def _with(found: Mapping[str, str], text: str) -> str:
    return _PLACE.sub(lambda it: f"{it[1]}{found[it['name']]}\n{it[4]}", text)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines).replace(
        "| " + " | ".join(["---"] * len(heads)) + " |", "|" + "---|" * len(heads)
    )


def number(value: float) -> str:
    """Three digits, as people read them."""
    for size, word in ((1e9, " billion"), (1e6, " million")):
        if value >= size:
            return f"{value / size:.3g}{word}"
    if value >= 1000:
        digits = 2 - (len(str(int(value))) - 1)
        return f"{round(value, digits):,.0f}"
    return f"{value:.3g}"
