"""What the picture shows, and what it leaves out where there is no room."""

import io
from collections.abc import Mapping
from dataclasses import replace

import pytest
from rich.console import Console

from chatcore.domain.calendar import RING
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.tiers import DEFAULTS, Tier, Tiers
from local.watch.fleet import SILENT_MS, Fleet
from local.watch.line import Line
from local.watch.queues import Depth, Queues
from local.watch.view import Picture
from tests.unit.watch.said import NOW_MS, by_function, by_worker, claimed, ended

WIDE = 160


def drawn(
    *lines: Line,
    queues: Queues | None = None,
    limits: Tiers = DEFAULTS,
    now_ms: int = NOW_MS,
    width: int = WIDE,
    height: int = 60,
) -> list[str]:
    fleet = Fleet()
    for line in lines:
        fleet.take(line)
    fleet.look(now_ms)
    console = Console(record=True, width=width, file=io.StringIO())
    picture = Picture("chatcore-run", fleet, queues, limits, now_ms)
    console.print(picture, height=height)
    return console.export_text().splitlines()


def row(picture: list[str], part: str, beginning: str) -> str:
    """The line of a part that begins so."""
    titles = [number for number, line in enumerate(picture) if f"─ {part}" in line]
    return next(line for line in picture[titles[0] :] if line.strip("│ ").startswith(beginning))


def queues_of(
    depths: Mapping[Lane, Depth], fronts: Mapping[Tier, int] | None = None, dead_letters: int = 0
) -> Queues:
    return Queues(NOW_MS, depths, fronts or {}, dead_letters)


READY = (by_worker("worker.ready", slots=3), by_worker("worker.ready", worker=2, slots=3))


class TestWorkers:
    def test_slots_are_cells_with_the_tiers_letter_and_the_run(self) -> None:
        picture = drawn(
            *READY,
            claimed("r_abc", "free"),
            claimed("r_xyz", "pro"),
            by_worker("run.first_token", run_id="r_xyz", tier="pro"),
        )
        assert "2 of 3 slots" in row(picture, "Workers", "worker-1")
        # The highest tier first; the engine of the other one still reads.
        assert row(picture, "Workers", "Pxyz").strip("│ ").split() == ["Pxyz", "fabc…", "····"]
        assert "0 of 3 slots" in row(picture, "Workers", "worker-2")

    def test_slots_beyond_its_own_are_behind_a_bar(self) -> None:
        runs = (claimed(f"r_00{number}", "pro", NOW_MS + number) for number in range(4))
        cells = row(drawn(*READY, *runs), "Workers", "P000").strip("│ ").split()
        assert cells == ["P000…", "P001…", "P002…", "│", "P003…"]

    def test_warmth_and_favourites_of_the_last_answers(self) -> None:
        picture = drawn(
            *READY,
            ended("r_1", cached_share=0.0),
            ended("r_2", cached_share=0.95, prefix_tokens=80, at_favourite=True),
            ended("r_3", cached_share=0.5, prefix_tokens=80, at_favourite=False),
        )
        told = row(picture, "Workers", "worker-1")
        assert "favourite 1 of 2 (50%)" in told
        assert "cached ▁█▅ 48%" in told

    @pytest.mark.parametrize(
        ("line", "standing"),
        [
            (by_worker("engine.away"), "engine away"),
            (by_worker("worker.draining", answers=1), "draining"),
            (by_worker("worker.gone"), "gone"),
        ],
    )
    def test_standing(self, line: Line, standing: str) -> None:
        assert standing in row(drawn(*READY, line), "Workers", "worker-1")

    def test_a_silent_worker_is_shown_as_lost_and_its_slots_count_no_more(self) -> None:
        heard = by_worker("worker.slots", NOW_MS + SILENT_MS, worker=2, slots=3, ready=1)
        picture = drawn(*READY, heard, now_ms=NOW_MS + SILENT_MS + 1)
        assert "lost" in row(picture, "Workers", "worker-1")
        assert "1 worker, 0 of 3 slots busy" in picture[0]


class TestLanes:
    def test_the_ring_with_its_front_and_what_waits_where(self) -> None:
        picture = drawn(
            *READY,
            by_worker("tier.backlog", tier="free", waiting=1, backlog_slot_s=84, starts_per_s=0.4),
            queues=queues_of(
                {
                    Lane(Tier.FREE, 4): Depth(visible=3, in_flight=2),
                    Lane(Tier.FREE, 6): Depth(visible=100),
                    Lane(Tier.FREE, 7): Depth(visible=99),
                    Lane(Tier.FREE, RETURNS): Depth(visible=1, delayed=2),
                    Lane(Tier.PRO, 0): Depth(visible=5, in_flight=9),
                },
                {Tier.FREE: RING + 4},
            ),
        )
        told = row(picture, "Lanes", "f free")
        assert told.strip("│ ").split() == [
            *("f", "free", "▁1", "+2", "late"),
            *("–", "–", "–", "–", "▸▃3", "–", "█99+", "█99", "–"),
            *("203", "84", "0.4", "2"),
        ]
        assert "▸▅5" in row(picture, "Lanes", "P pro")

    def test_the_background_has_no_ring(self) -> None:
        assert "first come, first served" in row(drawn(*READY), "Lanes", "b background")

    def test_a_paused_tier_says_so(self) -> None:
        limits = {**DEFAULTS, Tier.PLUS: replace(DEFAULTS[Tier.PLUS], paused=True)}
        assert "paused" in row(drawn(*READY, limits=limits), "Lanes", "+ plus")


class TestTiers:
    def test_times_ends_and_refusals(self) -> None:
        times = (100, 200, 1_300)
        picture = drawn(
            *READY,
            claimed("r_9", "pro"),
            *(ended(f"r_{ms}", "pro", ttft_ms=ms, preemptions=1) for ms in times),
            ended("r_4", "pro", ttft_ms=200, cancel_ms=31, cancelled=1, completed=0),
            by_function("action.refused", tier="pro", code="queue_too_old", refused=1),
        )
        told = row(picture, "Tiers", "P pro")
        assert "200 / 1,300" in told
        assert "31 / 31" in told
        assert "3 -1" in told
        heads = row(picture, "Tiers", "tier")
        for head, value in (("running", "1"), ("refused", "1"), ("preempted", "3")):
            end = heads.index(head) + len(head)
            assert told[:end].split()[-1] == value, head

    def test_service_is_shown_against_the_share_that_is_due(self) -> None:
        picture = drawn(
            *READY,
            ended("r_1", "pro", input_tokens=0, cached_tokens=0, output_tokens=30),
            ended("r_2", "free", input_tokens=0, cached_tokens=0, output_tokens=10),
        )
        # Weights 8 and 1; plus has no work, so nothing is due to it.
        assert "75% of 89%" in row(picture, "Tiers", "P pro")
        assert "25% of 11%" in row(picture, "Tiers", "f free")
        assert "no work" in row(picture, "Tiers", "+ plus")

    def test_before_anything_was_measured_there_are_no_figures(self) -> None:
        assert row(drawn(*READY), "Tiers", "P pro").strip("│ ").split().count("–") == 4


class TestRoom:
    def test_all_parts_where_there_is_room(self) -> None:
        picture = "\n".join(drawn(*READY))
        for part in ("Lanes", "Workers", "Tiers", "Events"):
            assert f"─ {part}" in picture

    @pytest.mark.parametrize("width", [40, 80, 120, 160])
    @pytest.mark.parametrize("height", [1, 5, 10, 24, 40])
    def test_never_more_than_fits(self, width: int, height: int) -> None:
        runs = (claimed(f"r_{number:03}") for number in range(12))
        picture = drawn(*READY, *runs, width=width, height=height)
        assert len(picture) <= height
        assert all(len(line) <= width for line in picture)

    def test_what_matters_most_stays(self) -> None:
        picture = "\n".join(drawn(*READY, height=14))
        assert "─ Workers" in picture
        assert "─ Tiers" in picture
        assert "─ Lanes" not in picture

    def test_the_ring_is_whole_in_eighty_columns(self) -> None:
        picture = drawn(*READY, width=80)
        heads = row(picture, "Lanes", "tier").strip("│ ").split()
        assert heads == ["tier", *map(str, range(RING)), "waiting"]


class TestHead:
    def test_dead_letters_and_faults_are_told(self) -> None:
        fault = by_function("action.refused", tier="free", code="internal_error", faults=1)
        head = drawn(*READY, fault, queues=queues_of({}, dead_letters=2))[0]
        assert "2 workers, 0 of 6 slots busy, 0 waiting, 2 dead letters, 1 fault" in head

    def test_before_the_queues_were_counted_the_workers_count_stands(self) -> None:
        told = (by_worker("tier.backlog", tier=tier, waiting=2) for tier in ("free", "pro"))
        picture = drawn(*READY, *told)
        assert ", 4 waiting, 0 dead letters" in picture[0]
        assert row(picture, "Lanes", "P pro").split()[-5] == "2"

    def test_counts_that_are_old_say_so(self) -> None:
        later_ms = NOW_MS + 9_000
        assert "counts are 9 s old" in drawn(*READY, queues=queues_of({}), now_ms=later_ms)[0]
