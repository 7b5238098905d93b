"""What lanes and inboxes promise, whichever side they are on."""

import boto3
import pytest

from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.adapters.sqs import SqsInboxes, SqsLanes, sqs_client
from chatcore.domain.calendar import returns_of
from chatcore.domain.lanes import Lane
from chatcore.domain.run import Kind
from chatcore.domain.tiers import Tier
from chatcore.ports import Inboxes, Lanes
from chatcore.protocol.queue import Attach, Cancel, Control, Job, Offer, decode_job
from tests.contract.clock import TestClock

LANE = Lane(Tier.FREE)


def job_of(run_id: str = "r_1") -> Job:
    return Job(
        run_id=run_id,
        chat_id="c_1",
        user_id="user-alice",
        tier=Tier.FREE,
        message_seq=7,
        trace_id="Root=1-ü\x00",
    )


class TestLanes:
    def test_a_job_comes_out_as_it_went_in(self, lanes: Lanes) -> None:
        lanes.send(LANE, job_of())
        received = lanes.receive(LANE, 1)
        assert received is not None
        assert received.item == job_of()

    def test_a_job_of_the_background_too(self, lanes: Lanes) -> None:
        lane = returns_of(Tier.BACKGROUND)
        job = Job(
            run_id="b_1",
            chat_id="c_1",
            user_id="user-alice",
            tier=Tier.BACKGROUND,
            message_seq=7,
            prior_seq=3,
            kind=Kind.SUMMARY,
            summary_id="b_0",
            task_token="AQ+/=" * 200,
        )
        lanes.send(lane, job)
        received = lanes.receive(lane, 1)
        assert received is not None
        assert received.item == job

    def test_lanes_are_apart(self, lanes: Lanes) -> None:
        lanes.send(LANE, job_of())
        assert lanes.receive(Lane(Tier.PRO), 0) is None

    def test_a_received_job_is_hidden_until_it_is_given_back(self, lanes: Lanes) -> None:
        lanes.send(LANE, job_of())
        received = lanes.receive(LANE, 1)
        assert received is not None
        assert lanes.receive(LANE, 0) is None
        lanes.hide(LANE, received.handle, 0)
        again = lanes.receive(LANE, 1)
        assert again is not None
        assert again.item == job_of()

    def test_an_acknowledged_job_is_gone(self, lanes: Lanes) -> None:
        lanes.send(LANE, job_of())
        received = lanes.receive(LANE, 1)
        assert received is not None
        lanes.acknowledge(LANE, received.handle)
        lanes.acknowledge(LANE, received.handle)
        lanes.hide(LANE, received.handle, 0)
        assert lanes.receive(LANE, 0) is None

    def test_a_delayed_job_is_in_the_lane_and_nobody_gets_it_sooner(
        self, lanes: Lanes, clock: TestClock
    ) -> None:
        lanes.send(LANE, job_of(), delay_s=1)
        assert lanes.receive(LANE, 0) is None
        assert lanes.waiting(LANE) == 0
        clock.advance(1_000)
        received = lanes.receive(LANE, 3)
        assert received is not None
        assert received.item == job_of()

    def test_what_waits_is_what_nobody_has_and_everybody_may_take(self, lanes: Lanes) -> None:
        assert lanes.waiting(LANE) == 0
        for number in range(3):
            lanes.send(LANE, job_of(f"r_{number}"))
        assert lanes.waiting(LANE) == 3
        assert lanes.waiting(Lane(Tier.PRO)) == 0
        received = lanes.receive(LANE, 1)
        assert received is not None
        assert lanes.waiting(LANE) == 2
        lanes.hide(LANE, received.handle, 0)
        assert lanes.waiting(LANE) == 3

    def test_an_empty_lane_gives_nothing(self, lanes: Lanes) -> None:
        assert lanes.receive(LANE, 0) is None

    def test_a_buried_job_is_found_with_what_is_known_of_it(self, lanes: Lanes) -> None:
        lanes.bury(job_of(), {"reason": "engine_error", "fault": "", "attempts": "4"})
        assert buried(lanes) == [(job_of(), {"reason": "engine_error", "attempts": "4"})]


def buried(lanes: Lanes) -> list[tuple[Job, dict[str, str]]]:
    """What an operator finds, whichever side it is on."""
    if isinstance(lanes, MemoryLanes):
        return [(job, {k: v for k, v in why.items() if v}) for job, why in lanes.buried]
    assert isinstance(lanes, SqsLanes)
    answer = lanes.client.receive_message(
        QueueUrl=lanes.dead_letter_url, MessageAttributeNames=["All"], WaitTimeSeconds=1
    )
    return [
        (
            decode_job(message["Body"]),
            {k: v["StringValue"] for k, v in message["MessageAttributes"].items()},
        )
        for message in answer["Messages"]
    ]


class TestInboxes:
    def test_controls_reach_the_worker_once(self, inboxes: Inboxes) -> None:
        inbox = inboxes.open("worker-1")
        controls: set[Control] = {
            Cancel(run_id="r_1"),
            Attach(run_id="r_2", connection_id="socket=1", offset=17, epoch=2),
            Offer(job=job_of("r_3"), text="What is this: 😀\x00?"),
        }
        for control in controls:
            assert inboxes.send(inbox, control)
        got: list[Control] = []
        while len(got) < len(controls):
            got += inboxes.receive(inbox, 1)
        assert set(got) == controls
        assert list(inboxes.receive(inbox, 0)) == []

    def test_opening_again_finds_the_same(self, inboxes: Inboxes) -> None:
        assert inboxes.open("worker-1") == inboxes.open("worker-1")

    def test_sending_to_a_closed_or_unknown_inbox_says_so(self, inboxes: Inboxes) -> None:
        inbox = inboxes.open("worker-1")
        inboxes.close("worker-1")
        inboxes.close("worker-1")
        assert not inboxes.send(inbox, Cancel(run_id="r_1"))
        assert not inboxes.send("", Cancel(run_id="r_1"))


def test_what_an_inbox_holds_is_encrypted_and_gone_in_minutes(
    moto_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages of offers: the only words on a queue, and by SQS's key (docs/adr/0018-keys.md)."""
    for name, value in moto_environment.items():
        monkeypatch.setenv(name, value)
    base_url = "https://sqs.us-east-1.amazonaws.com/123456789012/inbox"
    inbox = SqsInboxes(sqs_client(), base_url).open("worker-1")
    told = boto3.client("sqs").get_queue_attributes(QueueUrl=inbox, AttributeNames=["All"])
    attributes = told["Attributes"]
    assert attributes["SqsManagedSseEnabled"] == "true"
    assert int(attributes["MessageRetentionPeriod"]) <= 600
