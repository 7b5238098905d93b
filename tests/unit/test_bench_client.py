"""What bench-client counts, and that it runs the page's own pacer."""

import pytest

from bench import storm
from bench.client import longest_pause, look_at, paced
from bench.stream import Answer

PICTURE_MS = 1000 / 60


def test_the_longest_pause_lies_between_two_moments() -> None:
    assert longest_pause([10.0, 20.0, 50.0, 55.0]) == 30
    assert longest_pause([10.0]) == 0


def test_quality_is_of_what_is_seen() -> None:
    answer = Answer((0.1, 0.1), posts=1)
    perfect, late = look_at([answer], [[100.0, 100.0]]), look_at([answer], [[600.0, 600.0]])
    for speed, quality in perfect.quality.items():
        assert quality == pytest.approx(1)
        assert late.quality[speed] < 1


def test_the_pacer_shows_the_first_at_once_and_a_lump_evenly() -> None:
    arrived_ms = [100.0, *[400.0] * 5, *[700.0] * 5, *[1000.0] * 5]
    (seen_ms,) = paced([arrived_ms])
    assert seen_ms[0] == 100.0
    assert all(seen >= arrived for seen, arrived in zip(seen_ms, arrived_ms, strict=True))
    assert seen_ms == sorted(seen_ms)
    # The lump that came at 700 ms is spread over the time until the next.
    lump = seen_ms[6:11]
    assert lump[-1] - lump[0] > 10 * PICTURE_MS


SEEN = {
    "user": 0,
    "chat_id": "c_chat",
    "status": "completed",
    "text": "1, 2, 3.",
    "attempts": 2,
    "open_ms": 900.0,
    "whole_ms": 1_500.0,
}


@pytest.mark.parametrize(
    ("change", "stored"),
    [
        ({}, "1, 2, 3, 4."),
        ({"text": "1, 2, 2, 3."}, "1, 2, 3."),
        ({"status": "running"}, "1, 2, 3."),
        ({"whole_ms": None}, "1, 2, 3."),
    ],
    ids=["gap", "double", "no end", "never back"],
)
def test_a_client_that_is_not_whole_is_noticed(change: dict[str, object], stored: str) -> None:
    good = storm.judged(SEEN, "1, 2, 3.")
    assert good.is_whole
    outcomes = [good, storm.judged({**SEEN, **change}, stored)]
    goal = storm.goals(outcomes)["storm_whole"]
    assert (goal.value, goal.goal, goal.met) == (1, ">= 2", False)


def test_who_never_came_back_counts_as_long_as_was_waited() -> None:
    outcomes = [storm.judged({**SEEN, "whole_ms": None}, "")] * 2
    assert storm.figures(outcomes)["whole_p50_p99_s"] == [storm.PATIENCE_MS / 1000] * 2
