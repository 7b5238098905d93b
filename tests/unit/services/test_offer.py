"""Offer: the worker that has the prefix hears of the run first; without it nobody waits longer."""

from dataclasses import replace
from typing import Any

import pytest

from chatcore.domain.beat import BEAT_FRESH_MS, Beat
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.tiers import Tier
from chatcore.protocol.queue import Job, Offer, encode
from chatcore.services.offer import MAX_TEXT_CHARS, offer, offer_to
from tests.unit.services.test_submit import Desk

JOB = Job(
    run_id="r_1",
    chat_id="c_1",
    user_id="user-alice",
    tier=Tier.FREE,
    message_seq=9,
    favourite="worker-1",
    prefix_tokens=900,
    prior_seq=7,
)
SQS_MOST_BYTES = 256 * 1024


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    beat_of(desk)
    desk.inboxes.open("worker-1")
    return desk


def beat_of(desk: Desk, age_ms: int = 0, **changes: Any) -> None:
    beat = Beat("worker-1", "worker-1", desk.clock() - age_ms, slots=2, free_slots=1)
    desk.stores.beats.put(replace(beat, **changes))


def offered(desk: Desk, job: Job = JOB, text: str = "Hello") -> Job | None:
    return offer(
        desk.failing_stores, desk.failing_inboxes, job, text, desk.clock(), lambda twin: None
    )


def told(desk: Desk) -> list[Any]:
    return list(desk.inboxes.receive("worker-1", 0))


def test_the_favourite_is_told_of_the_run_with_its_text(desk: Desk) -> None:
    job = offered(desk)
    assert job is not None
    assert job.offered_ms == desk.clock()
    assert told(desk) == [Offer(job=job, text="Hello")]


@pytest.mark.parametrize(
    ("age_ms", "free_slots", "offers", "is_made"),
    [
        (0, 0, 0, True),
        (BEAT_FRESH_MS, 1, 2, True),
        (BEAT_FRESH_MS + 1, 1, 0, False),
        (0, 0, 2, False),
        (0, 1, 3, False),
    ],
)
def test_only_one_that_lives_and_can_begin_soon(
    desk: Desk, age_ms: int, free_slots: int, offers: int, is_made: bool
) -> None:
    beat_of(desk, age_ms, free_slots=free_slots, offers=offers)
    assert (offered(desk) is not None) is is_made
    assert len(told(desk)) == is_made


def test_nobody_is_told_where_nobody_has_the_prefix(desk: Desk) -> None:
    desk.plans["get"] = ["before"]
    assert offered(desk, replace_job(favourite="")) is None
    # Nothing was asked either.
    assert desk.plans["get"] == ["before"]


def test_one_of_whom_nothing_is_known_or_that_has_left_is_passed_over(desk: Desk) -> None:
    assert offered(desk, replace_job(favourite="worker-9")) is None
    desk.inboxes.close("worker-1")
    assert offered(desk) is None


@pytest.mark.parametrize("method", ["get", "send"])
@pytest.mark.parametrize("step", ["before", "after"])
def test_trouble_on_the_way_is_no_offer_and_no_fault(desk: Desk, method: str, step: str) -> None:
    desk.plans[method] = [step]
    assert offered(desk) is None


def test_a_long_text_is_left_to_be_read(desk: Desk) -> None:
    offered(desk, text="x" * MAX_TEXT_CHARS)
    offered(desk, text="x" * (MAX_TEXT_CHARS + 1))
    assert [len(each.text) for each in told(desk)] == [MAX_TEXT_CHARS, 0]


def test_the_longest_text_that_is_sent_fits_a_message_of_the_queue() -> None:
    assert len(encode(Offer(job=JOB, text="😀" * MAX_TEXT_CHARS))) < SQS_MOST_BYTES


class TestByAWorker:
    """That has decided already."""

    def test_the_time_is_that_of_the_decision(self, desk: Desk) -> None:
        beat = desk.stores.beats.get("worker-1")
        job = offer_to(desk.inboxes, beat, JOB, "", desk.clock() - 3)
        assert job is not None
        assert job.offered_ms == desk.clock() - 3

    def test_a_favourite_without_a_beat_is_not_told(self, desk: Desk) -> None:
        assert offer_to(desk.inboxes, None, JOB, "", desk.clock()) is None
        assert told(desk) == []

    def test_trouble_is_its_own(self, desk: Desk) -> None:
        desk.plans["send"] = ["before"]
        beat = desk.stores.beats.get("worker-1")
        with pytest.raises(StoreUnavailable):
            offer_to(desk.failing_inboxes, beat, JOB, "", desk.clock())


def replace_job(**changes: Any) -> Job:
    return Job(**{**{field: getattr(JOB, field) for field in JOB.__struct_fields__}, **changes})
