"""What was used, by day: which day, which days, and their sum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.run import Usage
from chatcore.domain.usage import (
    MAX_DAYS,
    RETENTION_S,
    DayUsage,
    Period,
    UsageReport,
    day_of,
    last_days,
)

DAY_MS = 24 * 3600 * 1000
MIDNIGHT_MS = 1_709_164_800_000
"""Of 2024-02-29, UTC."""


@pytest.mark.parametrize(
    ("moment_ms", "day"),
    [
        (0, "1970-01-01"),
        (MIDNIGHT_MS - 1, "2024-02-28"),
        (MIDNIGHT_MS, "2024-02-29"),
        (MIDNIGHT_MS + DAY_MS - 1, "2024-02-29"),
        (MIDNIGHT_MS + DAY_MS, "2024-03-01"),
    ],
)
def test_a_day_is_that_of_utc_from_midnight_to_midnight(moment_ms: int, day: str) -> None:
    assert day_of(moment_ms) == day


def test_the_last_days_end_with_today() -> None:
    assert last_days(1, MIDNIGHT_MS) == Period("2024-02-29", "2024-02-29")
    assert last_days(2, MIDNIGHT_MS + DAY_MS) == Period("2024-02-29", "2024-03-01")
    assert last_days(MAX_DAYS, MIDNIGHT_MS - 1) == Period("2023-02-28", "2024-02-28")


@given(st.integers(0, 4_000_000_000_000), st.integers(1, MAX_DAYS))
def test_a_period_has_so_many_days_and_their_names_sort_as_they_come(
    now_ms: int, days: int
) -> None:
    period = last_days(days, now_ms + days * DAY_MS)
    walked = [day_of(now_ms + number * DAY_MS) for number in range(1, days + 1)]
    assert walked == sorted(set(walked))
    assert (walked[0], walked[-1]) == (period.first_day, period.last_day)


def test_a_report_adds_its_days_up() -> None:
    days = [
        DayUsage("2024-02-28").with_run(Usage(10, 4, 5)).with_run(Usage(1, 0, 2)),
        DayUsage("2024-02-29").with_run(Usage(100, 90, 7)),
    ]
    assert days[0] == DayUsage("2024-02-28", 2, Usage(11, 4, 7))
    report = UsageReport(Period("2024-02-01", "2024-02-29"), days)
    assert (report.runs, report.total) == (3, Usage(111, 94, 14))
    nothing = UsageReport(report.period, [])
    assert (nothing.runs, nothing.total) == (0, Usage())


def test_what_can_be_asked_for_is_kept() -> None:
    assert RETENTION_S > MAX_DAYS * DAY_MS / 1000
