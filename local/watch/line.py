"""Owns the reading of one log line, of a worker or a function: JSON in, moment, name and fields out.

What is not such a line (a traceback, the emulator's own START and END) is None, and passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chatcore.domain.tiers import Tier


@dataclass(frozen=True, slots=True)
class Line:
    """at_ms: Unix time; name: the event, as docs/operations.md lists them; source: whose log it stood in."""

    at_ms: int
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def tier(self) -> Tier | None:
        """None also where it is `none`: of those who have not signed in."""
        told = self.fields.get("tier")
        return Tier(told) if told in set(Tier) else None

    @property
    def run_id(self) -> str:
        return self.text("run_id")

    @property
    def worker_id(self) -> str:
        return self.text("worker_id")

    def text(self, name: str) -> str:
        """Empty where the line has no such field."""
        return str(self.fields.get(name, ""))

    def number(self, name: str) -> float | None:
        """None where the line has no such figure."""
        value = self.fields.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number and value is not None else None

    def count(self, name: str) -> int:
        """0 where the line has no such figure."""
        return round(self.number(name) or 0)


def read(text: str, source: str = "") -> Line | None:
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
        # Powertools writes the milliseconds as the logging module does, behind a comma.
        moment = datetime.fromisoformat(fields["timestamp"].replace(",", "."))
        return Line(round(moment.timestamp() * 1000), str(fields["message"]), fields, source)
    except (ValueError, KeyError, AttributeError):
        return None
