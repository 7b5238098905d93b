"""Owns the way of text to viewers: one post in flight per connection, merging what comes meanwhile.

    engine   a b   c d e     f            text grows in the live run
    posts    [a────][bcde────][f────]     each frame holds all that came while the last was on its way

So frames are in order, a slow client gets fewer and bigger ones, nothing is queued but an offset, and
the first token never waits. The floor (see `stream.floor_ms`) only ever delays later frames.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from aws_lambda_powertools import Logger

from chatcore.domain.stream import Delta, floor_ms, next_delta
from chatcore.ports import AsyncPosts, Posted
from chatcore.protocol.websocket import MAX_OFFSET, Event, delta_for, encode, ended_for
from gpu_service.worker.live import LiveRun

RETRY_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0)
"""Between failing posts; after the last, the connection is given up: the client will attach again."""

LEASE_LOOK_S = 0.5


@dataclass(slots=True)
class _Cursor:
    """One connection's place in one run. notices: frames that go before more text; hungry: it has all
    there is. One that waits for the floor is not: it need not hear of each token meanwhile; leaves: after
    the notices nothing more is said here; from_first: it watched before this epoch said anything."""

    live: LiveRun
    offset: int
    wake: Callable[[], None]
    notices: list[Event] = field(default_factory=list)
    hungry: bool = False
    frames_sent: int = 0
    due_s: float = 0.0
    leaves: bool = False
    said_end: bool = False
    from_first: bool = False

    def has_more(self) -> None:
        if self.hungry:
            self.wake()


@dataclass(slots=True)
class _Connection:
    connection_id: str
    cursors: dict[str, _Cursor] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None


class Broadcast:
    """All connections that this worker posts to. on_post: told of each piece of text that was sent;
    outcomes: of all posts so far."""

    def __init__(
        self,
        posts: AsyncPosts,
        logger: Logger,
        on_post: Callable[[LiveRun], None] = lambda live: None,
    ) -> None:
        self._posts = posts
        self._logger = logger
        self._on_post = on_post
        self._connections: dict[str, _Connection] = {}
        self.outcomes: Counter[Posted] = Counter()

    def watch(self, live: LiveRun, connection_id: str, offset: int, notices: list[Event]) -> None:
        """Send the run's text to the connection from offset on, the notices before it."""
        connection = self._connections.setdefault(connection_id, _Connection(connection_id))
        cursor = _Cursor(live, offset, connection.wake.set, notices)
        cursor.from_first = len(live.text) == live.base
        connection.cursors[live.run.run_id] = cursor
        live.join(connection_id, cursor)
        connection.wake.set()
        if connection.task is None:
            connection.task = asyncio.create_task(self._pump(connection))

    def watch_end(self, live: LiveRun, connection_id: str) -> None:
        """Tell the connection how the run ends, but nothing of its text, unless it watches anyway."""
        connection = self._connections.get(connection_id)
        if connection is None or live.run.run_id not in connection.cursors:
            self.watch(live, connection_id, MAX_OFFSET, [])

    def farewell(self, live: LiveRun, event: Event) -> None:
        """The run leaves this worker: all who watch it are told that, and nothing more. It carries its
        epoch, so it does no harm where the next worker has spoken before it arrives."""
        for connection in self._connections.values():
            cursor = connection.cursors.get(live.run.run_id)
            if cursor is not None and cursor.live is live:
                cursor.notices[:] = [event]
                cursor.leaves = True
                connection.wake.set()

    @property
    def viewers(self) -> int:
        """Connections that watch something."""
        return len(self._connections)

    async def drained(self, timeout_s: float) -> None:
        """Wait until every viewer has all there is to say, but not for longer than the time-out."""
        tasks = [c.task for c in self._connections.values() if c.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, connection: _Connection) -> None:
        """Lives as long as the connection has a run to watch."""
        failures = 0
        try:
            while connection.cursors:
                connection.wake.clear()
                frame = self._next(connection)
                if not isinstance(frame, _Frame):
                    if connection.cursors:
                        await _wait(connection.wake, frame)
                    continue
                posted = await self._post(connection, frame)
                if posted is Posted.SENT:
                    failures = 0
                elif posted is Posted.GONE or failures == len(RETRY_PAUSES_S):
                    self._logger.info("viewer.gone", extra={"outcome": str(posted)})
                    if posted is Posted.GONE:
                        for cursor in connection.cursors.values():
                            cursor.live.gone.add(connection.connection_id)
                    return
                else:
                    # Not the same bytes again: what has come meanwhile goes with it.
                    await asyncio.sleep(RETRY_PAUSES_S[failures])
                    failures += 1
        finally:
            for cursor in connection.cursors.values():
                cursor.live.leave(connection.connection_id)
            self._connections.pop(connection.connection_id, None)

    def _next(self, connection: _Connection) -> "_Frame | float | None":
        """What to post now; else in how many seconds to look again, None for when woken."""
        now_s = asyncio.get_running_loop().time()
        pause_s: float | None = None
        for run_id, cursor in list(connection.cursors.items()):
            live = cursor.live
            if cursor.said_end or (live.silenced and not cursor.leaves):
                del connection.cursors[run_id]
                live.leave(connection.connection_id)
                continue
            if not live.may_speak() and not cursor.leaves:
                # The lease is about to end: either it is renewed, or the run is lost.
                pause_s = _sooner(pause_s, LEASE_LOOK_S)
                continue
            frame = _due(cursor, now_s)
            if isinstance(frame, _Frame):
                # To the end of the line, so that one run does not starve the connection's others.
                connection.cursors[run_id] = connection.cursors.pop(run_id)
                return frame
            if frame is not None:
                pause_s = _sooner(pause_s, frame)
        return pause_s

    async def _post(self, connection: _Connection, frame: "_Frame") -> Posted:
        cursor, delta = frame.cursor, frame.delta
        started_s = asyncio.get_running_loop().time()
        if delta is not None:
            # Before it is posted: once it is on its way, somebody may have seen it.
            cursor.live.shown = max(cursor.live.shown, delta.end)
        posted = await self._posts.post(connection.connection_id, encode(frame.event))
        self.outcomes[posted] += 1
        if posted is not Posted.SENT:
            return posted
        if delta is None:
            if cursor.notices and cursor.notices[0] is frame.event:
                cursor.notices.pop(0)
                cursor.said_end = cursor.leaves
            else:
                cursor.said_end = True
            return posted
        cursor.offset = delta.end
        if cursor.from_first and not cursor.live.timings.shown_ms:
            cursor.live.timings.shown_ms = cursor.live.now_ms()
        cursor.frames_sent += 1
        cursor.due_s = started_s + floor_ms(cursor.frames_sent) / 1000
        self._on_post(cursor.live)
        return posted


@dataclass(frozen=True, slots=True)
class _Frame:
    """delta: the text in it; None for a notice or the end."""

    cursor: _Cursor
    event: Event
    delta: Delta | None = None


def _due(cursor: _Cursor, now_s: float) -> _Frame | float | None:
    """The cursor's next frame, or in how many seconds it is due, None where there is nothing."""
    live = cursor.live
    if cursor.notices:
        return _Frame(cursor, cursor.notices[0])
    delta = next_delta(live.text, cursor.offset)
    cursor.hungry = delta is None
    if delta is None:
        return None if live.ended is None else _Frame(cursor, ended_for(live.ended))
    if live.ended is None and now_s < cursor.due_s:
        return cursor.due_s - now_s
    return _Frame(cursor, delta_for(live.run, delta), delta)


def _sooner(left_s: float | None, right_s: float) -> float:
    return right_s if left_s is None else min(left_s, right_s)


async def _wait(event: asyncio.Event, timeout_s: float | None) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
