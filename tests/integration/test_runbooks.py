"""What docs/runbooks.md has an operator do, done here. A drain is in `test_workers`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cloud import WORKERS, Cloud, Row, eventually
from tests.person import Person, new_message_id

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("ends all workers, and pauses a tier"),
]

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
    prefix = f"{cloud.endpoints.stack_name}-lane-{alice.tier}-"
    lanes = cloud.sqs.list_queues(QueueNamePrefix=prefix)["QueueUrls"]
    # As the lane's redrive policy would after a thousand times.
    assert [lane for lane in lanes if _move(cloud, lane, dead_letters, run_id)]
    (returns,) = [lane for lane in lanes if lane.endswith("-returns")]
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
    who, other = person("plus"), person("pro")
    chat_id = who.post("/chats", {})["chat_id"]
    with _paused(cloud, who):
        message = {"message_id": new_message_id(), "text": "Hi"}
        refused = who.refused("POST", f"/chats/{chat_id}/messages", json=message)
        assert refused == (503, "tier_paused")
        run_id = other.send("Please count to 3.")["run_id"]
        assert other.ended_run(run_id)["status"] == "completed"
    assert who.ended_run(who.send("Hi", chat_id)["run_id"])["status"] == "completed"


@contextmanager
def _paused(cloud: Cloud, who: Person) -> Iterator[None]:
    """His tier, as all know who have to; behind it all know that it goes on."""
    ssm: Any = cloud.aws.client("ssm")
    name = cloud.outputs["TiersParameter"]
    before = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    document = json.loads(before)
    document[who.tier]["paused"] = True
    try:
        _put(ssm, name, json.dumps(document), who)
        yield
    finally:
        _put(ssm, name, before, who)


def _put(ssm: Any, name: str, value: str, who: Person) -> None:
    put = ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def adopted() -> bool:
        # A function looks when it is asked something.
        who.get("/me")
        lines = [json.loads(line) for line in who.cloud.lambda_log("http_api") if line[:1] == "{"]
        logs = [lines, *(worker.log_lines() for worker in who.cloud.workers)]
        return all(
            any(
                line["message"] == "tiers.adopted" and line["version"] == put["Version"]
                for line in log
            )
            for log in logs
        )

    eventually(adopted, f"version {put['Version']} everywhere", WITHIN_A_MINUTE_S)
