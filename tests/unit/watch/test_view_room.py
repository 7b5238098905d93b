"""The picture's parts: which there are, which are left out where there is no room, head and events."""

import time
from collections.abc import Iterator

import pytest

from chatcore.domain.calendar import RING
from tests.unit.watch.drawn import READY, drawn, queues_of, row
from tests.unit.watch.said import NOW_MS, by_function, by_worker, claimed


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

    def test_the_parts_stand_in_one_order(self) -> None:
        titles = [line for line in drawn(*READY) if line.startswith("╭─ ")]
        assert [title.split()[1] for title in titles] == ["Lanes", "Workers", "Tiers", "Events"]

    def test_where_there_is_just_room_nothing_is_left_over(self) -> None:
        # Head, two workers, tiers, and as much as one line of events.
        assert len(drawn(*READY, height=1 + 6 + 7 + 3)) == 17
        assert "─ Events" in drawn(*READY, height=1 + 6 + 7 + 3)[14]
        assert len(drawn(*READY, height=1 + 6 + 7 + 2)) == 14


class TestEvents:
    @pytest.fixture(autouse=True)
    def _in_tokyo(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
        monkeypatch.undo()
        time.tzset()

    def test_each_is_a_line_with_its_moment_here_and_its_tier(self) -> None:
        refusals = (
            by_function("action.refused", NOW_MS + number, tier="free", code="busy")
            for number in range(2)
        )
        picture = drawn(READY[0], *refusals, now_ms=NOW_MS + 5_000)
        events = [line.strip("│ ") for line in picture[-3:-1]]
        assert events == [
            "13:06:40 f a free user is refused: busy (×2)",
            "13:06:40   worker-1 is ready with 3 slots",
        ]
        assert picture[0].endswith("13:06:45")

    def test_the_newest_stay_where_there_is_little_room(self) -> None:
        picture = drawn(
            *READY, by_worker("spot.notice", NOW_MS + 1), height=1 + 6 + 7 + 3, now_ms=NOW_MS + 1
        )
        assert "is taken away by EC2 soon" in picture[-2]

    def test_before_anything_happened_it_says_so(self) -> None:
        assert "nothing yet" in "\n".join(drawn())


class TestHead:
    def test_dead_letters_and_faults_are_told(self) -> None:
        fault = by_function("action.refused", tier="free", code="internal_error", faults=1)
        head = drawn(*READY, fault, queues=queues_of({}, dead_letters=2))[0]
        assert "2 workers, 0 of 6 slots busy, 0 waiting, 2 dead letters, 1 fault" in head

    def test_faults_are_everybodys_and_those_of_too_much_at_once_too(self) -> None:
        faults = (
            by_function("request.refused", tier="none", code="internal_error", faults=1),
            by_function("request.refused", tier="pro", code="busy", busy=2),
        )
        head = drawn(*READY, *faults, queues=queues_of({}, dead_letters=1))[0]
        assert "1 dead letter, 3 faults" in head

    def test_a_worker_that_has_left_counts_no_more(self) -> None:
        head = drawn(*READY, by_worker("worker.gone"))[0]
        assert "1 worker, 0 of 3 slots busy" in head

    def test_what_aws_does_not_answer_is_told(self) -> None:
        trouble = "queues: EndpointConnectionError"
        assert trouble in drawn(*READY, trouble=trouble)[0]

    def test_counts_of_a_moment_ago_are_as_good_as_new(self) -> None:
        assert "old" not in drawn(*READY, queues=queues_of({}), now_ms=NOW_MS + 8_000)[0]

    def test_before_the_queues_were_counted_the_workers_count_stands(self) -> None:
        told = (by_worker("tier.backlog", tier=tier, waiting=2) for tier in ("free", "pro"))
        picture = drawn(*READY, *told)
        assert ", 4 waiting, 0 dead letters" in picture[0]
        assert row(picture, "Lanes", "P pro").split()[-5] == "2"

    def test_counts_that_are_old_say_so(self) -> None:
        later_ms = NOW_MS + 9_000
        assert "counts are 9 s old" in drawn(*READY, queues=queues_of({}), now_ms=later_ms)[0]
