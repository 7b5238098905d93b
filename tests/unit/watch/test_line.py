"""A log line is read whole, or not at all."""

import pytest

from chatcore.domain.tiers import Tier
from local.watch.line import read
from tests.unit.watch.said import NOW_MS, text


def test_a_line_has_moment_name_tier_and_figures() -> None:
    line = read(text("run.ended", NOW_MS + 7, tier="pro", ttft_ms=81, itl_ms=20.5), "worker-2")
    assert line is not None
    assert (line.at_ms, line.name, line.source) == (NOW_MS + 7, "run.ended", "worker-2")
    assert line.tier is Tier.PRO
    assert (line.number("ttft_ms"), line.number("itl_ms")) == (81, 20.5)
    assert line.number("cancel_ms") is None
    assert line.count("preemptions") == 0


def test_yes_and_no_are_no_figures() -> None:
    line = read(text("run.ended", at_favourite=True, reason="7"))
    assert line is not None
    assert (line.number("at_favourite"), line.number("reason")) == (None, None)
    assert line.text("reason") == "7"


def test_nobodys_tier_is_none() -> None:
    line = read(text("frame.refused", tier="none"))
    assert line is not None
    assert line.tier is None


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Traceback (most recent call last):",
        "START RequestId: 1",
        '{"message": "run.en',
        "{}",
        "[]",
        '{"message": "run.ended", "timestamp": 1795838800}',
        '{"message": "run.ended", "timestamp": "now"}',
    ],
)
def test_what_is_no_line_is_passed_over(said: str) -> None:
    assert read(said) is None
