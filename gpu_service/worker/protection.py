"""Owns when this worker asks to be spared by those who want fewer workers.

    idle ── a run ──▶ spared, for STRETCH_MIN ── none for a while ──▶ not spared
                         └── the time is over: not spared, until it has been idle

When there are to be fewer, one that makes nothing goes first. A worker that is asked to leave all the same
drains, so being spared saves a hand-over, never an answer. It ends by itself: on a busy day a worker with
many slots is never idle, and a fleet of such workers could not shrink, nor take a new release.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aws_lambda_powertools import Logger

from chatcore.domain.errors import Retryable

STRETCH_MIN = 15
LOOK_EVERY_S = 5.0
IDLE_LOOKS = 6
"""So many in a row, or each pause between two answers would be two calls."""


async def protect_while_busy(
    is_busy: Callable[[], bool],
    protect: Callable[[int], Awaitable[None]],
    logger: Logger,
) -> None:
    """Until cancelled. protect: for so many minutes, 0 ends it; it raises Retryable."""
    asked = troubled = False
    idle_looks = 0
    while True:
        idle_looks = 0 if is_busy() else idle_looks + 1
        wanted = idle_looks == 0 or (asked and idle_looks < IDLE_LOOKS)
        if wanted is not asked:
            try:
                await protect(STRETCH_MIN if wanted else 0)
                asked, troubled = wanted, False
            except Retryable as error:
                if not troubled:
                    logger.warning("protection.trouble", extra={"reason": repr(error)})
                troubled = True
        await asyncio.sleep(LOOK_EVERY_S)
