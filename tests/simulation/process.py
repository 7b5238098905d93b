"""Owns processes that can stop and die: whose callbacks are whose, and how they call the outside.

A stopped process (SIGSTOP) does nothing at all until it goes on; then all that was due happens late,
calls that it was about to make among it: that is how a worker becomes a zombie. A killed one does
nothing any more, not even its `finally` blocks; they run when it is buried, after the end of the
world, with all its calls refused.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from tests.simulation.threads import Thread
from virtual_clock.loop import Timer, VirtualTimeLoop, current_owner, now_ms

P = ParamSpec("P")
T = TypeVar("T")

LOOK_S = 0.2
"""How often a standing long poll looks."""

ANSWER_S = 0.01
"""How long a poll takes at least, so that several stand at once."""


@dataclass(slots=True, eq=False)
class Process:
    """skew_ms: how far its clock is ahead; awake_since_s: when it was started, or went on."""

    name: str
    skew_ms: int = 0
    dead: bool = False
    frozen: bool = False
    awake_since_s: float = 0.0
    parked: list[Timer] = field(default_factory=list)
    tasks: "dict[asyncio.Task[Any], None]" = field(default_factory=dict)

    def start(self, main: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Everything that main starts belongs to this process too."""
        loop = asyncio.get_running_loop()
        self.awake_since_s = loop.time()
        token = current_owner.set(self)
        try:
            return loop.create_task(main, name=self.name)
        finally:
            current_owner.reset(token)

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        self.tasks[task] = None
        task.add_done_callback(self._forget)

    def stop(self) -> None:
        self.frozen = True

    def go_on(self) -> None:
        if self.frozen and not self.dead:
            self._thaw()

    def kill(self) -> None:
        self.dead = self.frozen = True

    async def bury(self) -> None:
        """Let a dead process's tasks unwind, so that none is left behind."""
        for task in self.tasks:
            task.cancel()
        left = list(self.tasks)
        self._thaw()
        if left:
            await asyncio.wait(left)

    def now_ms(self) -> int:
        return now_ms() + self.skew_ms

    def _thaw(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.frozen = False
        self.awake_since_s = loop.time()
        loop.unpark(self.parked)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.pop(task, None)


@dataclass(frozen=True, slots=True)
class ThreadCalls:
    """How a process makes blocking calls: on a thread, which goes on if nobody waits for it."""

    process: Process

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.process.dead:
            raise asyncio.CancelledError
        thread = Thread(self.process, functools.partial(function, *args, **kwargs))
        thread.step()
        answer: T = await thread.answer
        return answer


@dataclass(frozen=True, slots=True)
class LongPolls:
    """Polls of memory queues, which answer at once: `receive` stands until there is something, or for
    as long as it was asked to."""

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        stands = getattr(function, "__name__", "") == "receive"
        wait_s = args[-1] if stands else 0.0
        assert isinstance(wait_s, int | float)
        deadline_s = loop.time() + wait_s
        await asyncio.sleep(ANSWER_S)
        while True:
            result = function(*args, **kwargs)
            if result or loop.time() >= deadline_s:
                return result
            await asyncio.sleep(LOOK_S)
