"""Checkpoints of many runs in few calls, and each run told what became of its own."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.stream import Checkpoint
from chatcore.ports import MAX_CHECKPOINTS, RunStore
from gpu_service.worker.checkpoints import GATHER_S, Checkpoints
from tests.unit.worker.stage import Calls
from virtual_clock.loop import in_virtual_time, now_ms


@dataclass
class Batches:
    """Notes what it is given; fails for as many calls as told."""

    failures: int = 0
    written: list[list[Checkpoint]] = field(default_factory=list)

    def put_checkpoints(self, checkpoints: Sequence[Checkpoint], now_ms: int) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("not now")
        self.written.append(list(checkpoints))


def checkpoints_to(batches: Batches, delay_s: float = 0.0) -> Checkpoints:
    return Checkpoints(cast(RunStore, batches), Calls(delay_s), now_ms)


def piece(number: int) -> Checkpoint:
    return Checkpoint(f"r_{number}", 1, 0, "text")


async def put_all(checkpoints: Checkpoints, count: int) -> list[Any]:
    puts = (checkpoints.put(piece(number)) for number in range(count))
    return await asyncio.gather(*puts, return_exceptions=True)


@in_virtual_time
async def test_what_comes_within_a_moment_goes_in_one_call() -> None:
    batches = Batches()
    assert await put_all(checkpoints_to(batches), 3) == [None] * 3
    assert batches.written == [[piece(0), piece(1), piece(2)]]
    assert asyncio.get_running_loop().time() == pytest.approx(GATHER_S)


@in_virtual_time
async def test_no_call_holds_more_than_a_batch_and_a_full_one_does_not_wait() -> None:
    batches = Batches()
    await put_all(checkpoints_to(batches), 2 * MAX_CHECKPOINTS + 1)
    assert [len(batch) for batch in batches.written] == [MAX_CHECKPOINTS, MAX_CHECKPOINTS, 1]
    assert asyncio.get_running_loop().time() == pytest.approx(GATHER_S)


@in_virtual_time
async def test_a_failed_call_is_told_to_all_of_it_and_to_nobody_else() -> None:
    batches = Batches(failures=1)
    outcomes = await put_all(checkpoints_to(batches), MAX_CHECKPOINTS + 2)
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes[:MAX_CHECKPOINTS])
    assert outcomes[MAX_CHECKPOINTS:] == [None, None]


@in_virtual_time
async def test_nothing_is_told_durable_before_it_is() -> None:
    batches = Batches()
    put = asyncio.create_task(checkpoints_to(batches, delay_s=3.0).put(piece(1)))
    await asyncio.sleep(2.9)
    assert not put.done()
    await put
    assert batches.written == [[piece(1)]]


@in_virtual_time
async def test_who_stops_waiting_takes_nothing_from_the_others() -> None:
    batches = Batches()
    checkpoints = checkpoints_to(batches)
    leaver = asyncio.create_task(checkpoints.put(piece(1)))
    stayer = asyncio.create_task(checkpoints.put(piece(2)))
    await asyncio.sleep(0)
    leaver.cancel()
    await stayer
    assert batches.written == [[piece(1), piece(2)]]
    # And the next one begins anew.
    await checkpoints.put(piece(3))
    assert batches.written[1:] == [[piece(3)]]
