"""Owns virtual time: an event loop whose clock jumps to the next timer when nothing is ready.

Nothing sleeps for real, so an hour of timers takes as long as its callbacks do. Threads, sockets and
subprocesses are no part of it: a loop that would wait for them only is stuck, and says so. Timers that
fall due together run in the order in which they were set, and sets of tasks iterate in the order of
their making: the same program runs the same way each time.
"""

import asyncio
import functools
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import Context, ContextVar, copy_context
from typing import Any, ParamSpec, Protocol, TypedDict, TypeVar, TypeVarTuple, Unpack, cast

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_MS = 1_800_000_000_000
"""The Unix time at which every virtual clock starts."""


class Stuck(Exception):
    """Nothing is ready and no timer is set: nothing would ever happen again."""


class Owner(Protocol):
    """Whose callbacks they are: while it is frozen, what would run is parked instead."""

    @property
    def frozen(self) -> bool: ...

    @property
    def parked(self) -> "list[Timer]": ...

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """A task of its has begun."""


current_owner: "ContextVar[Owner | None]" = ContextVar("owner", default=None)
"""What a callback does, and whatever it starts, belongs to the same owner."""


class Timer:
    """A callback that is to run: the loop's handle, with as little to it as the simulation needs."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "owner", "when_s")

    def __init__(
        self,
        when_s: float,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: Context | None,
    ) -> None:
        self.when_s = when_s
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.owner = self.context.get(current_owner)
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.when_s


class _Options(TypedDict, total=False):
    """What `create_task` may say of a task."""

    name: str | None
    context: Context | None


class _Task(asyncio.Task[T]):
    """Hashed by its number, not by its address, which differs between one process and the next."""

    numbers = itertools.count()

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
        loop: asyncio.AbstractEventLoop,
        **options: Unpack[_Options],
    ) -> None:
        self._number = next(self.numbers)
        super().__init__(coroutine, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """faults: what no task or callback caught; a run that has any of them fails."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[BaseException] = []
        self._now_s = 0.0
        self._runnable: deque[Timer] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self.set_exception_handler(self._note_fault)
        self.set_task_factory(_make_task)

    def time(self) -> float:
        return self._now_s

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        timer = Timer(self._now_s, callback, args, context)
        self._runnable.append(timer)
        return cast(asyncio.Handle, timer)

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = Timer(when, callback, args, context)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return cast(asyncio.TimerHandle, timer)

    def unpark(self, timers: list[Timer]) -> None:
        """Run what was parked, in the order in which it would have run."""
        self._runnable.extend(timers)
        timers.clear()

    def _run_once(self) -> None:
        """What the base class calls for ever: run what is ready, after moving the clock if nothing is."""
        runnable, timers = self._runnable, self._timers
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        if not runnable:
            if not timers:
                raise Stuck("nothing is ready and no timer is set")
            self._now_s = max(self._now_s, timers[0][0])
        while timers and timers[0][0] <= self._now_s:
            runnable.append(heapq.heappop(timers)[2])
        for _ in range(len(runnable)):
            timer = runnable.popleft()
            if timer.is_cancelled:
                continue
            if timer.owner is not None and timer.owner.frozen:
                timer.owner.parked.append(timer)
                continue
            try:
                timer.context.run(timer.callback, *timer.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as fault:
                self.faults.append(fault)

    def _note_fault(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        fault = context.get("exception")
        self.faults.append(fault or RuntimeError(str(context.get("message"))))


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
    **options: Unpack[_Options],
) -> asyncio.Task[T]:
    task: asyncio.Task[T] = _Task(coroutine, loop, **options)
    owner = current_owner.get()
    if owner is not None:
        owner.adopt(task)
    return task


def now_ms() -> int:
    """Virtual Unix milliseconds, inside a running virtual loop."""
    return START_MS + round(asyncio.get_running_loop().time() * 1000)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it in virtual time; raises what it raises, or the first fault that nobody caught."""
    loop = VirtualTimeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main)
    for fault in loop.faults:
        raise fault
    return result


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Makes a plain test of a coroutine."""

    @functools.wraps(test)
    def in_a_loop_of_its_own(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return in_a_loop_of_its_own
