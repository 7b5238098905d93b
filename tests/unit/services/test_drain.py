"""Draining: a worker that lives is told, and what it says of itself afterwards is told apart."""

import pytest

from chatcore.domain.beat import BEAT_FRESH_MS, Beat
from chatcore.protocol.queue import Drain
from chatcore.services.drain import Drained, drain
from tests.unit.services.test_submit import Desk


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    inbox = desk.inboxes.open("worker-1")
    desk.stores.beats.put(Beat("worker-1", inbox, desk.clock(), slots=4, free_slots=4))
    return desk


def asked(desk: Desk, worker_id: str = "worker-1") -> Drained:
    return drain(desk.stores, desk.inboxes, worker_id, desk.clock())


def test_a_worker_that_lives_is_told_with_each_look(desk: Desk) -> None:
    assert [asked(desk), asked(desk)] == [Drained.LEAVING] * 2
    assert desk.inboxes.receive("worker-1", 0) == [Drain(), Drain()]


def test_one_that_has_left_is_gone(desk: Desk) -> None:
    desk.stores.beats.remove("worker-1")
    assert asked(desk) is asked(desk, "worker-2") is Drained.GONE
    assert desk.inboxes.receive("worker-1", 0) == []


def test_one_that_died_is_silent(desk: Desk) -> None:
    desk.clock.advance(BEAT_FRESH_MS + 1)
    assert asked(desk) is Drained.SILENT


def test_one_that_has_just_closed_its_inbox_is_not_taken_for_told(desk: Desk) -> None:
    desk.inboxes.close("worker-1")
    assert asked(desk) is Drained.SILENT
