"""Bars and columns, cell by cell."""

import pytest
from rich.text import Text

from local.watch.palette import Column, fitting, level, pair, share_bar, share_level


def column(title: str, rank: int, to_the_right: bool = False) -> Column:
    return Column(title, [Text("1234")], rank, to_the_right)


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (30, ["name", "one", "two", "three"]),
        (25, ["name", "one", "two", "three"]),
        (24, ["name", "one", "three"]),
        (18, ["name", "three"]),
        (12, ["name"]),
        (1, ["name"]),
    ],
)
def test_columns_go_by_their_rank_and_of_equals_the_last(width: int, titles: list[str]) -> None:
    columns = [column("name", 0), column("one", 2), column("two", 2), column("three", 1)]
    assert [each.header for each in fitting(columns, width).columns] == titles


def test_figures_stand_at_the_right() -> None:
    table = fitting([column("name", 0), column("count", 0, to_the_right=True)], 40)
    assert [each.justify for each in table.columns] == ["left", "right"]


def test_a_level_is_one_cell() -> None:
    assert "".join(level(count) for count in (1, 2, 7, 8, 9, 500)) == "▁▂▇███"
    assert "".join(share_level(share) for share in (0, 0.12, 0.13, 0.5, 0.99, 1)) == "▁▁▂▅██"


@pytest.mark.parametrize(
    ("share", "due", "bar"),
    [(0.6, 0.75, "██·┃"), (0.64, 0.0, "┃██·"), (0, 1, "···┃"), (1, 0.49, "█┃██")],
)
def test_a_bar_has_a_mark_at_what_is_due(share: float, due: float, bar: str) -> None:
    assert share_bar(share, due, width=4) == bar


def test_of_a_pair_both_or_none() -> None:
    assert pair(1_234.4, 5).plain == "1,234 / 5"
    assert pair(None, 5).plain == pair(5, None).plain == "–"
