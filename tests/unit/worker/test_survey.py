"""What workers tell one another: beats, fronts and backlogs, in few calls."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from aws_lambda_powertools import Logger

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.adapters.memory.stores import MemoryBeats, memory_stores
from chatcore.domain.beat import BEAT_EVERY_MS, BEAT_FRESH_MS, Beat
from chatcore.domain.calendar import LANES, Backlog
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.ports import Stores
from gpu_service.worker.pull import Puller
from gpu_service.worker.survey import PUBLISH_EVERY_MS, Survey
from tests.measured import measured
from tests.unit.worker.stage import Calls
from tests.unit.worker.test_puller import FREE, Desk, puller_for, put
from virtual_clock.loop import in_virtual_time, now_ms


@dataclass(slots=True)
class Counted(MemoryLanes):
    """asked: how often each lane was asked what waits there."""

    asked: dict[Lane, int] = field(default_factory=dict)

    def waiting(self, lane: Lane) -> int:
        self.asked[lane] = self.asked.get(lane, 0) + 1
        return MemoryLanes.waiting(self, lane)


class Told:
    """A logger's lines."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.infos: list[dict[str, Any]] = []

    def warning(self, line: str, **_: Any) -> None:
        self.warnings.append(line)

    def info(self, line: str, extra: dict[str, Any]) -> None:
        self.infos.append(extra)


class Away(MemoryBeats):
    """For as long as `away` says."""

    away = False

    def put(self, beat: Beat) -> None:
        if Away.away:
            raise StoreUnavailable("throttled")
        MemoryBeats.put(self, beat)


@dataclass
class Fleet:
    """Workers as far as they survey. work: whether they have some to look after."""

    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    lanes: Counted = field(default_factory=lambda: Counted(now_ms))
    told: Told = field(default_factory=Told)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    @property
    def stores(self) -> Stores:
        return replace(memory_stores(self.database), beats=Away(self.database))

    def join(self, worker_id: str = "worker-1", slots: int = 2, pulls: bool = False) -> Survey:
        desk = Desk(self.lanes, work_s=1_000, stores=self.stores)
        puller: Puller = puller_for(self.lanes, desk, slots)
        survey = Survey(
            self.stores,
            self.lanes,
            puller,
            Calls(),
            cast(Logger, self.told),
            now_ms,
            worker_id,
            f"inbox-{worker_id}",
            slots,
            lambda: puller.offers,
        )
        self.tasks.append(asyncio.create_task(survey.run()))
        if pulls:
            self.tasks.append(asyncio.create_task(puller.run()))
        return survey

    def backlog(self, tier: Tier = Tier.FREE) -> Backlog:
        return self.stores.calendars.get(tier).backlog


@contextmanager
def fleet() -> Iterator[Fleet]:
    made = Fleet()
    try:
        yield made
    finally:
        Away.away = False
        for task in made.tasks:
            task.cancel()


class TestBeats:
    @in_virtual_time
    async def test_come_so_often_that_one_may_be_lost(self) -> None:
        with fleet() as made:
            made.join()
            seen: set[int] = set()
            for _ in range(300):
                await asyncio.sleep(0.1)
                beat = made.stores.beats.get("worker-1")
                assert beat is not None
                assert now_ms() - beat.beat_ms <= BEAT_EVERY_MS + 100
                seen.add(beat.beat_ms)
            assert len(seen) <= 30_000 // BEAT_EVERY_MS + 1

    @in_virtual_time
    async def test_tell_what_the_worker_has_room_for(self) -> None:
        with fleet() as made:
            made.join(pulls=True)
            put(made.lanes, FREE, ["f1"])
            await asyncio.sleep(BEAT_EVERY_MS / 1000 + 1)
            beat = made.stores.beats.get("worker-1")
            assert beat is not None
            assert (beat.inbox, beat.slots, beat.free_slots) == ("inbox-worker-1", 2, 1)
            assert beat.starts_per_s[Tier.FREE] > 0
            assert beat.starts_per_s[Tier.PRO] == 0

    @in_virtual_time
    async def test_end_with_the_worker(self) -> None:
        with fleet() as made:
            survey = made.join()
            await asyncio.sleep(1)
            await survey.leave()
            assert made.stores.beats.all() == []


class TestFronts:
    @in_virtual_time
    async def test_are_followed_within_a_second_while_there_is_work(self) -> None:
        with fleet() as made:
            survey = made.join(pulls=True)
            put(made.lanes, FREE, ["f1"])
            await asyncio.sleep(3)
            made.stores.calendars.advance(Tier.FREE, 7)
            await asyncio.sleep(1.1)
            assert survey.puller.calendar(Tier.FREE).front == 7

    @in_virtual_time
    async def test_are_followed_now_and_then_without_work(self) -> None:
        with fleet() as made:
            survey = made.join()
            await asyncio.sleep(3)
            made.stores.calendars.advance(Tier.FREE, 7)
            await asyncio.sleep(1.5)
            assert survey.puller.calendar(Tier.FREE).front == 0
            await asyncio.sleep(PUBLISH_EVERY_MS / 1000)
            assert survey.puller.calendar(Tier.FREE).front == 7


class TestBacklogs:
    @in_virtual_time
    async def test_are_told_by_one_of_several(self) -> None:
        with fleet() as made:
            for number in range(4):
                made.join(f"worker-{number}")
            put(made.lanes, FREE, ["f1", "f2"])
            put(made.lanes, Lane(Tier.FREE, RETURNS), ["r1"])
            await asyncio.sleep(60)
            assert dict(made.backlog().waiting) == {FREE.index: 2, RETURNS: 1}
            assert now_ms() - made.backlog().at_ms <= PUBLISH_EVERY_MS + 1_000
            published = 60_000 // PUBLISH_EVERY_MS
            assert len(made.told.infos) <= (published + 1) * len(Tier)

    @in_virtual_time
    async def test_are_published_with_how_fast_the_living_are(self) -> None:
        with fleet() as made:
            dead_ms = now_ms() - BEAT_FRESH_MS - 1
            for worker_id, beat_ms, rate in (("w-1", now_ms() + 4_000, 2.5), ("w-2", dead_ms, 9.0)):
                made.stores.beats.put(
                    Beat(worker_id, "i", beat_ms, 1, 0, starts_per_s={Tier.FREE: rate})
                )
            made.join()
            await asyncio.sleep(1)
            assert made.backlog().starts_per_s == 2.5

    @in_virtual_time
    async def test_tell_what_the_fleet_could_do_where_few_were_asked_for(self) -> None:
        """A burst after a quiet time is not refused for the pace of the quiet time."""
        with fleet() as made:
            beat = Beat(
                "w-1",
                "i",
                now_ms() + 4_000,
                8,
                8,
                starts_per_s=dict.fromkeys(Tier, 1 / 30),
                slot_s=dict.fromkeys(Tier, 10.0),
            )
            made.stores.beats.put(beat)
            # Its own two slots with the other's eight.
            made.join()
            await asyncio.sleep(1)
            kept_by_others = 3 * 10 / 30
            assert made.backlog().starts_per_s == pytest.approx((10 - kept_by_others) / 10)
            # What the fleet is watched by is what was seen.
            (told,) = [line for line in made.told.infos if line["tier"] == "free"]
            assert measured(told).values["starts_per_s"] == pytest.approx(1 / 30)

    @in_virtual_time
    async def test_share_the_fleet_by_weight_with_the_tiers_that_wait_too(self) -> None:
        with fleet() as made:
            put(made.lanes, FREE, ["f1"])
            put(made.lanes, Lane(Tier.PRO, 0), ["p1"])
            made.join()
            for at_s in (1, PUBLISH_EVERY_MS // 1000):
                made.stores.beats.put(
                    Beat(
                        "w-1",
                        "i",
                        now_ms() + 4_000,
                        8,
                        0,
                        starts_per_s={Tier.FREE: 0.01, Tier.PRO: 0.01},
                        slot_s={Tier.FREE: 10.0, Tier.PRO: 10.0},
                    )
                )
                await asyncio.sleep(at_s + 0.5)
            free, pro = DEFAULTS[Tier.FREE].weight, DEFAULTS[Tier.PRO].weight
            assert made.backlog().starts_per_s == pytest.approx(free / (free + pro))
            assert made.backlog(Tier.PRO).starts_per_s == pytest.approx(pro / (free + pro))

    @in_virtual_time
    async def test_of_a_paused_tier_promise_nothing(self) -> None:
        with fleet() as made:
            survey = made.join()
            survey.puller.pace.began(Tier.FREE)
            limits = DEFAULTS[Tier.FREE]
            survey.puller.adopt({**DEFAULTS, Tier.FREE: replace(limits, paused=True)})
            put(made.lanes, FREE, ["f1"])
            await asyncio.sleep(1)
            assert made.backlog().waiting
            assert made.backlog().starts_per_s == 0.0

    @in_virtual_time
    async def test_are_a_figure_by_which_the_fleet_is_scaled(self) -> None:
        with fleet() as made:
            made.stores.beats.put(
                Beat(
                    "w-1",
                    "i",
                    now_ms() + 4_000,
                    1,
                    0,
                    starts_per_s={Tier.FREE: 0.5},
                    slot_s={Tier.FREE: 20.0},
                )
            )
            survey = made.join()
            survey.puller.pace.ended(Tier.FREE, 10.0)
            put(made.lanes, FREE, ["f1", "f2"])
            await asyncio.sleep(1)
            (told,) = [line for line in made.told.infos if line["tier"] == "free"]
            # Two jobs, each for the mean of 10 and 20 seconds.
            found = measured(told)
            assert found.values == {
                "waiting": 2,
                "backlog_slot_s": 30.0,
                "starts_per_s": 0.5,
                "stalled": 0,
            }
            assert found.units == {
                "waiting": "Count",
                "backlog_slot_s": "Seconds",
                "starts_per_s": "Count/Second",
                "stalled": "Count",
            }
            assert found.dimensions == {"service": "worker", "tier": "free"}

    @pytest.mark.parametrize(("paused", "stalled"), [(False, 1), (True, 0)])
    @in_virtual_time
    async def test_from_which_nothing_is_begun_stand_still_unless_that_is_wanted(
        self, paused: bool, stalled: int
    ) -> None:
        with fleet() as made:
            survey = made.join()
            now = DEFAULTS[Tier.FREE]
            survey.puller.adopt({**DEFAULTS, Tier.FREE: replace(now, paused=paused)})
            put(made.lanes, FREE, ["f1"])
            await asyncio.sleep(1)
            told = {line["tier"]: measured(line).values["stalled"] for line in made.told.infos}
            assert told == {"free": stalled, "plus": 0, "pro": 0, "background": 0}

    @in_virtual_time
    async def test_need_not_be_asked_for_by_who_sees_nothing_waiting(self) -> None:
        with fleet() as made:
            made.join(pulls=True)
            # A worker that has just started does not see it yet.
            await asyncio.sleep(1)
            assert set(made.lanes.asked.values()) == {1}
            made.lanes.asked.clear()
            await asyncio.sleep(30)
            assert made.lanes.asked == {}
            assert made.backlog().waiting == {}
            assert now_ms() - made.backlog().at_ms <= PUBLISH_EVERY_MS + 1_000

    @in_virtual_time
    async def test_are_asked_for_where_there_is_work_or_no_room_to_see_it(self) -> None:
        with fleet() as made:
            made.join(slots=1, pulls=True)
            put(made.lanes, FREE, ["f1", "f2"])
            await asyncio.sleep(20)
            assert set(made.lanes.asked) == set(LANES)
            assert dict(made.backlog().waiting) == {FREE.index: 1}


@in_virtual_time
async def test_trouble_is_told_once_and_got_over() -> None:
    with fleet() as made:
        Away.away = True
        made.join()
        await asyncio.sleep(30)
        assert made.told.warnings == ["survey.trouble"]
        Away.away = False
        await asyncio.sleep(3)
        assert made.stores.beats.get("worker-1") is not None
        Away.away = True
        await asyncio.sleep(10)
        assert made.told.warnings == ["survey.trouble"] * 2
