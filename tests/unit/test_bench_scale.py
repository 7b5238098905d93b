"""The sums of docs/scale.md: each by hand for a small world, and the page by what the command prints."""

from datetime import date
from pathlib import Path

import pytest

from bench import scale, scale_page, scale_sums
from bench.prices import prices
from bench.scale_sums import Measured, Quota, bounds, day, demand, fewest

COUNTED = Measured(
    counted=date(2026, 1, 1),
    output_tokens=200,
    frames_posted=20,
    read_units=10,
    sqs_requests=8,
    plumbing_usd_per_1000=0.05,
    table_write_units={"runs": 6, "chats": 8},
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A million daily users with 8.64 prompts each: 100 answers a second on the mean, 200 at the peak."""
    given = {
        "daily users": 1e6,
        "prompts of a daily user": 8.64,
        "peak hour to mean": 2,
        "answers of a visit": 2,
        "page's HTTP requests": 3,
        "visit": 5,
        "answer": 200,
        "pace of an answer": 40,
        "slots in use at the peak": 0.5,
        "worker": 50,
        "sender's function": 0.1,
        "page's function": 0.02,
        "share of a quota": 0.5,
        "busiest tier": 0.8,
    }
    monkeypatch.setattr(
        scale_sums,
        "ASSUMPTIONS",
        {
            name: scale_sums.Assumption(given.get(name, it.value), it.unit, it.source)
            for name, it in scale_sums.ASSUMPTIONS.items()
        },
    )
    return demand(COUNTED)


def test_demand_is_people_times_counts(asked: dict[str, float]) -> None:
    assert asked["answers_per_day"] == pytest.approx(8.64e6)
    assert asked["answers_per_s_mean"] == pytest.approx(100)
    assert asked["answers_per_s"] == pytest.approx(200)
    assert asked["frames_per_s"] == pytest.approx(4_000)
    # 4,000 frames, 200 sends, 100 pings, 100 connects, 300 requests of pages.
    assert asked["gateway_requests_per_s"] == pytest.approx(4_700)
    assert asked["open_connections"] == pytest.approx(100 * 300)
    assert asked["answers_running"] == pytest.approx(200 * 5)
    assert asked["slots"] == pytest.approx(2_000)
    assert asked["workers"] == pytest.approx(40)
    assert asked["lambdas_at_once"] == pytest.approx(200 * 0.1 + (300 + 200) * 0.02)
    assert asked["write_units_per_s"] == pytest.approx(200 * 14)
    assert asked["busiest_table_write_units_per_s"] == pytest.approx(200 * 8)
    assert asked["calendar_read_units_per_s"] == pytest.approx(200 * 0.8 * 2)


def test_the_quota_that_makes_the_most_cells_binds(asked: dict[str, float]) -> None:
    limits = [
        Quota("few", 10_000, "a second", "frames_per_s", raisable=True, source="page"),
        Quota("many", 100, "a second", "answers_per_s", raisable=True, source="page"),
        Quota("item", 300, "a second", "calendar_read_units_per_s", raisable=False, source="page"),
    ]
    found = bounds(asked, limits)
    # 200 of 100 × 0.5, 320 of 300 × 0.5, 4,000 of 10,000 × 0.5; a part of a cell is one.
    assert [(bound.quota.name, bound.cells) for bound in found] == [
        ("many", 4),
        ("item", 3),
        ("few", 1),
    ]
    assert fewest(found).quota.name == "item"


def test_a_day_is_priced(asked: dict[str, float]) -> None:
    costs = {cost.part: cost.usd_per_day for cost in day(asked, COUNTED, prices())}
    assert costs["plumbing"] == pytest.approx(8.64e6 * 0.05 / 1000)
    hourly = costs["GPU hours, p5.4xlarge, on demand"] / costs["… the same, p5.4xlarge, spot"]
    assert hourly == pytest.approx(6.88 / 2.25)


def test_every_quota_has_its_demand_and_a_source() -> None:
    asked = demand(scale_sums.measured())
    limits = scale_sums.quotas()
    assert {limit.demand for limit in limits} <= asked.keys()
    assert all(limit.quota > 0 for limit in limits)
    assert all(limit.unit and limit.source for limit in limits)
    assert any(not limit.raisable for limit in limits)


def test_every_assumption_says_where_it_is_from() -> None:
    assert all(it.source and it.unit for it in scale_sums.ASSUMPTIONS.values())
    assert scale_sums.measured().output_tokens == round(scale_sums.value("answer"))


def test_the_page_has_what_the_command_prints() -> None:
    assert scale.main(["--check"]) == 0


def test_a_page_that_differs_is_told_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "scale.md"
    text = scale_page.PAGE.read_text(encoding="utf-8")
    page.write_text(text.replace("| answers a day |", "| prompts a day |"), encoding="utf-8")
    monkeypatch.setattr(scale_page, "PAGE", page)
    assert scale.main(["--check"]) == 1
    assert "demand" in capsys.readouterr().err
    assert scale.main(["--write"]) == 0
    assert page.read_text(encoding="utf-8") == text
    assert scale.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.025, "0.025"),
        (8.0, "8"),
        (209.4, "209"),
        (1154.7, "1,150"),
        (43_481.0, "43,500"),
        (2.82e6, "2.82 million"),
        (1.6e9, "1.6 billion"),
    ],
)
def test_numbers_have_three_digits(value: float, told: str) -> None:
    assert scale_page.number(value) == told
