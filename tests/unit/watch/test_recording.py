"""A quarter of a minute of three workers, as their logs had it: one is told to end while it answers, hands
its run to the second, and the third comes. The fold and the picture say what the lines say."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from chatcore.domain.tiers import DEFAULTS, Tier
from local.watch.files import WorkerLogs
from local.watch.fleet import Fleet
from local.watch.line import Line
from local.watch.samples import percentile
from local.watch.view import Picture

FOLDER = Path(__file__).parent / "recorded"
TIERS = (Tier.PLUS, Tier.BACKGROUND)


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return list(WorkerLogs(FOLDER).lines())


@pytest.fixture(scope="module")
def fleet(lines: Sequence[Line]) -> Fleet:
    fleet = Fleet()
    for line in lines:
        fleet.take(line)
    return fleet


def figures(lines: Sequence[Line], tier: Tier, name: str) -> list[float]:
    found = (line.number(name) for line in lines if line.tier is tier)
    return [figure for figure in found if figure is not None]


def test_every_line_of_a_worker_is_read() -> None:
    texts = [
        text
        for path in FOLDER.glob("worker-*.log")
        for text in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len(list(WorkerLogs(FOLDER).lines())) == len(texts)
    assert all(json.loads(text)["service"] == "worker" for text in texts)


@pytest.mark.parametrize("tier", TIERS)
def test_times_are_those_of_the_lines(lines: Sequence[Line], fleet: Fleet, tier: Tier) -> None:
    now_ms = lines[-1].at_ms
    for name in ("ttft_ms", "queue_ms", "itl_ms"):
        assert getattr(fleet.tiers[tier], name).values(now_ms) == figures(lines, tier, name)
    assert figures(lines, tier, "ttft_ms")


def test_slots_hold_what_was_begun_and_is_not_over(lines: Sequence[Line], fleet: Fleet) -> None:
    begun: dict[str, str] = {}
    for line in lines:
        if line.name == "run.claimed":
            begun[line.run_id] = line.worker_id
        elif line.name in ("run.ended", "run.handed_back"):
            begun.pop(line.run_id, None)
    shown = {
        run_id: worker.worker_id for worker in fleet.workers.values() for run_id in worker.runs
    }
    assert shown == begun
    assert len(fleet.workers) == 3


def test_what_happened_is_told(fleet: Fleet) -> None:
    told = [
        event.words for event in fleet.events if "lqa" in event.words or "worker-2" in event.words
    ]
    assert told == [
        "worker-2 has left",
        "plus run lqa goes on at worker-1 from 217",
        "plus run lqa is handed back by worker-2 (drain), durable to 217",
        "worker-2 drains; in the making: 1",
    ]


def test_the_picture_shows_it(lines: Sequence[Line], fleet: Fleet) -> None:
    console = Console(record=True, width=170, file=io.StringIO())
    console.print(Picture("chatcore-run", fleet, None, DEFAULTS, lines[-1].at_ms), height=200)
    picture = console.export_text()
    for tier in TIERS:
        times = figures(lines, tier, "ttft_ms")
        assert f" {percentile(times, 50):,.0f} / {percentile(times, 95):,.0f} " in picture
    for worker in fleet.workers.values():
        assert worker.name in picture
        for run_id in worker.runs:
            assert run_id[-3:] in picture
