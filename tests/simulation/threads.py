"""Owns threads on virtual time: blocking code that stops at each call to the outside, and goes on later.

The services are synchronous; in production each runs on a thread or in a Lambda of its own. Here each
runs in a greenlet, and whatever port it calls pauses it, so that others get between any two of its
calls. Like a real thread it goes on when nobody waits for its answer any more, but not after its
process has died.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast

from greenlet import GreenletExit, greenlet  # type: ignore[import-untyped]

from virtual_clock.loop import Timer


class Mortal(Protocol):
    """A process as its threads know it. skew_ms: how far its clock is ahead."""

    @property
    def dead(self) -> bool: ...

    @property
    def skew_ms(self) -> int: ...


class Thread:
    """answer: what the function returns or raises. pauses_left: how many before the process dies."""

    current: ClassVar["Thread | None"] = None

    def __init__(self, process: Mortal, function: Callable[[], Any]) -> None:
        self.process = process
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._greenlet: Any = greenlet(function)
        self._timer: asyncio.TimerHandle | None = None

    def step(self) -> None:
        """Run up to the next pause."""
        outer, Thread.current = Thread.current, self
        try:
            if self.process.dead:
                self._greenlet.throw(GreenletExit)
                self.answer.cancel()
                return
            pause_s = self._greenlet.switch()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as fault:
            if not self.answer.done():
                self.answer.set_exception(fault)
            return
        finally:
            Thread.current = outer
        if not self._greenlet.dead:
            self._timer = asyncio.get_running_loop().call_later(pause_s, self.step)
        elif not self.answer.done():
            self.answer.set_result(pause_s)

    def wait(self, pause_s: float) -> None:
        self._greenlet.parent.switch(pause_s)

    def go_on_in(self, seconds: float) -> None:
        """Not when its pause is over, but so much from now."""
        timer = cast(Timer, self._timer)
        timer.cancel()
        # As its own process's doing, not that of whoever wakes it.
        self._timer = asyncio.get_running_loop().call_later(
            seconds, self.step, context=timer.context
        )


class Bell:
    """What threads that have nothing to do wait for."""

    def __init__(self) -> None:
        self._waiting: dict[Thread, None] = {}

    def wait(self, seconds: float) -> None:
        """Until it is rung, but no longer than that."""
        thread = Thread.current
        assert thread is not None
        self._waiting[thread] = None
        try:
            thread.wait(seconds)
        finally:
            self._waiting.pop(thread, None)

    def ring(self, within_s: float, rng: random.Random) -> None:
        """All who wait go on, each at some time within that."""
        for thread in self._waiting:
            thread.go_on_in(rng.uniform(0, within_s))
        self._waiting.clear()


def pause(seconds: float) -> None:
    """Let others run for so long. Nothing, for a caller that is on no thread."""
    if Thread.current is not None:
        Thread.current.wait(seconds)


def skew_ms() -> int:
    """How far the clock of whoever asks is ahead."""
    return 0 if Thread.current is None else Thread.current.process.skew_ms
