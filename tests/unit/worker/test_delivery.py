"""A delivery: kept while its run is made here, moved where it is found early, let go once."""

from collections.abc import Callable
from typing import Any

import pytest

from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.domain import lease
from chatcore.domain.calendar import RING, lane_of, number_in, returns_of
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.lanes import Lane
from chatcore.domain.tiers import Tier
from chatcore.protocol.queue import Job
from gpu_service.worker.delivery import Delivery
from tests.contract.clock import TestClock
from tests.unit.worker.stage import Calls

FRONT = 20
HERE = lane_of(Tier.FREE, FRONT)
RETURNS = returns_of(Tier.FREE)
JOB = Job(run_id="r_1", chat_id="c_1", user_id="u", tier=Tier.FREE, message_seq=1)


def received(lanes: MemoryLanes, lane: Lane = HERE) -> Delivery:
    lanes.send(lane, JOB)
    got = lanes.receive(lane, 0)
    assert got is not None
    number = FRONT if lane == RETURNS else number_in(lane, FRONT)
    return Delivery(got.item, got.sent_ms, lane, got.handle, number, lanes, Calls())


class Failing:
    """Lanes of which one call fails."""

    def __init__(self, lanes: MemoryLanes, method: str) -> None:
        self._lanes = lanes
        self._method = method

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == self._method:
            raise StoreUnavailable(name)
        method: Callable[..., Any] = getattr(self._lanes, name)
        return method


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def lanes(clock: TestClock) -> MemoryLanes:
    return MemoryLanes(clock)


async def test_hidden_it_comes_back_after_so_long(lanes: MemoryLanes, clock: TestClock) -> None:
    await received(lanes).hide(3)
    clock.advance(2_999)
    assert lanes.receive(HERE, 0) is None
    clock.advance(1)
    assert lanes.receive(HERE, 0) is not None


@pytest.mark.parametrize("lane", [HERE, RETURNS], ids=str)
async def test_kept_it_stays_where_it_is_for_as_long_as_a_lease(
    lanes: MemoryLanes, clock: TestClock, lane: Lane
) -> None:
    delivery = received(lanes, lane)
    for _ in range(3):
        clock.advance(lease.RENEW_EVERY_MS)
        await delivery.keep(FRONT)
    clock.advance(lease.HIDDEN_S * 1000 - 1)
    assert lanes.receive(lane, 0) is None
    assert delivery.lane == lane
    clock.advance(1)
    assert lanes.receive(lane, 0) is not None


async def test_a_front_that_has_moved_but_not_so_far_leaves_it(lanes: MemoryLanes) -> None:
    delivery = received(lanes)
    await delivery.keep(FRONT + 1)
    assert delivery.lane == HERE
    assert lanes.depth(RETURNS) == 0


async def test_when_the_front_has_left_its_lane_it_moves_to_the_returns(
    lanes: MemoryLanes, clock: TestClock
) -> None:
    delivery = received(lanes)
    await delivery.keep(FRONT + 2)
    assert (lanes.depth(HERE), lanes.depth(RETURNS)) == (0, 1)
    clock.advance(lease.HIDDEN_S * 1000 - 1)
    assert lanes.receive(RETURNS, 0) is None
    clock.advance(1)
    again = lanes.receive(RETURNS, 0)
    assert again is not None
    assert again.item == JOB
    # From then on it is not this one's any more.
    await delivery.keep(FRONT + 9)
    await delivery.acknowledge()
    assert lanes.depth(RETURNS) == 1


async def test_a_lane_that_stands_for_another_number_by_now_is_left_too(
    lanes: MemoryLanes,
) -> None:
    delivery = received(lanes)
    await delivery.keep(FRONT + RING)
    assert (lanes.depth(HERE), lanes.depth(RETURNS)) == (0, 1)


async def test_moved_it_is_there_before_it_is_gone_here(lanes: MemoryLanes) -> None:
    delivery = received(lanes)
    delivery.lanes = Failing(lanes, "acknowledge")
    with pytest.raises(StoreUnavailable):
        await delivery.move(RETURNS)
    assert (lanes.depth(HERE), lanes.depth(RETURNS)) == (1, 1)


async def test_one_that_cannot_be_put_elsewhere_stays(lanes: MemoryLanes) -> None:
    delivery = received(lanes)
    delivery.lanes = Failing(lanes, "send")
    with pytest.raises(StoreUnavailable):
        await delivery.move(RETURNS)
    assert (lanes.depth(HERE), lanes.depth(RETURNS)) == (1, 0)
    assert delivery.lane == HERE


async def test_an_offers_is_in_no_lane_and_only_ever_put_into_one(lanes: MemoryLanes) -> None:
    lanes.send(RETURNS, JOB)
    offered = Delivery(JOB, 0, None, "", 0, lanes, Calls(), text="Hello")
    await offered.hide(0)
    await offered.keep(FRONT)
    await offered.acknowledge()
    assert lanes.depth(RETURNS) == 1
    await offered.move(RETURNS)
    assert lanes.depth(RETURNS) == 2
