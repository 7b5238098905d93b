"""The loop of the simulation: hours pass at once, in order, and a stuck world says so."""

import asyncio
import time

import pytest

from tests.simulation.process import Process
from virtual_clock.loop import START_MS, Stuck, in_virtual_time, now_ms, run


def test_hours_pass_at_once_and_in_order() -> None:
    async def main() -> list[int]:
        woken: list[int] = []

        async def sleeper(hours: int) -> None:
            await asyncio.sleep(hours * 3_600)
            woken.append(hours)

        await asyncio.gather(*(sleeper(hours) for hours in (5, 1, 3)))
        assert now_ms() == START_MS + 5 * 3_600_000
        return woken

    began_s = time.monotonic()
    assert run(main()) == [1, 3, 5]
    assert time.monotonic() - began_s < 1


@in_virtual_time
async def test_time_outs_fire_on_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await asyncio.sleep(61)
    assert asyncio.get_running_loop().time() == pytest.approx(60)


def test_a_stuck_world_says_so() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(main())


def test_a_fault_that_nobody_caught_fails_the_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(_broken)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        run(main())


def test_a_fault_of_a_task_that_nobody_awaited_fails_the_run() -> None:
    async def broken() -> None:
        _broken()

    async def main() -> None:
        task = asyncio.create_task(broken())
        await asyncio.sleep(1)
        del task

    with pytest.raises(ZeroDivisionError):
        run(main())


@in_virtual_time
async def test_what_a_process_has_begun_ends_with_it() -> None:
    ended: list[str] = []

    async def begun() -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            ended.append("what it began")

    async def main() -> None:
        try:
            await asyncio.create_task(begun())
        finally:
            ended.append("itself")

    process = Process("worker")
    process.start(main())
    await asyncio.sleep(1)
    process.kill()
    await process.bury()
    assert set(ended) == {"itself", "what it began"}
    assert asyncio.get_running_loop().time() < 2


def _broken() -> None:
    raise ZeroDivisionError("as planned")
