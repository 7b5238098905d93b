"""What the picture shows of workers, lanes and tiers."""

from dataclasses import replace

import pytest

from chatcore.domain.calendar import RING
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.tiers import DEFAULTS, Tier
from local.watch.fleet import SILENT_MS
from local.watch.line import Line
from local.watch.queues import Depth, Queues
from tests.unit.watch.drawn import READY, drawn, queues_of, row
from tests.unit.watch.said import NOW_MS, by_function, by_worker, claimed, ended


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

    def test_of_one_tier_the_longest_in_its_slot_is_first(self) -> None:
        runs = (claimed(f"r_00{number}", "pro", NOW_MS - number) for number in range(3))
        cells = row(drawn(*READY, *runs), "Workers", "P002").strip("│ ").split()
        assert cells == ["P002…", "P001…", "P000…"]

    def test_slots_that_have_no_room_are_cut_off(self) -> None:
        many = by_worker("worker.slots", slots=40, ready=1)
        # No ellipsis: that would say that an engine reads.
        assert "…" not in row(drawn(*READY, many, width=80), "Workers", "····")

    def test_offers_and_viewers_are_told(self) -> None:
        told = by_worker("worker.slots", slots=3, ready=1, offers=2, viewers=5)
        assert "offers 2   viewers 5" in row(drawn(*READY, told), "Workers", "worker-1")

    def test_a_favourite_that_was_never_met_is_told(self) -> None:
        missed = ended("r_1", prefix_tokens=80, at_favourite=False)
        assert "favourite 0 of 1 (0%)" in row(drawn(*READY, missed), "Workers", "worker-1")
        assert "favourite none yet" in row(drawn(*READY, missed), "Workers", "worker-2")

    def test_of_too_many_the_first_are_shown(self) -> None:
        picture = "\n".join(drawn(*READY, height=5))
        assert "worker-1" in picture
        assert "worker-2" not in picture

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
        picture = drawn(*READY, claimed("r_1"), heard, now_ms=NOW_MS + SILENT_MS + 1)
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
        assert "█████████·┃·  75% of 89%" in row(picture, "Tiers", "P pro")
        assert "25% of 11%" in row(picture, "Tiers", "f free")
        assert "no work" in row(picture, "Tiers", "+ plus")

    def test_times_are_the_middle_one_and_the_last_but_a_twentieth(self) -> None:
        picture = drawn(*(ended(f"r_{ms}", "pro", ttft_ms=ms) for ms in range(1, 21)))
        assert "  10 / 19  " in row(picture, "Tiers", "P pro")

    def test_each_figure_is_in_its_column(self) -> None:
        ends = {"completed": 0, "cancelled": 1, "cancel_ms": 31, "rewinds": 7, "preemptions": 8}
        picture = drawn(
            *READY,
            *(claimed(f"r_{number}", "pro") for number in range(3)),
            ended("r_0", "pro", ttft_ms=120, itl_ms=20, **ends),
            by_function("run.submitted", tier="pro", sends=4),
            by_function("action.refused", tier="pro", refused=5, budget_rejections=6),
            queues=queues_of({Lane(Tier.PRO, 0): Depth(visible=9)}),
        )
        told = row(picture, "Tiers", "P pro").split("of 100%")[1].strip("│ ")
        assert told.split() == [
            *("120", "/", "120", "40", "/", "40", "20", "/", "20", "31", "/", "31"),
            *("0", "-1", "4", "5", "6", "7", "8"),
        ]
        assert row(picture, "Tiers", "P pro").split()[3:5] == ["2", "9"]

    def test_ends_are_of_the_last_minute_and_each_kind_has_its_mark(self) -> None:
        picture = drawn(
            *READY,
            ended("r_1", "pro", at_ms=NOW_MS - 60_000),
            *(ended(f"r_{number}", "pro") for number in range(4)),
            *(ended(f"r_{number}", "pro", completed=0, cancelled=1) for number in range(3)),
            *(ended(f"r_{number}", "pro", completed=0, failed=1) for number in range(2)),
        )
        assert "4 -3 ✗2" in row(picture, "Tiers", "P pro")

    @pytest.mark.parametrize(
        ("line", "queues"),
        [
            (claimed("r_1", "plus"), queues_of({})),
            (by_worker("worker.ready", slots=3), queues_of({Lane(Tier.PLUS, 3): Depth(visible=1)})),
        ],
    )
    def test_whoever_has_work_is_due_his_share_before_he_is_served(
        self, line: Line, queues: Queues
    ) -> None:
        served = ended("r_2", "free", input_tokens=0, cached_tokens=0, output_tokens=10)
        picture = drawn(*READY, line, served, queues=queues)
        # Weights 4 and 1.
        assert "┃··   0% of 80%" in row(picture, "Tiers", "+ plus")
        assert "100% of 20%" in row(picture, "Tiers", "f free")

    def test_nobody_was_served_yet(self) -> None:
        picture = drawn(*READY, claimed("r_1", "plus"))
        assert "·┃   0% of 100%" in row(picture, "Tiers", "+ plus")

    def test_times_stay_where_there_is_little_room(self) -> None:
        heads = row(drawn(*READY, width=80), "Tiers", "tier")
        assert "TTFT p50 / p95" in heads
        assert "sent" not in heads

    def test_before_anything_was_measured_there_are_no_figures(self) -> None:
        assert row(drawn(*READY), "Tiers", "P pro").strip("│ ").split().count("–") == 4
