"""The way of text to viewers: in order, one post in flight, nobody delayed by another."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from chatcore.domain import lease
from chatcore.domain.run import Ending, FinishReason, Run, Status, Usage, ended
from chatcore.domain.run import Event as RunEvent
from chatcore.domain.stream import FLOOR_MAX_MS
from chatcore.domain.tiers import Tier
from chatcore.ports import Posted
from chatcore.protocol.websocket import started_for
from gpu_service.worker.broadcast import RETRY_PAUSES_S, Broadcast
from gpu_service.worker.live import LiveRun, Stop
from tests.simulation.posts import CalledPosts
from tests.unit.worker.stage import QUIET, Calls, Screens, shown
from virtual_clock.loop import in_virtual_time, now_ms


def running(run_id: str = "r_1") -> Run:
    return Run(
        run_id=run_id,
        user_id="user-alice",
        chat_id="c_1",
        tier=Tier.FREE,
        message_id="message-0001",
        message_seq=1,
        digest="",
        created_ms=now_ms(),
        status=Status.RUNNING,
        epoch=1,
        lease_until_ms=lease.until(now_ms()),
        viewers=frozenset({"socket-1"}),
    )


@dataclass(slots=True)
class SlowPosts:
    """Posts of which each takes as long as its connection is slow; counts those in flight."""

    screens: Screens
    slow_s: dict[str, float] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    most_in_flight: int = 0

    async def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        connection_id = args[0]
        self.in_flight[connection_id] = self.in_flight.get(connection_id, 0) + 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight[connection_id])
        await asyncio.sleep(self.slow_s.get(connection_id, 0.0))
        self.in_flight[connection_id] -= 1
        return function(*args, **kwargs)


def broadcast_to(screens: Screens, calls: Any = None) -> Broadcast:
    return Broadcast(CalledPosts(screens, calls or Calls()), QUIET)


def live_with(text: str = "") -> LiveRun:
    return LiveRun(running(), text, 0, now_ms)


def watch(broadcast: Broadcast, live: LiveRun, connection_id: str = "socket-1") -> None:
    broadcast.watch(live, connection_id, 0, [started_for(live.run, 0)])


def finish(live: LiveRun) -> None:
    ending = Ending(RunEvent.COMPLETE, now_ms(), live.text, Usage(), FinishReason.STOP)
    live.ended = ended(live.run, ending)
    live.changed()


@in_virtual_time
async def test_the_first_text_goes_out_at_once() -> None:
    screens = Screens()
    broadcast = broadcast_to(screens)
    live = live_with()
    watch(broadcast, live)
    await asyncio.sleep(3)
    live.append("Hi")
    # No timer may pass before it: only what is ready now may run.
    for _ in range(10):
        await asyncio.sleep(0)
    assert [(at_s, frame["type"]) for at_s, _, frame in screens.told] == [
        (0.0, "run.started"),
        (3.0, "run.delta"),
    ]


@in_virtual_time
async def test_what_comes_during_a_post_is_merged_into_the_next() -> None:
    screens = Screens()
    posts = SlowPosts(screens, {"socket-1": 0.45})
    broadcast = broadcast_to(screens, posts)
    live = live_with()
    watch(broadcast, live)
    await asyncio.sleep(1)
    for letter in "abcdefghij":
        live.append(letter)
        await asyncio.sleep(0.1)
    finish(live)
    await broadcast.drained(60)
    texts = [frame["text"] for frame in screens.frames() if frame["type"] == "run.delta"]
    assert texts[0] == "a"
    assert "".join(texts) == "abcdefghij"
    assert max(len(text) for text in texts) >= 4
    assert posts.most_in_flight == 1


@in_virtual_time
async def test_the_floor_delays_later_frames_and_never_the_end() -> None:
    screens = Screens()
    broadcast = broadcast_to(screens)
    live = live_with()
    watch(broadcast, live)
    for _ in range(600):
        live.append("x")
        await asyncio.sleep(0.01)
    at_s = [at_s for at_s, _, frame in screens.told if frame["type"] == "run.delta"]
    assert len(at_s) < 20
    assert abs(at_s[-1] - at_s[-2] - FLOOR_MAX_MS / 1000) < 0.05
    finish_s = asyncio.get_running_loop().time()
    finish(live)
    await broadcast.drained(60)
    assert screens.told[-1][0] == finish_s
    assert shown(screens.frames()) == "x" * 600


@in_virtual_time
async def test_a_closed_connection_is_dropped_and_the_other_goes_on() -> None:
    screens = Screens()
    broadcast = broadcast_to(screens)
    live = live_with()
    watch(broadcast, live, "socket-1")
    watch(broadcast, live, "socket-2")
    live.append("one ")
    await asyncio.sleep(1)
    screens.open.discard("socket-1")
    live.append("two ")
    await asyncio.sleep(1)
    screens.open.add("socket-1")
    live.append("three")
    finish(live)
    await broadcast.drained(60)
    assert screens.text("socket-1") == "one "
    assert screens.text("socket-2") == "one two three"
    assert screens.kinds("socket-2")[-1] == "run.completed"
    assert live.gone == {"socket-1"}


@in_virtual_time
async def test_a_failed_post_is_tried_again_with_what_has_come_meanwhile() -> None:
    screens = Screens(outcomes={"socket-1": [Posted.SENT, Posted.FAILED, Posted.FAILED]})
    broadcast = broadcast_to(screens)
    live = live_with()
    watch(broadcast, live)
    live.append("a")
    await asyncio.sleep(0.05)
    live.append("b")
    await asyncio.sleep(1)
    finish(live)
    await broadcast.drained(60)
    deltas = [frame for frame in screens.frames() if frame["type"] == "run.delta"]
    assert [(delta["offset"], delta["text"]) for delta in deltas] == [(0, "ab")]
    assert screens.kinds()[-1] == "run.completed"


@in_virtual_time
async def test_after_enough_failures_the_connection_is_given_up() -> None:
    failures = [Posted.FAILED] * (len(RETRY_PAUSES_S) + 1)
    screens = Screens(outcomes={"socket-1": list(failures)})
    broadcast = broadcast_to(screens)
    live = live_with("text")
    live.renewed(replace(live.run, lease_until_ms=now_ms() + 3_600_000))
    watch(broadcast, live)
    await asyncio.sleep(sum(RETRY_PAUSES_S) + 1)
    live.append(" and more")
    await asyncio.sleep(60)
    assert screens.outcomes["socket-1"] == []
    assert screens.told == []
    # It may be there all the same.
    assert live.gone == set()


@in_virtual_time
async def test_a_slow_client_delays_nobody_else() -> None:
    screens = Screens()
    broadcast = broadcast_to(screens, SlowPosts(screens, {"socket-1": 5.0}))
    live = live_with()
    watch(broadcast, live, "socket-1")
    watch(broadcast, live, "socket-2")
    live.append("fast")
    await asyncio.sleep(0.1)
    assert screens.text("socket-2") == "fast"
    assert screens.frames("socket-1") == []


@in_virtual_time
async def test_a_silenced_run_says_nothing_more() -> None:
    screens = Screens()
    broadcast = broadcast_to(screens)
    live = live_with()
    watch(broadcast, live)
    live.append("heard")
    await asyncio.sleep(1)
    live.break_off(Stop.LOST)
    live.append(" never heard")
    await asyncio.sleep(60)
    assert screens.text() == "heard"
    assert screens.kinds() == ["run.started", "run.delta"]


@in_virtual_time
async def test_nothing_goes_out_when_the_lease_is_about_to_end_until_it_is_renewed() -> None:
    screens = Screens()
    broadcast = broadcast_to(screens)
    live = live_with()
    watch(broadcast, live)
    await asyncio.sleep((lease.LEASE_MS - lease.SKEW_MARGIN_MS) / 1000)
    live.append("late")
    await asyncio.sleep(5)
    assert screens.text() == ""
    renewed = running()
    live.renewed(renewed)
    await asyncio.sleep(1)
    assert screens.text() == "late"


@in_virtual_time
async def test_two_runs_on_one_connection_take_turns() -> None:
    screens = Screens()
    posts = SlowPosts(screens, {"socket-1": 0.1})
    broadcast = broadcast_to(screens, posts)
    lives = []
    for run_id in ("r_1", "r_2"):
        live = LiveRun(running(run_id), "", 0, now_ms)
        broadcast.watch(live, "socket-1", 0, [])
        lives.append(live)
    for _ in range(40):
        for live in lives:
            live.append("x")
        await asyncio.sleep(0.05)
    told = [frame["run_id"] for frame in screens.frames()]
    assert abs(told.count("r_1") - told.count("r_2")) <= 1
    assert posts.most_in_flight == 1


@in_virtual_time
async def test_text_counts_as_shown_as_soon_as_it_is_on_its_way() -> None:
    screens = Screens()
    broadcast = broadcast_to(screens, SlowPosts(screens, {"socket-1": 5.0}))
    live = live_with()
    broadcast.watch(live, "socket-1", 0, [])
    live.append("on its way")
    await asyncio.sleep(1)
    live.append(", not yet")
    live.cut_to_shown()
    assert live.text == "on its way"


@in_virtual_time
async def test_a_long_text_is_replayed_in_frames_that_fit() -> None:
    screens = Screens()
    broadcast = broadcast_to(screens)
    live = live_with("😀\x01" * 20_000)
    watch(broadcast, live)
    finish(live)
    await broadcast.drained(60)
    assert screens.text() == live.text
    assert max(len(json.dumps(f, ensure_ascii=False).encode()) for f in screens.frames()) <= 32_768
