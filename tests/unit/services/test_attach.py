"""Attach: the frames of a run from a place on, whatever state the run is in."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chatcore.adapters.memory.queues import MemoryInboxes
from chatcore.domain import lease
from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import User
from chatcore.domain.lanes import Lane
from chatcore.domain.run import Ending, Event, FinishReason, Run, Usage
from chatcore.domain.stream import Checkpoint, Place
from chatcore.domain.tiers import Tier
from chatcore.ports import Claimed
from chatcore.protocol import queue, websocket
from chatcore.services.attach import attach
from chatcore.services.enqueue import PATIENCE_MS
from tests.contract.sends import ALICE, claimed
from tests.unit.services.test_submit import Desk

LANE = Lane(Tier.FREE)
AFTER_THE_LEASE_MS = lease.LEASE_MS + lease.SKEW_MARGIN_MS + 1


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def inboxes() -> MemoryInboxes:
    inboxes = MemoryInboxes()
    inboxes.open("inbox-worker-1")
    return inboxes


def frames(
    desk: Desk, inboxes: MemoryInboxes, run: Run, place: Place | None = None
) -> Sequence[websocket.Event]:
    outcome = attach(
        desk.stores,
        desk.lanes,
        inboxes,
        ALICE,
        run.run_id,
        "socket-9",
        place or Place(),
        desk.clock(),
    )
    assert not isinstance(outcome, Refusal)
    return outcome


def text_of(events: Sequence[websocket.Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, websocket.RunDelta))


def running(desk: Desk) -> Run:
    return claimed(desk.stores, desk.submitted().run, now_ms=desk.clock())


def checkpoint(desk: Desk, run: Run, text: str) -> None:
    desk.stores.runs.put_checkpoints([Checkpoint(run.run_id, run.epoch, 0, text)], desk.clock())


def test_a_queued_run_gains_a_viewer(desk: Desk, inboxes: MemoryInboxes) -> None:
    run = desk.submitted().run
    (queued,) = frames(desk, inboxes, run)
    assert isinstance(queued, websocket.RunQueued)
    assert desk.database.runs[run.run_id].viewers == {"socket-1", "socket-9"}
    assert desk.lanes.depth(LANE) == 1


def test_a_run_queued_for_too_long_gets_its_job_again(desk: Desk, inboxes: MemoryInboxes) -> None:
    run = desk.submitted().run
    desk.clock.advance(PATIENCE_MS)
    frames(desk, inboxes, run)
    assert desk.lanes.depth(LANE) == 1
    desk.clock.advance(1)
    frames(desk, inboxes, run)
    assert desk.lanes.depth(LANE) == 2


def test_however_many_look_at_a_waiting_run_its_job_is_put_in_again_now_and_then(
    desk: Desk, inboxes: MemoryInboxes
) -> None:
    run = desk.submitted().run
    for _ in range(2):
        desk.clock.advance(PATIENCE_MS + 1)
        for _ in range(3):
            frames(desk, inboxes, run)
    assert desk.lanes.depth(LANE) == 3


def test_a_running_run_is_answered_by_its_worker(desk: Desk, inboxes: MemoryInboxes) -> None:
    run = running(desk)
    assert frames(desk, inboxes, run, Place(7, 1)) == []
    assert list(inboxes.receive("inbox-worker-1", 0)) == [
        queue.Attach(run_id=run.run_id, connection_id="socket-9", offset=7, epoch=1)
    ]
    assert "socket-9" in desk.database.runs[run.run_id].viewers


@pytest.mark.parametrize("how", ["lease over", "inbox gone"])
def test_a_run_whose_worker_is_gone_tells_what_is_durable(
    desk: Desk, inboxes: MemoryInboxes, how: str
) -> None:
    run = running(desk)
    checkpoint(desk, run, "durable 😀")
    if how == "lease over":
        desk.clock.advance(AFTER_THE_LEASE_MS)
    else:
        inboxes.close("inbox-worker-1")
    events = frames(desk, inboxes, run)
    assert [type(event) for event in events] == [websocket.RunStarted, websocket.RunDelta]
    assert text_of(events) == "durable 😀"
    assert "socket-9" in desk.database.runs[run.run_id].viewers


def test_a_viewer_who_saw_more_than_is_durable_is_cut_back_to_it(
    desk: Desk, inboxes: MemoryInboxes
) -> None:
    run = running(desk)
    checkpoint(desk, run, "durable")
    desk.clock.advance(AFTER_THE_LEASE_MS)
    started, rewound = frames(desk, inboxes, run, Place(20, 1))
    assert isinstance(started, websocket.RunStarted)
    assert isinstance(rewound, websocket.RunRewound)
    assert started.offset == rewound.offset == 7


def test_a_viewer_of_an_older_epoch_gets_all_of_it_again(
    desk: Desk, inboxes: MemoryInboxes
) -> None:
    run = running(desk)
    checkpoint(desk, run, "durable")
    desk.clock.advance(AFTER_THE_LEASE_MS)
    second = desk.stores.runs.claim(run.run_id, "worker-2", "inbox-worker-2", desk.clock())
    assert isinstance(second, Claimed)
    checkpoint(desk, second.run, "durable, and other")
    events = frames(desk, inboxes, second.run, Place(20, 1))
    assert isinstance(events[1], websocket.RunRewound)
    assert events[1].offset == 0
    assert text_of(events) == "durable, and other"


@pytest.mark.parametrize("offset", [0, 4, len("the answer")])
def test_a_finished_run_tells_the_rest_and_its_end(
    desk: Desk, inboxes: MemoryInboxes, offset: int
) -> None:
    run = running(desk)
    ending = Ending(Event.COMPLETE, desk.clock(), "the answer", Usage(), FinishReason.STOP)
    assert desk.stores.runs.end(run, ending)
    events = frames(desk, inboxes, run, Place(offset, 1))
    assert "the answer"[:offset] + text_of(events) == "the answer"
    assert isinstance(events[-1], websocket.RunCompleted)
    assert events[-1].length == len("the answer")
    assert not any(isinstance(event, websocket.RunRewound) for event in events)


def test_a_cancelled_run_without_text_tells_its_end_only(
    desk: Desk, inboxes: MemoryInboxes
) -> None:
    run = desk.submitted().run
    ending = Ending(Event.CANCEL, desk.clock(), "", Usage(), FinishReason.CANCELLED)
    assert desk.stores.runs.end(run, ending)
    events = frames(desk, inboxes, run)
    assert text_of(events) == ""
    assert isinstance(events[-1], websocket.RunCancelled)
    assert events[-1].message_id is None


def test_a_long_answer_comes_in_frames_that_fit(desk: Desk, inboxes: MemoryInboxes) -> None:
    run = running(desk)
    text = '"\\\x01😀é' * 9_000
    assert desk.stores.runs.end(
        run, Ending(Event.COMPLETE, desk.clock(), text, Usage(), FinishReason.STOP)
    )
    events = frames(desk, inboxes, run)
    assert text_of(events) == text
    assert max(len(websocket.encode(event)) for event in events) <= 32_768


def test_another_users_run_is_not_there(desk: Desk, inboxes: MemoryInboxes) -> None:
    run = desk.submitted().run
    bob = User("user-bob", Tier.PRO)
    outcome = attach(
        desk.stores, desk.lanes, inboxes, bob, run.run_id, "socket-9", Place(), desk.clock()
    )
    assert isinstance(outcome, Refusal)
    assert outcome.code is Code.RUN_NOT_FOUND
    assert desk.database.runs[run.run_id].viewers == {"socket-1"}


def test_a_run_that_ends_while_it_is_looked_at_tells_its_end(
    desk: Desk, inboxes: MemoryInboxes
) -> None:
    run = running(desk)
    seen = desk.database.runs[run.run_id]
    assert desk.stores.runs.end(
        run, Ending(Event.COMPLETE, desk.clock(), "done", Usage(), FinishReason.STOP)
    )

    class SeenBefore:
        """Answers the first look with the run as it was."""

        def __init__(self) -> None:
            self._stale = [seen]

        def get(self, run_id: str) -> Run | None:
            return self._stale.pop() if self._stale else desk.stores.runs.get(run_id)

        def __getattr__(self, name: str) -> object:
            return getattr(desk.stores.runs, name)

    stores = replace(desk.stores, runs=SeenBefore())  # type: ignore[arg-type]
    events = attach(
        stores, desk.lanes, inboxes, ALICE, run.run_id, "socket-9", Place(), desk.clock()
    )
    assert not isinstance(events, Refusal)
    assert text_of(events) == "done"
    assert isinstance(events[-1], websocket.RunCompleted)
