"""Pulling: only for free slots, by turns, and never an idle slot beside waiting work."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.adapters.memory.stores import memory_stores
from chatcore.domain.affinity import PATIENCE_MS
from chatcore.domain.calendar import LANES, RING, lane_of, returns_of
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.lanes import Lane
from chatcore.domain.tiers import DEFAULTS, Tier, Tiers
from chatcore.ports import Received, Stores
from chatcore.protocol.queue import Job
from gpu_service.worker.delivery import Delivery
from gpu_service.worker.pull import POLL_S, Puller, Turn
from tests.simulation.process import LOOK_S, LongPolls
from tests.unit.worker.stage import QUIET, Calls
from virtual_clock.loop import in_virtual_time, now_ms

FREE, PLUS, PRO = Lane(Tier.FREE), Lane(Tier.PLUS), Lane(Tier.PRO)
ROOM_FOR_ALL = {tier: replace(limits, overcommit_slots=0) for tier, limits in DEFAULTS.items()}


@dataclass(slots=True)
class Desk:
    """Takes jobs as a Maker would, and acknowledges them when it is told that they are done."""

    lanes: MemoryLanes
    taken: list[tuple[float, str]] = field(default_factory=list)
    work_s: float = 1.0
    reads_s: float = 0.0
    cost_tokens: Mapping[Tier, int] = field(default_factory=dict)
    stores: Stores = field(default_factory=lambda: memory_stores(MemoryDatabase()))
    contended: dict[str, bool] = field(default_factory=dict)
    leaving: dict[str, asyncio.Event] = field(default_factory=dict)
    preempted_for: list[Tier] = field(default_factory=list)

    async def make(self, delivery: Delivery, turn: Turn) -> None:
        name = delivery.job.run_id
        self.taken.append((asyncio.get_running_loop().time(), name))
        self.contended[name] = turn.contended
        leaves = self.leaving[name] = asyncio.Event()
        asyncio.get_running_loop().call_later(self.reads_s, turn.has_read)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.work_s):
                await leaves.wait()
        await delivery.acknowledge()
        turn.settle(self.cost_tokens.get(turn.tier, 700))
        turn.release()

    def preempt(self, tier: Tier) -> bool:
        self.preempted_for.append(tier)
        return False

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.taken]


def put(lanes: MemoryLanes, lane: Lane, names: Sequence[str]) -> None:
    for name in names:
        lanes.send(
            lane,
            Job(
                run_id=name,
                chat_id="c",
                user_id="u",
                tier=lane.tier,
                message_seq=1,
            ),
        )


def puller_for(
    lanes: MemoryLanes,
    desk: Desk,
    slots: int,
    polls: LongPolls | None = None,
    tiers: Tiers = ROOM_FOR_ALL,
) -> Puller:
    return Puller(
        lanes,
        desk.stores.calendars,
        slots,
        polls or LongPolls(),
        Calls(),
        desk.make,
        desk.preempt,
        QUIET,
        now_ms,
        tiers,
    )


@in_virtual_time
async def test_takes_no_more_than_it_has_slots_for() -> None:
    lanes = MemoryLanes(now_ms)
    desk = Desk(lanes, work_s=1000)
    puller = puller_for(lanes, desk, slots=2)
    put(lanes, FREE, ["f1", "f2", "f3"])
    task = asyncio.create_task(puller.run())
    await asyncio.sleep(5)
    assert desk.names == ["f1", "f2"]
    # The third was never hidden from another worker for longer than it took to give it back.
    other = lanes.receive(FREE, 0)
    assert other is not None
    assert other.item.run_id == "f3"
    task.cancel()


@in_virtual_time
async def test_new_work_is_met_at_once_in_every_lane() -> None:
    lanes = MemoryLanes(now_ms)
    desk = Desk(lanes)
    task = asyncio.create_task(puller_for(lanes, desk, slots=1).run())
    for second, lane in enumerate((FREE, PRO, PLUS, FREE)):
        await asyncio.sleep(10)
        put(lanes, lane, [f"job-{second}"])
    await asyncio.sleep(10)
    waits_s = [at_s - 10 * (index + 1) for index, (at_s, _) in enumerate(desk.taken)]
    assert len(waits_s) == 4
    assert max(waits_s) <= LOOK_S
    task.cancel()


@in_virtual_time
async def test_turns_follow_the_weights_while_all_have_work() -> None:
    lanes = MemoryLanes(now_ms)
    desk = Desk(lanes, work_s=0.5)
    for lane, letter in ((FREE, "f"), (PLUS, "l"), (PRO, "p")):
        put(lanes, lane, [f"{letter}{number}" for number in range(100)])
    task = asyncio.create_task(puller_for(lanes, desk, slots=1).run())
    await asyncio.sleep(60)
    # The higher tiers are a little ahead first.
    later = [name[0] for name in desk.names[50:102]]
    assert [later.count(letter) for letter in "flp"] == [4, 16, 32]
    task.cancel()


@in_virtual_time
async def test_it_is_service_that_follows_the_weights_not_the_number_of_runs() -> None:
    lanes = MemoryLanes(now_ms)
    desk = Desk(lanes, work_s=0.1, cost_tokens={Tier.FREE: 200, Tier.PRO: 1_600})
    for lane, letter in ((FREE, "f"), (PRO, "p")):
        put(lanes, lane, [f"{letter}{number}" for number in range(150)])
    task = asyncio.create_task(puller_for(lanes, desk, slots=1).run())
    await asyncio.sleep(30)
    later = [name[0] for name in desk.names[50:150]]
    # Eight times the service at eight times the cost of a run: as many runs of both.
    assert abs(later.count("f") - 50) <= 5
    task.cancel()


@in_virtual_time
async def test_a_lane_that_runs_empty_does_not_keep_the_slot_from_the_others() -> None:
    lanes = MemoryLanes(now_ms)
    desk = Desk(lanes, work_s=0.5)
    put(lanes, PRO, ["p1", "p2"])
    put(lanes, FREE, ["f1", "f2", "f3", "f4"])
    task = asyncio.create_task(puller_for(lanes, desk, slots=1).run())
    await asyncio.sleep(20)
    assert len(desk.taken) == 6
    gaps_s = [later - earlier for (earlier, _), (later, _) in pairwise(desk.taken)]
    assert max(gaps_s) < 0.5 + 1.0
    task.cancel()


@in_virtual_time
async def test_surplus_is_handed_back_for_others_to_take() -> None:
    lanes = MemoryLanes(now_ms)
    desk = Desk(lanes, work_s=1000)
    task = asyncio.create_task(puller_for(lanes, desk, slots=1).run())
    await asyncio.sleep(1)
    # Three polls are standing for one slot; all of them get a job.
    for lane, name in ((FREE, "f"), (PLUS, "l"), (PRO, "p")):
        put(lanes, lane, [name])
    await asyncio.sleep(1)
    assert len(desk.taken) == 1
    visible = [
        name for lane, name in ((FREE, "f"), (PLUS, "l"), (PRO, "p")) if lanes.receive(lane, 0)
    ]
    assert {*visible, *desk.names} == {"f", "l", "p"}
    task.cancel()


@in_virtual_time
async def test_a_paused_puller_takes_nothing_until_it_goes_on() -> None:
    lanes = MemoryLanes(now_ms)
    desk = Desk(lanes)
    puller = puller_for(lanes, desk, slots=1)
    puller.pause(True)
    put(lanes, PRO, ["p"])
    task = asyncio.create_task(puller.run())
    await asyncio.sleep(30)
    assert desk.names == []
    puller.pause(False)
    await asyncio.sleep(1)
    assert desk.names == ["p"]
    task.cancel()


@in_virtual_time
async def test_stopping_takes_no_new_work_and_waits_for_the_standing_polls() -> None:
    lanes = MemoryLanes(now_ms)
    desk = Desk(lanes)
    puller = puller_for(lanes, desk, slots=1)
    task = asyncio.create_task(puller.run())
    await asyncio.sleep(1)
    puller.stop()
    put(lanes, FREE, ["late"])
    began_s = asyncio.get_running_loop().time()
    await task
    assert asyncio.get_running_loop().time() - began_s <= POLL_S
    assert desk.names == []
    assert lanes.receive(FREE, 0) is not None


@in_virtual_time
async def test_a_lane_in_trouble_is_polled_again() -> None:
    class Troubled(MemoryLanes):
        failures = 3

        def receive(self, lane: Lane, wait_s: int) -> Received[Job] | None:
            if self.failures:
                self.failures -= 1
                raise StoreUnavailable("SQS: throttled")
            return MemoryLanes.receive(self, lane, wait_s)

    lanes = Troubled(now_ms)
    desk = Desk(lanes)
    put(lanes, PRO, ["p"])
    task = asyncio.create_task(puller_for(lanes, desk, slots=1).run())
    await asyncio.sleep(3)
    assert desk.names == ["p"]
    task.cancel()


@dataclass(slots=True)
class Polled(MemoryLanes):
    polled: set[Lane] = field(default_factory=set)

    def receive(self, lane: Lane, wait_s: int) -> Received[Job] | None:
        self.polled.add(lane)
        # As slots are: the class is made anew for them, and a bare super() has the former one.
        return MemoryLanes.receive(self, lane, wait_s)


def tiers_with(tier: Tier, **changes: Any) -> Tiers:
    return {**ROOM_FOR_ALL, tier: replace(ROOM_FOR_ALL[tier], **changes)}


class TestChangedSettings:
    @in_virtual_time
    async def test_a_paused_tiers_backlog_waits_and_goes_on_and_the_others_have_its_turns(
        self,
    ) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes)
        puller = puller_for(lanes, desk, slots=1)
        put(lanes, PRO, [f"p{number}" for number in range(30)])
        put(lanes, FREE, [f"f{number}" for number in range(20)])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(5)
        assert desk.names.count("p0") == 1
        puller.adopt(tiers_with(Tier.PRO, paused=True))
        # What runs goes on; nothing new of the tier is begun.
        await asyncio.sleep(1)
        before = len(desk.taken)
        await asyncio.sleep(10)
        meanwhile = desk.names[before:]
        assert len(meanwhile) >= 9
        assert {name[0] for name in meanwhile} == {"f"}
        puller.adopt(ROOM_FOR_ALL)
        await asyncio.sleep(60)
        assert sorted(desk.names) == sorted(
            [*(f"p{number}" for number in range(30)), *(f"f{number}" for number in range(20))]
        )
        task.cancel()

    @in_virtual_time
    async def test_work_for_a_paused_tier_is_met_when_it_is_resumed(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes)
        puller = puller_for(lanes, desk, slots=2)
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(0.1)
        # Its poll stands already; what that brings is given back.
        puller.adopt(tiers_with(Tier.FREE, paused=True))
        put(lanes, FREE, ["f1"])
        await asyncio.sleep(30)
        assert desk.names == []
        assert lanes.receive(FREE, 0) is not None
        put(lanes, FREE, ["f2"])
        puller.adopt(ROOM_FOR_ALL)
        await asyncio.sleep(1)
        assert desk.names == ["f2"]
        task.cancel()

    @in_virtual_time
    async def test_a_paused_tiers_lane_is_not_polled_until_it_is_resumed(self) -> None:
        lanes = Polled(now_ms)
        puller = puller_for(lanes, Desk(lanes), slots=2)
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(1)
        puller.adopt({tier: replace(limits, paused=True) for tier, limits in ROOM_FOR_ALL.items()})
        await asyncio.sleep(POLL_S + LOOK_S)
        lanes.polled.clear()
        put(lanes, FREE, ["f1"])
        await asyncio.sleep(60)
        assert lanes.polled == set()
        puller.adopt(tiers_with(Tier.PRO, paused=True))
        await asyncio.sleep(LOOK_S)
        assert lanes.polled == {lane for lane in LANES if lane.tier is not Tier.PRO}
        task.cancel()

    @in_virtual_time
    async def test_weights_are_those_of_the_settings_from_now_on(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=0.1)
        puller = puller_for(lanes, desk, slots=1)
        for lane, letter in ((FREE, "f"), (PRO, "p")):
            put(lanes, lane, [f"{letter}{number}" for number in range(300)])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(10)
        puller.adopt(tiers_with(Tier.FREE, weight=8))
        before = len(desk.taken)
        await asyncio.sleep(10)
        later = [name[0] for name in desk.names[before:]]
        # One run by the old weight is worth eight by the new one: so many turns the other may get first.
        evenly = later[8:]
        assert len(evenly) > 60
        assert abs(evenly.count("f") - evenly.count("p")) <= 1
        task.cancel()


@dataclass(frozen=True, slots=True)
class FurthestFirst(LongPolls):
    """Polls of which those of further lanes are answered sooner."""

    async def __call__(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        if function.__name__ == "receive":
            await asyncio.sleep(0.003 * (RING - args[0].index))
        return await LongPolls.__call__(self, function, *args, **kwargs)


def free(number: int) -> Lane:
    return lane_of(Tier.FREE, number)


class TestTheLanesOfATier:
    @in_virtual_time
    async def test_are_served_the_nearest_first_whoever_answers_first(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=0.5)
        for number in range(6):
            put(lanes, free(number), [f"{number}-{each}" for each in range(3)])
        task = asyncio.create_task(puller_for(lanes, desk, 1, FurthestFirst()).run())
        await asyncio.sleep(60)
        assert len(desk.names) == 18
        assert desk.names == sorted(desk.names)
        task.cancel()

    @in_virtual_time
    async def test_are_served_behind_the_returns(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1.0)
        put(lanes, free(0), ["f1", "f2"])
        task = asyncio.create_task(puller_for(lanes, desk, slots=1).run())
        await asyncio.sleep(0.5)
        put(lanes, returns_of(Tier.FREE), ["r1", "r2"])
        await asyncio.sleep(10)
        assert desk.names == ["f1", "r1", "r2", "f2"]
        task.cancel()

    @in_virtual_time
    async def test_a_stray_is_served_before_the_front(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1.0)
        puller = puller_for(lanes, desk, slots=1)
        puller.moved_on(Tier.FREE, 5)
        put(lanes, free(5), ["f1", "f2"])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(0.5)
        put(lanes, free(4), ["stray"])
        await asyncio.sleep(10)
        assert desk.names == ["f1", "stray", "f2"]
        # It does not take the front back.
        assert puller.calendar(Tier.FREE).front == 5
        task.cancel()

    @in_virtual_time
    async def test_a_job_from_behind_a_lane_with_work_is_given_back(self) -> None:
        """Its poll stood already when the nearer lane got work."""
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1_000)
        puller = puller_for(lanes, desk, slots=3)
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(1)
        put(lanes, free(0), ["near-1", "near-2", "near-3"])
        await asyncio.sleep(LOOK_S + 0.05)
        put(lanes, free(3), ["far"])
        await asyncio.sleep(10)
        assert desk.names == ["near-1", "near-2", "near-3"]
        assert lanes.receive(free(3), 0) is not None
        assert puller.calendar(Tier.FREE).front == 0
        task.cancel()

    @in_virtual_time
    async def test_the_front_moves_to_where_there_is_work_and_is_stored(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1.0)
        puller = puller_for(lanes, desk, slots=1)
        put(lanes, free(0), ["f0"])
        put(lanes, free(3), ["f3"])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(0.5)
        assert puller.calendar(Tier.FREE).front == desk.stores.calendars.get(Tier.FREE).front == 0
        await asyncio.sleep(5)
        assert desk.names == ["f0", "f3"]
        assert puller.calendar(Tier.FREE).front == desk.stores.calendars.get(Tier.FREE).front == 3
        assert puller.calendar(Tier.PRO).front == 0
        task.cancel()

    @in_virtual_time
    async def test_a_front_that_others_have_moved_further_is_followed(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes)
        desk.stores.calendars.advance(Tier.FREE, 7)
        puller = puller_for(lanes, desk, slots=1)
        put(lanes, free(2), ["f2"])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(3)
        assert puller.calendar(Tier.FREE).front == desk.stores.calendars.get(Tier.FREE).front == 7
        puller.moved_on(Tier.FREE, 5)
        assert puller.calendar(Tier.FREE).front == 7
        task.cancel()

    @in_virtual_time
    async def test_a_front_that_cannot_be_stored_is_carried_along_by_the_next(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes)
        calendars = _AwayOnce(desk.stores.calendars)
        desk.stores = replace(desk.stores, calendars=calendars)  # type: ignore[arg-type]
        puller = puller_for(lanes, desk, slots=1)
        put(lanes, free(1), ["f1"])
        put(lanes, free(2), ["f2"])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(5)
        assert desk.names == ["f1", "f2"]
        assert desk.stores.calendars.get(Tier.FREE).front == 2
        task.cancel()


@dataclass(slots=True)
class _AwayOnce:
    inner: Any
    is_away: bool = True

    def get(self, tier: Tier) -> Any:
        return self.inner.get(tier)

    def advance(self, tier: Tier, front: int) -> Any:
        if self.is_away:
            self.is_away = False
            raise StoreUnavailable("throttled")
        return self.inner.advance(tier, front)


EXTRA: Tiers = {
    tier: replace(limits, overcommit_slots={Tier.PLUS: 1, Tier.PRO: 2}.get(tier, 0))
    for tier, limits in DEFAULTS.items()
}


class TestExtraSlots:
    @in_virtual_time
    async def test_are_for_those_who_have_some(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1_000)
        task = asyncio.create_task(puller_for(lanes, desk, slots=2, tiers=EXTRA).run())
        put(lanes, FREE, ["f1", "f2", "f3"])
        await asyncio.sleep(5)
        assert desk.names == ["f1", "f2"]
        put(lanes, PLUS, ["l1", "l2"])
        await asyncio.sleep(5)
        assert desk.names == ["f1", "f2", "l1"]
        # One extra slot is taken: of the two that pro has, one is left.
        put(lanes, PRO, ["p1", "p2"])
        await asyncio.sleep(5)
        assert desk.names == ["f1", "f2", "l1", "p1"]
        assert [lanes.receive(lane, 0) is not None for lane in (FREE, PLUS, PRO)] == [True] * 3
        task.cancel()

    @in_virtual_time
    async def test_are_no_way_past_the_weights(self) -> None:
        """Only a tier that is not far ahead of those beside it may have more than there is for all."""
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1_000)
        puller = puller_for(lanes, desk, slots=1, tiers=EXTRA)
        put(lanes, FREE, ["f1"])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(1)
        for _ in range(2):
            ahead = puller.turns.take(Tier.PRO, {Tier.PRO, Tier.FREE})
            puller.turns.settle(Tier.PRO, ahead, 1_000_000)
        put(lanes, PRO, ["p1"])
        await asyncio.sleep(5)
        assert desk.names == ["f1"]
        assert lanes.receive(PRO, 0) is not None
        task.cancel()

    @in_virtual_time
    async def test_a_slot_counts_as_free_only_when_those_beyond_are_given_back(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1_000)
        puller = puller_for(lanes, desk, slots=1, tiers=EXTRA)
        put(lanes, PRO, ["p1", "p2", "p3"])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(5)
        assert desk.names == ["p1", "p2", "p3"]
        assert puller.free_slots == 0
        put(lanes, FREE, ["f1"])
        for name in ("p1", "p2"):
            desk.leaving[name].set()
            await asyncio.sleep(1)
            assert "f1" not in desk.names
        desk.leaving["p3"].set()
        await asyncio.sleep(1)
        assert desk.names[-1] == "f1"
        task.cancel()

    @in_virtual_time
    async def test_when_the_last_is_taken_a_lower_run_has_to_leave(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1_000)
        task = asyncio.create_task(puller_for(lanes, desk, slots=2, tiers=EXTRA).run())
        put(lanes, FREE, ["f1", "f2"])
        await asyncio.sleep(1)
        put(lanes, PRO, ["p1"])
        await asyncio.sleep(1)
        assert desk.preempted_for == [Tier.FREE] * desk.preempted_for.count(Tier.FREE)
        put(lanes, PRO, ["p2"])
        await asyncio.sleep(1)
        assert desk.names == ["f1", "f2", "p1", "p2"]
        assert desk.preempted_for[-1] is Tier.PRO
        assert desk.preempted_for.count(Tier.PRO) == 1
        # The door: when he has left, the next of the tier finds room at once.
        desk.leaving["f1"].set()
        put(lanes, PRO, ["p3"])
        await asyncio.sleep(1)
        assert desk.names[-1] == "p3"
        assert desk.preempted_for.count(Tier.PRO) == 2
        task.cancel()

    @in_virtual_time
    async def test_are_not_taken_while_the_engine_reads_a_lower_tiers_prompt(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1_000, reads_s=3.0)
        task = asyncio.create_task(puller_for(lanes, desk, slots=1, tiers=EXTRA).run())
        put(lanes, FREE, ["f1"])
        await asyncio.sleep(1)
        put(lanes, PRO, ["p1"])
        await asyncio.sleep(1)
        assert desk.names == ["f1"]
        await asyncio.sleep(2)
        assert desk.names == ["f1", "p1"]
        task.cancel()

    @in_virtual_time
    async def test_who_is_contended_is_known_by_the_slots_left(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1_000)
        task = asyncio.create_task(puller_for(lanes, desk, slots=2, tiers=EXTRA).run())
        put(lanes, PRO, ["p1", "p2", "p3"])
        await asyncio.sleep(1)
        assert desk.contended == {"p1": False, "p2": True, "p3": True}
        task.cancel()


def offered(lanes: MemoryLanes, name: str, tier: Tier = Tier.FREE) -> Delivery:
    job = Job(run_id=name, chat_id="c", user_id="u", tier=tier, message_seq=1, offered_ms=now_ms())
    return Delivery(job, now_ms(), None, "", 0, lanes, Calls(), text="Hello")


class TestOffers:
    @in_virtual_time
    async def test_are_begun_at_once_where_there_is_room(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes)
        puller = puller_for(lanes, desk, slots=1)
        puller.offer(offered(lanes, "o1"))
        await asyncio.sleep(0)
        assert desk.names == ["o1"]
        assert puller.offers == 0

    @in_virtual_time
    async def test_are_begun_when_a_slot_is_free_before_the_lanes(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=2.0)
        puller = puller_for(lanes, desk, slots=1)
        put(lanes, FREE, ["f1", "f2"])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(1)
        puller.offer(offered(lanes, "o1"))
        assert puller.offers == 1
        await asyncio.sleep(20)
        assert desk.names == ["f1", "o1", "f2"]
        assert puller.offers == 0
        task.cancel()

    @in_virtual_time
    async def test_are_dropped_when_they_no_longer_stand(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=PATIENCE_MS / 1000 + 1)
        puller = puller_for(lanes, desk, slots=1)
        put(lanes, FREE, ["f1"])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(0.5)
        puller.offer(offered(lanes, "o1"))
        await asyncio.sleep(PATIENCE_MS / 1000 - 0.1)
        assert puller.offers == 1
        await asyncio.sleep(0.1)
        # By now whoever finds its twin makes it.
        assert puller.offers == 0
        await asyncio.sleep(10)
        assert desk.names == ["f1"]
        task.cancel()

    @in_virtual_time
    async def test_buy_no_turn_where_another_tier_is_to_be_served(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1.0)
        puller = puller_for(lanes, desk, slots=1)
        put(lanes, PRO, [f"p{number}" for number in range(4)])
        task = asyncio.create_task(puller.run())
        await asyncio.sleep(0.5)
        puller.offer(offered(lanes, "o1"))
        await asyncio.sleep(20)
        assert desk.names == ["p0", "p1", "p2", "p3", "o1"]
        task.cancel()

    @in_virtual_time
    async def test_wait_where_the_tier_is_paused_or_the_engine_away(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes)
        puller = puller_for(lanes, desk, slots=1)
        puller.adopt(tiers_with(Tier.FREE, paused=True))
        puller.offer(offered(lanes, "o1"))
        puller.pause(True)
        puller.adopt(ROOM_FOR_ALL)
        await asyncio.sleep(1)
        assert desk.names == []
        puller.pause(False)
        await asyncio.sleep(0)
        assert desk.names == ["o1"]

    @in_virtual_time
    async def test_may_have_an_extra_slot_as_the_lanes_may(self) -> None:
        lanes = MemoryLanes(now_ms)
        desk = Desk(lanes, work_s=1_000)
        puller = puller_for(lanes, desk, slots=1, tiers=EXTRA)
        for name, tier in (("o1", Tier.FREE), ("o2", Tier.FREE), ("o3", Tier.PRO)):
            puller.offer(offered(lanes, name, tier))
        await asyncio.sleep(0.1)
        assert desk.names == ["o1", "o3"]
