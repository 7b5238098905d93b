"""When a worker asks to be spared: while it answers, for a stretch, and not for each pause."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from aws_lambda_powertools import Logger

from chatcore.domain.errors import StoreUnavailable
from gpu_service.worker.protection import (
    IDLE_LOOKS,
    LOOK_EVERY_S,
    STRETCH_MIN,
    protect_while_busy,
)
from virtual_clock.loop import in_virtual_time

WHILE_S = IDLE_LOOKS * LOOK_EVERY_S


@dataclass
class Desk:
    """asked: minutes, in the order of the calls that came through; warned: what was logged."""

    busy: bool = False
    away: bool = False
    asked: list[int] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    async def protect(self, minutes: int) -> None:
        if self.away:
            raise StoreUnavailable("the agent is away")
        self.asked.append(minutes)

    def warning(self, line: str, **_: Any) -> None:
        self.warned.append(line)


@contextmanager
def looked_after(desk: Desk) -> Iterator[None]:
    looking = asyncio.create_task(
        protect_while_busy(lambda: desk.busy, desk.protect, cast(Logger, desk))
    )
    try:
        yield
    finally:
        looking.cancel()


@in_virtual_time
async def test_nothing_is_asked_while_there_is_nothing_to_do() -> None:
    desk = Desk()
    with looked_after(desk):
        await asyncio.sleep(600)
    assert desk.asked == []


@in_virtual_time
async def test_a_run_is_protected_and_a_worker_that_has_been_idle_for_a_while_is_not() -> None:
    desk = Desk()
    with looked_after(desk):
        await asyncio.sleep(1)
        desk.busy = True
        await asyncio.sleep(LOOK_EVERY_S)
        assert desk.asked == [STRETCH_MIN]
        desk.busy = False
        await asyncio.sleep(WHILE_S - LOOK_EVERY_S)
        assert desk.asked == [STRETCH_MIN]
        await asyncio.sleep(2 * LOOK_EVERY_S)
        assert desk.asked == [STRETCH_MIN, 0]


@in_virtual_time
async def test_a_pause_between_two_answers_is_no_call() -> None:
    desk = Desk(busy=True)
    with looked_after(desk):
        for _ in range(20):
            desk.busy = not desk.busy
            await asyncio.sleep(WHILE_S / 2)
    assert desk.asked == [STRETCH_MIN]


@in_virtual_time
async def test_a_worker_that_is_never_idle_is_spared_once_and_then_may_go() -> None:
    desk = Desk(busy=True)
    with looked_after(desk):
        await asyncio.sleep(10 * STRETCH_MIN * 60)
    assert desk.asked == [STRETCH_MIN]


@in_virtual_time
async def test_an_agent_that_is_away_is_asked_again_and_told_of_once() -> None:
    desk = Desk(busy=True, away=True)
    with looked_after(desk):
        await asyncio.sleep(10 * LOOK_EVERY_S)
        assert (desk.asked, desk.warned) == ([], ["protection.trouble"])
        desk.away = False
        await asyncio.sleep(LOOK_EVERY_S)
        assert desk.asked == [STRETCH_MIN]
