"""Owns AWS as it may behave: calls that fail before, after or during what they do, deliveries that
come twice, late or to nobody, posts that vanish.

The memory adapters do the work; what stands here comes between them and the product. Left out:
throughput limits, fair queues' reordering, retention and TTL (nothing lives that long here).
"""

import asyncio
import contextlib
import functools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from chatcore.adapters.memory.queues import MemoryInboxes, MemoryLanes
from chatcore.domain.errors import Retryable, StoreUnavailable
from chatcore.domain.lanes import Lane
from chatcore.ports import Posted, Received, RunStore
from chatcore.protocol.queue import Control, Job
from tests.simulation.audit import Audit
from tests.simulation.journal import Journal
from tests.simulation.plan import CALM, Rates
from tests.simulation.process import Process
from tests.simulation.threads import Bell, pause
from virtual_clock.loop import now_ms

T = TypeVar("T")

FAST_S = 0.03
SLOW_S = 4.0
LATE_S = 8.0
LATE_JOB_S = 60.0
LOOK_S = 0.4
READS = frozenset({"view", "get", "newest", "checkpoints", "all", "lane.waiting"})


@dataclass(slots=True)
class Weather:
    """rates: how often what goes wrong, until it turns calm; on_the_way: what has not come yet;
    cut_off: who reaches neither tables nor queues now, though the engine and the viewers he does."""

    rng: random.Random
    rates: Rates
    journal: Journal
    on_the_way: int = 0
    cut_off: set[str] = field(default_factory=set)

    def calm(self) -> None:
        self.rates = CALM
        self.cut_off.clear()

    def strikes(self, rate: float) -> bool:
        return rate > 0 and self.rng.random() < rate

    def duration_s(self) -> float:
        slowest_s = SLOW_S if self.strikes(self.rates.slow_call) else FAST_S
        return self.rng.uniform(0, slowest_s)

    def call(self, who: str, name: str, act: Callable[[], Any]) -> Any:
        """A call over the network: what it does, it does at one instant on the way."""
        rates = self.rates
        duration_s = self.duration_s()
        before = self.rng.random() < 0.5
        if before:
            pause(duration_s)
        if who in self.cut_off or self.strikes(rates.throttled):
            self._fail(who, name, "did not happen")
        if self.strikes(rates.late_write) and name not in READS:
            self.later(self.rng.uniform(0, LATE_S), functools.partial(self._late, who, name, act))
            self._fail(who, name, "may happen yet")
        answer = act()
        if not before:
            pause(duration_s)
        if self.strikes(rates.lost_answer):
            self._fail(who, name, "happened")
        return answer

    def some_of(self, items: Sequence[T]) -> list[T]:
        return [item for item in items if self.rng.random() < 0.5]

    def later(self, delay_s: float, act: Callable[[], Any]) -> None:
        """Something that is on its way already: it comes, whatever happens to who sent it."""
        self.on_the_way += 1
        asyncio.get_running_loop().call_later(delay_s, self._arrives, act, context=Context())

    def _arrives(self, act: Callable[[], Any]) -> None:
        self.on_the_way -= 1
        act()

    def _late(self, who: str, name: str, act: Callable[[], Any]) -> None:
        self.journal.note(who, f"{name} happens late")
        with contextlib.suppress(Retryable):
            act()

    def _fail(self, who: str, name: str, outcome: str) -> None:
        self.journal.note(who, f"{name} fails", outcome)
        pause(self.duration_s())
        raise StoreUnavailable(f"{name}: {outcome}")


class Remote:
    """A port as one process calls it. after: told of each call, at the instant in which it happened."""

    def __init__(
        self,
        inner: Any,
        who: str,
        weather: Weather,
        after: Callable[[str, str, tuple[Any, ...], Any], None] | None = None,
    ) -> None:
        self._inner = inner
        self._who = who
        self._weather = weather
        self._after = after

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)
        who, weather, after = self._who, self._weather, self._after

        def call(*args: Any, **kwargs: Any) -> Any:
            def act() -> Any:
                if name == "put_checkpoints" and weather.strikes(weather.rates.lost_answer):
                    # A batch is no transaction.
                    method(weather.some_of(args[0]), *args[1:])
                    raise StoreUnavailable(f"{name}: some happened")
                answer = method(*args, **kwargs)
                if after is not None:
                    after(who, name, args, answer)
                return answer

            return weather.call(who, name, act)

        setattr(self, name, call)
        return call


@dataclass(frozen=True, slots=True)
class DoubtfulLanes:
    """Lanes with SQS's doubts, as one process calls them."""

    inner: MemoryLanes
    who: str
    weather: Weather
    audit: Audit
    bells: "dict[Lane, Bell]"
    """Rung when something comes into the lane, or becomes visible there; all processes share them."""

    def send(self, lane: Lane, job: Job, delay_s: int = 0) -> None:

        def act() -> None:
            weather = self.weather
            self.audit.has_put(job)
            for _ in range(2 if weather.strikes(weather.rates.job_twice) else 1):
                late = weather.strikes(weather.rates.job_late)
                late_s = weather.rng.uniform(0, LATE_JOB_S) if late else 0.0
                weather.journal.note(
                    self.who, "job sent", job.run_id, str(lane), f"in {delay_s + late_s:.1f} s"
                )
                self.audit.on_the_way[job.run_id] += 1
                weather.later(late_s, functools.partial(self._comes, lane, job, delay_s))

        self.weather.call(self.who, "lane.send", act)

    def _comes(self, lane: Lane, job: Job, delay_s: int) -> None:
        self.audit.on_the_way[job.run_id] -= 1
        self.inner.send(lane, job, delay_s)
        self._ring(lane)

    def _ring(self, lane: Lane) -> None:
        if lane in self.bells:
            self.bells[lane].ring(LOOK_S, self.weather.rng)

    def waiting(self, lane: Lane) -> int:
        return cast(
            int, self.weather.call(self.who, "lane.waiting", lambda: self.inner.waiting(lane))
        )

    def receive(self, lane: Lane, wait_s: int) -> Received[Job] | None:
        weather = self.weather
        deadline_s = asyncio.get_running_loop().time() + wait_s
        pause(weather.rng.uniform(0, FAST_S))
        while True:
            if self.who in weather.cut_off or weather.strikes(weather.rates.throttled):
                raise StoreUnavailable("receive")
            received = self.inner.receive(lane, wait_s)
            if received is not None:
                pause(weather.rng.uniform(0, FAST_S))
                if weather.strikes(weather.rates.job_unseen):
                    weather.journal.note(self.who, "job unseen", received.item.run_id)
                    raise StoreUnavailable("received, but the answer was lost")
                return received
            now_s = asyncio.get_running_loop().time()
            if now_s >= deadline_s:
                return None
            self._wait(lane, deadline_s - now_s)

    def _wait(self, lane: Lane, longest_s: float) -> None:
        """Until there may be something, and a while: what a poll sees, it sees a little late."""
        soonest_ms = self.inner.soonest_ms(lane)
        if soonest_ms is not None:
            longest_s = min(longest_s, max(0.0, soonest_ms / 1000 - now_ms() / 1000) + LOOK_S)
        self.bells.setdefault(lane, Bell()).wait(longest_s)

    def acknowledge(self, lane: Lane, handle: str) -> None:
        def act() -> None:
            if self.weather.strikes(self.weather.rates.job_undeleted):
                return
            job = self.inner.job_of(lane, handle)
            self.inner.acknowledge(lane, handle)
            if job is not None and not self.inner.holds(job.run_id):
                self.audit.let_go(self.who, job)

        self.weather.call(self.who, "lane.acknowledge", act)

    def hide(self, lane: Lane, handle: str, seconds: int) -> None:
        def act() -> None:
            self.inner.hide(lane, handle, seconds)
            self._ring(lane)

        self.weather.call(self.who, "lane.hide", act)

    def bury(self, job: Job, why: Mapping[str, str]) -> None:
        self.weather.call(self.who, "lane.bury", functools.partial(self.inner.bury, job, why))


@dataclass(frozen=True, slots=True)
class DoubtfulInboxes:
    """Inboxes whose messages may be lost or late, as one process calls them."""

    inner: MemoryInboxes
    who: str
    weather: Weather
    audit: Audit

    def open(self, worker_id: str) -> str:
        return self.inner.open(worker_id)

    def close(self, worker_id: str) -> None:
        self.inner.close(worker_id)

    def send(self, inbox: str, control: Control) -> bool:
        def act() -> bool:
            weather = self.weather
            self.audit.tells(self.who, inbox, control)
            if weather.strikes(weather.rates.control_lost):
                return True
            if weather.strikes(weather.rates.control_late):
                delay_s = weather.rng.uniform(0, LATE_S)
                weather.later(delay_s, functools.partial(self.inner.send, inbox, control))
                return True
            return self.inner.send(inbox, control)

        sent: bool = self.weather.call(self.who, "inbox.send", act)
        return sent

    def receive(self, inbox: str, wait_s: int) -> Sequence[Control]:
        weather = self.weather
        deadline_s = asyncio.get_running_loop().time() + wait_s
        pause(weather.rng.uniform(0, FAST_S))
        while True:
            if self.who in weather.cut_off or weather.strikes(weather.rates.throttled):
                raise StoreUnavailable("receive")
            controls = self.inner.receive(inbox, wait_s)
            if controls:
                self.audit.told(self.who, controls)
                return controls
            if asyncio.get_running_loop().time() >= deadline_s:
                return controls
            pause(LOOK_S)


@dataclass(slots=True)
class Sockets:
    """The WebSocket API's connections: who hears what is posted to them. One that is known to be
    closed answers GONE; one whose device is away answers as if it heard."""

    weather: Weather
    open: dict[str, Callable[[dict[str, Any]], None]] = field(default_factory=dict)

    def arrive(self, who: str, connection_id: str, frame: bytes) -> Posted:
        """The post reaches the gateway."""
        weather = self.weather
        hear = self.open.get(connection_id)
        if hear is None:
            weather.journal.note(who, "post: gone", connection_id)
            return Posted.GONE
        fails = weather.strikes(weather.rates.post_fails)
        if fails and weather.rng.random() < 0.5:
            weather.journal.note(who, "post: failed", connection_id)
            return Posted.FAILED
        if weather.strikes(weather.rates.frame_lost):
            weather.journal.note(who, "post: lost", connection_id, frame)
        else:
            weather.journal.note(who, "post", connection_id, frame)
            # What the device does then is its own doing, not of the process that posted.
            Context().run(hear, json.loads(frame))
        return Posted.FAILED if fails else Posted.SENT

    def duration_s(self) -> float:
        slow = self.weather.strikes(self.weather.rates.post_slow)
        return self.weather.rng.uniform(0, SLOW_S if slow else FAST_S)


@dataclass(frozen=True, slots=True)
class LambdaPosts:
    who: str
    sockets: Sockets

    def post(self, connection_id: str, frame: bytes) -> Posted:
        pause(self.sockets.duration_s())
        return self.sockets.arrive(self.who, connection_id, frame)


@dataclass(frozen=True, slots=True)
class WorkerPosts:
    process: Process
    sockets: Sockets
    audit: Audit

    async def post(self, connection_id: str, frame: bytes) -> Posted:
        if self.process.dead:
            raise asyncio.CancelledError
        who = self.process.name
        self.audit.speaks(who, connection_id, frame)
        try:
            duration_s = self.sockets.duration_s()
            if self.sockets.weather.rng.random() < 0.5:
                await asyncio.sleep(duration_s)
                return self.sockets.arrive(who, connection_id, frame)
            outcome = self.sockets.arrive(who, connection_id, frame)
            await asyncio.sleep(duration_s)
            return outcome
        finally:
            self.audit.spoke(who, connection_id)


def remote_runs(runs: RunStore, who: str, weather: Weather, audit: Audit) -> Any:
    return Remote(runs, who, weather, audit.happened)
