"""Traces on AWS's sides: the header that a job carries (by moto), and what X-Ray does not take.

No emulator has an X-Ray: the call is held to botocore's model of it.
"""

import uuid

import msgspec
import pytest
from botocore.stub import ANY, Stubber

from chatcore.adapters.sqs import SqsLanes, sqs_client
from chatcore.adapters.xray import Segment, Span, XRaySegments, xray_client
from chatcore.domain.lanes import Lane
from chatcore.domain.tiers import Tier
from chatcore.protocol.queue import Job
from tests.measured import Lines

ROOT = "1-581cf771-a006649127e371903a2de979"
PARENT = "53995c3f42cd8ad8"
JOB = Job(run_id="r_1", chat_id="c_1", user_id="user-alice", tier=Tier.FREE, message_seq=1)
SEGMENT = Segment(
    trace_id=ROOT,
    parent_id=PARENT,
    whole=Span("worker", 1_478_293_361_000, 1_478_293_362_500),
    parts=[Span("prompt", 1_478_293_361_000, 1_478_293_361_100)],
    fault=False,
    annotations={"run_id": "r_1"},
)


@pytest.fixture(autouse=True)
def _in_moto(moto_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in moto_environment.items():
        monkeypatch.setenv(key, value)


@pytest.mark.parametrize(
    ("job", "header"),
    [
        (JOB, None),
        (
            msgspec.structs.replace(JOB, trace_id=ROOT, trace_parent=PARENT),
            f"Root={ROOT};Parent={PARENT};Sampled=1",
        ),
    ],
    ids=["not sampled", "sampled"],
)
def test_a_job_carries_the_header_of_a_sampled_trace(job: Job, header: str | None) -> None:
    client = sqs_client()
    url = client.create_queue(QueueName=f"q{uuid.uuid4().hex[:12]}-lane-free-0")["QueueUrl"]
    SqsLanes(client, url.removesuffix("-free-0")).send(Lane(Tier.FREE), job)
    answer = client.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"])
    (message,) = answer["Messages"]
    assert message["Attributes"].get("AWSTraceHeader") == header


def test_what_is_not_taken_is_said_once_and_harms_nobody() -> None:
    lines, client = Lines("what is not taken"), xray_client()
    segments = XRaySegments(client, lines.logger)
    put, asked = "put_trace_segments", {"TraceSegmentDocuments": [ANY]}
    with Stubber(client) as stub:
        stub.add_response(put, {"UnprocessedTraceSegments": []}, asked)
        segments.put(SEGMENT)
        assert lines.all("trace.trouble") == []
        for _ in range(2):
            stub.add_client_error(put, "AccessDeniedException", expected_params=asked)
            segments.put(SEGMENT)
        assert len(lines.all("trace.trouble")) == 1
        stub.add_response(put, {"UnprocessedTraceSegments": []}, asked)
        segments.put(SEGMENT)
        refused = [{"Id": "1", "ErrorCode": "ParseError", "Message": "no"}]
        stub.add_response(put, {"UnprocessedTraceSegments": refused}, asked)
        segments.put(SEGMENT)
        assert len(lines.all("trace.trouble")) == 2
        stub.assert_no_pending_responses()
