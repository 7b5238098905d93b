"""The arithmetic that every benchmark's figures go through, and the line that programs read."""

import json

import pytest
from rich.console import Console

from bench.report import at_most, finish, percentile, reported


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([1.0, 2.0], 50) == 1.0


def test_the_99th_of_few_values_is_the_greatest() -> None:
    assert percentile([5.0, 9.0, 1.0], 99) == 9.0


@pytest.mark.parametrize("percent", [0.0, -1.0, 100.5])
def test_what_is_no_percentile_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="not a percentile"):
        percentile([1.0], percent)


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_goal_is_judged_by_the_value_as_measured() -> None:
    # 1.2004 is written as 1.2, but it is above the bound.
    assert not at_most(1.2004, 1.2).met
    assert at_most(1.2, 1.2).met
    assert at_most(1.2, 1.2).goal == "<= 1.2"


def test_the_last_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    goals = {"p50_ms": reported(12.34567), "ratio": at_most(2, 1.5)}
    finish(Console(width=40), "example", {"nested": {"p50_ms": 12.3}, "list": [1, 2]}, goals)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "bench": "example",
        "figures": {"nested": {"p50_ms": 12.3}, "list": [1, 2]},
        "goals": {
            "p50_ms": {"value": 12.346, "goal": "reported", "met": True},
            "ratio": {"value": 2, "goal": "<= 1.5", "met": False},
        },
    }
