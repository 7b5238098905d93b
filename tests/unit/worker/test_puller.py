"""Pulling: only for free slots, by turns, and never an idle slot beside waiting work."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.lanes import Lane
from chatcore.domain.tiers import Tier
from chatcore.ports import Received
from chatcore.protocol.queue import Job
from gpu_service.worker.pull import POLL_S, Puller, Turn
from tests.simulation.process import LOOK_S, LongPolls
from tests.simulation.virtual_time import in_virtual_time, now_ms
from tests.unit.worker.stage import QUIET

FREE, PLUS, PRO = Lane(Tier.FREE), Lane(Tier.PLUS), Lane(Tier.PRO)


@dataclass(slots=True)
class Desk:
    """Takes jobs as a Maker would, and acknowledges them when it is told that they are done."""

    lanes: MemoryLanes
    taken: list[tuple[float, str]] = field(default_factory=list)
    work_s: float = 1.0
    cost_tokens: Mapping[Tier, int] = field(default_factory=dict)

    async def make(self, lane: Lane, received: Received[Job], turn: Turn) -> None:
        self.taken.append((asyncio.get_running_loop().time(), received.item.run_id))
        await asyncio.sleep(self.work_s)
        self.lanes.acknowledge(lane, received.handle)
        turn.settle(self.cost_tokens.get(lane.tier, 700))
        turn.release()

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


def puller_for(lanes: MemoryLanes, desk: Desk, slots: int) -> Puller:
    return Puller(lanes, slots, LongPolls(), desk.make, QUIET, now_ms)


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
        put(lanes, lane, [f"{letter}{number}" for number in range(60)])
    task = asyncio.create_task(puller_for(lanes, desk, slots=1).run())
    await asyncio.sleep(30)
    first = [name[0] for name in desk.names[:52]]
    assert [first.count(letter) for letter in "flp"] == [4, 16, 32]
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
