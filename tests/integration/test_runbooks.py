"""What docs/runbooks.md has an operator do, done here. A drain is in `test_workers`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cloud import WORKERS, Cloud, Row, eventually
from tests.person import Person, new_message_id

pytestmark = pytest.mark.integration

WITHIN_A_MINUTE_S = 75
"""And some seconds for the machine."""


@pytest.fixture
def nobody_works(cloud: Cloud) -> Iterator[None]:
    """Without workers; afterwards there are as many as before."""
    while cloud.workers:
        cloud.stop_worker(cloud.workers[0])
    yield
    while len(cloud.workers) < WORKERS:
        cloud.add_worker()


@pytest.mark.usefixtures("nobody_works")
def test_what_was_sent_while_there_was_no_worker_is_answered_by_the_next(
    alice: Person, cloud: Cloud
) -> None:
    run_id = alice.send("Please count to 5.")["run_id"]
    assert cloud.run(run_id)["status"] == "queued"
    worker = cloud.add_worker()
    assert alice.ended_run(run_id)["status"] == "completed"

    def told() -> Row | None:
        lines = [line for line in worker.log_lines() if line["message"] == "worker.slots"]
        return lines[-1] if lines else None

    line = eventually(told, "a line of the worker's slots")
    assert (line["ready"], line["slots"]) == (1, 4)


@pytest.mark.usefixtures("nobody_works")
def test_a_job_that_is_put_back_from_the_dead_letters_is_answered(
    alice: Person, cloud: Cloud
) -> None:
    run_id = alice.send("Please count to 5.")["run_id"]
    dead_letters = cloud.outputs["DeadLetterQueueUrl"]
    queues = cloud.sqs.list_queues(QueueNamePrefix=f"{cloud.endpoints.stack_name}-lane-free-")
    for lane in queues["QueueUrls"]:
        # As its redrive policy would after a thousand times.
        _move(cloud, lane, dead_letters, run_id)
    returns = next(lane for lane in queues["QueueUrls"] if lane.endswith("-returns"))
    worker = cloud.add_worker()
    assert cloud.run(run_id)["status"] == "queued"
    assert _move(cloud, dead_letters, returns, run_id)
    assert alice.ended_run(run_id)["status"] == "completed"
    assert not _buried(worker.log_lines())


def _move(cloud: Cloud, source: str, target: str, run_id: str) -> bool:
    found = cloud.sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10, WaitTimeSeconds=0)
    for message in found.get("Messages", []):
        if json.loads(message["Body"])["run_id"] == run_id:
            cloud.sqs.send_message(QueueUrl=target, MessageBody=message["Body"])
            cloud.sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            return True
    return False


def _buried(lines: list[Row]) -> list[Row]:
    return [line for line in lines if line["message"] in ("engine.fault", "run.left")]


def test_a_tier_is_paused_and_goes_on_again(person: Callable[[str], Person], cloud: Cloud) -> None:
    who = person("plus")
    other = person("pro")
    with _paused(cloud, "plus"):
        eventually(
            lambda: _status(who) == 503 or None, "the tier's pause", deadline_s=WITHIN_A_MINUTE_S
        )
        assert other.ended_run(other.send("Please count to 3.")["run_id"])["status"] == "completed"
    eventually(
        lambda: _status(who) == 202 or None, "the tier's end of pause", deadline_s=WITHIN_A_MINUTE_S
    )


def _status(who: Person) -> int:
    """Of a send, whose answer is waited for where it is taken: a user has few runs at a time."""
    chat_id = who.post("/chats", {})["chat_id"]
    reply = who.http.post(
        f"/chats/{chat_id}/messages", json={"message_id": new_message_id(), "text": "Hi"}
    )
    if reply.status_code == 202:
        who.ended_run(reply.json()["run_id"])
    else:
        assert reply.json()["code"] == "tier_paused"
    return reply.status_code


@contextmanager
def _paused(cloud: Cloud, tier: str) -> Iterator[None]:
    ssm: Any = cloud.aws.client("ssm")
    name = cloud.outputs["TiersParameter"]
    before = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    document = json.loads(before)
    document[tier]["paused"] = True
    ssm.put_parameter(Name=name, Value=json.dumps(document), Type="String", Overwrite=True)
    try:
        yield
    finally:
        ssm.put_parameter(Name=name, Value=before, Type="String", Overwrite=True)
