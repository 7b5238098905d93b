"""Owns what a user used, day by day, in the engines' own tokens. Days are those of UTC.

It must not know of budgets and charges: those are the ledger's, and forget.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from chatcore.domain.run import Usage

MAX_DAYS = 366
"""The most that can be asked for at once: a year, of whatever length."""

RETENTION_S = 400 * 24 * 3600
"""How long a day is kept after its last run: somewhat longer than it can be asked for."""


@dataclass(frozen=True, slots=True)
class DayUsage:
    """day: such as 2027-01-15; runs: those that ended on it and had used anything."""

    day: str
    runs: int = 0
    usage: Usage = field(default_factory=Usage)

    def with_run(self, usage: Usage) -> "DayUsage":
        return DayUsage(self.day, self.runs + 1, self.usage + usage)


@dataclass(frozen=True, slots=True)
class Period:
    """Days in a row, both ends included. Their names sort as the days do."""

    first_day: str
    last_day: str


@dataclass(frozen=True, slots=True)
class UsageReport:
    """days: only those with use, oldest first."""

    period: Period
    days: Sequence[DayUsage]

    @property
    def runs(self) -> int:
        return sum(day.runs for day in self.days)

    @property
    def total(self) -> Usage:
        return sum((day.usage for day in self.days), Usage())


def day_of(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms // 1000, UTC).date().isoformat()


def last_days(days: int, now_ms: int) -> Period:
    """So many days, today being the last of them."""
    last = datetime.fromtimestamp(now_ms // 1000, UTC).date()
    return Period((last - timedelta(days=days - 1)).isoformat(), last.isoformat())
