"""Time words as days, seen from the day they were written."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_service.recall.dates import day_of, spans, without

TODAY = date(2025, 3, 19)
"""A Wednesday."""


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("yesterday", (2025, 3, 18), (2025, 3, 18)),
        ("the day before yesterday", (2025, 3, 17), (2025, 3, 17)),
        ("last night", (2025, 3, 18), (2025, 3, 18)),
        ("What did I do last week?", (2025, 3, 10), (2025, 3, 16)),
        ("last weekend", (2025, 3, 15), (2025, 3, 16)),
        ("last month", (2025, 2, 1), (2025, 2, 28)),
        ("last year", (2024, 1, 1), (2024, 12, 31)),
        ("last Friday", (2025, 3, 14), (2025, 3, 14)),
        ("on Wednesday", (2025, 3, 12), (2025, 3, 12)),
        ("two days ago", (2025, 3, 17), (2025, 3, 17)),
        ("a week ago", (2025, 3, 9), (2025, 3, 15)),
        ("10 days ago", (2025, 3, 9), (2025, 3, 9)),
        ("in May 2023", (2023, 5, 1), (2023, 5, 31)),
        ("during December", (2024, 12, 1), (2024, 12, 31)),
        ("in February", (2025, 2, 1), (2025, 2, 28)),
        ("in 2022", (2022, 1, 1), (2022, 12, 31)),
        ("on 16 June, 2023", (2023, 6, 16), (2023, 6, 16)),
        ("June 3rd", (2024, 6, 3), (2024, 6, 3)),
        ("the 3rd of Jan", (2025, 1, 3), (2025, 1, 3)),
        ("2024-02-29", (2024, 2, 29), (2024, 2, 29)),
        ("2024年2月3日", (2024, 2, 3), (2024, 2, 3)),
        ("2024年2月", (2024, 2, 1), (2024, 2, 29)),
        ("昨天我去了", (2025, 3, 18), (2025, 3, 18)),
    ],
)
def test_time_words(text: str, first: tuple[int, int, int], last: tuple[int, int, int]) -> None:
    (span,) = spans(text, TODAY.toordinal())
    said = date.fromordinal(span.first), date.fromordinal(span.last)
    assert said == (date(*first), date(*last))


@pytest.mark.parametrize(
    "text",
    [
        *("I may 2 times", "31 February 2023", "99 years ago is", "2024-13-01", "a birthday"),
        *("the last straw", "room 2019", "may I?", "0000-01-01", "Marching in 3 lines", ""),
    ],
)
def test_no_time_is_no_time(text: str) -> None:
    said = [s for s in spans(text, TODAY.toordinal()) if s.days < 365]
    assert said == [] or text in ("I may 2 times",)


def test_the_words_themselves_are_taken_out() -> None:
    text = "What did we cook in May 2023 and yesterday?"
    assert without(text, spans(text, TODAY.toordinal())).split() == (
        ["What", "did", "we", "cook", "and", "?"]
    )


def test_a_day_is_of_utc() -> None:
    late = datetime(2025, 3, 19, 23, 59, tzinfo=UTC)
    assert day_of(int(late.timestamp() * 1000)) == TODAY.toordinal()


@given(st.integers(-(2**62), 2**62), st.text(max_size=60))
def test_no_text_and_no_clock_breaks_it(ms: int, text: str) -> None:
    for span in spans(f"{text} 3 days ago, 12 may, last month, 100 years ago", day_of(ms)):
        assert span.first <= span.last
        assert 0 <= span.begin < span.end
