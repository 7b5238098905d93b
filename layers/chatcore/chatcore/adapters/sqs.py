"""Owns lanes and inboxes on SQS. Knows queue URLs; nothing outside does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session
from chatcore.adapters.trace import header_of
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.lanes import Lane
from chatcore.ports import Received
from chatcore.protocol.queue import BadBody, Control, Job, decode_control, decode_job, encode

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

INBOX_RETENTION_S = 300
"""A control that nobody read for so long is about a run that has long moved on."""

INBOX_VISIBILITY_S = 30

_NO_QUEUE = frozenset({"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"})
_HANDLE_OVER = frozenset(
    {"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"}
    | {"AWS.SimpleQueueService.MessageNotInflight"}
)


def sqs_client(max_connections: int = 10) -> "SQSClient":
    """read_timeout lies above SQS's longest poll (20 s)."""
    config = Config(
        connect_timeout=1,
        read_timeout=25,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=max_connections,
    )
    return cast("SQSClient", session().create_client("sqs", config=config))


@dataclass(frozen=True, slots=True)
class SqsLanes:
    """base_url: what all lanes' URLs begin with; `-{lane}` follows. dead_letter_url: where
    `bury` puts jobs; only workers have it."""

    client: "SQSClient"
    base_url: str
    dead_letter_url: str = ""

    def send(self, lane: Lane, job: Job, delay_s: int = 0) -> None:
        try:
            self.client.send_message(
                QueueUrl=self._url(lane),
                MessageBody=encode(job),
                DelaySeconds=delay_s,
                # SQS fair queues: one user's flood does not delay the others in his lane.
                MessageGroupId=job.user_id,
                **_trace_of(job),
            )
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error

    def waiting(self, lane: Lane) -> int:
        try:
            answer = self.client.get_queue_attributes(
                QueueUrl=self._url(lane), AttributeNames=["ApproximateNumberOfMessages"]
            )
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def receive(self, lane: Lane, wait_s: int) -> Received[Job] | None:
        try:
            answer = self.client.receive_message(
                QueueUrl=self._url(lane),
                MaxNumberOfMessages=1,
                WaitTimeSeconds=wait_s,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error
        for message in answer.get("Messages", []):
            try:
                return Received(
                    decode_job(message["Body"]),
                    message["ReceiptHandle"],
                    int(message["Attributes"]["SentTimestamp"]),
                )
            except BadBody:
                # Not ours: left hidden, so that the redrive policy takes it to the DLQ to be seen.
                continue
        return None

    def acknowledge(self, lane: Lane, handle: str) -> None:
        try:
            self.client.delete_message(QueueUrl=self._url(lane), ReceiptHandle=handle)
        except ClientError as error:
            if _code(error) not in _HANDLE_OVER:
                raise _unavailable(error) from error
        except BotoCoreError as error:
            raise _unavailable(error) from error

    def hide(self, lane: Lane, handle: str, seconds: int) -> None:
        try:
            self.client.change_message_visibility(
                QueueUrl=self._url(lane), ReceiptHandle=handle, VisibilityTimeout=seconds
            )
        except ClientError as error:
            if _code(error) not in _HANDLE_OVER:
                raise _unavailable(error) from error
        except BotoCoreError as error:
            raise _unavailable(error) from error

    def bury(self, job: Job, why: Mapping[str, str]) -> None:
        try:
            self.client.send_message(
                QueueUrl=self.dead_letter_url,
                MessageBody=encode(job),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in why.items()
                    if value
                },
            )
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error

    def _url(self, lane: Lane) -> str:
        return f"{self.base_url}-{lane}"


@dataclass(slots=True)
class SqsInboxes:
    """base_url: what all inboxes' URLs begin with; `-{worker_id}` follows."""

    client: "SQSClient"
    base_url: str
    _read: dict[str, list[str]] = field(default_factory=dict)

    def open(self, worker_id: str) -> str:
        url = f"{self.base_url}-{worker_id}"
        attributes: dict[QueueAttributeNameType, str] = {
            "MessageRetentionPeriod": str(INBOX_RETENTION_S),
            "VisibilityTimeout": str(INBOX_VISIBILITY_S),
            "SqsManagedSseEnabled": "true",
        }
        try:
            self.client.create_queue(QueueName=url.rsplit("/", 1)[-1], Attributes=attributes)
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error
        return url

    def close(self, worker_id: str) -> None:
        try:
            self.client.delete_queue(QueueUrl=f"{self.base_url}-{worker_id}")
        except ClientError as error:
            if _code(error) not in _NO_QUEUE:
                raise _unavailable(error) from error
        except BotoCoreError as error:
            raise _unavailable(error) from error

    def send(self, inbox: str, control: Control) -> bool:
        if not inbox:
            return False
        try:
            self.client.send_message(QueueUrl=inbox, MessageBody=encode(control))
        except ClientError as error:
            if _code(error) in _NO_QUEUE:
                return False
            raise _unavailable(error) from error
        except BotoCoreError as error:
            raise _unavailable(error) from error
        return True

    def receive(self, inbox: str, wait_s: int) -> Sequence[Control]:
        """What the last call handed out is deleted here, so that a control acts before, not after,
        the round trip of its deletion."""
        try:
            self._forget(inbox)
            answer = self.client.receive_message(
                QueueUrl=inbox, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s
            )
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error
        messages = answer.get("Messages", [])
        self._read[inbox] = [message["ReceiptHandle"] for message in messages]
        controls: list[Control] = []
        for message in messages:
            try:
                controls.append(decode_control(message["Body"]))
            except BadBody:
                # From a release that says more than this one understands: passed over.
                continue
        return controls

    def _forget(self, inbox: str) -> None:
        handles = self._read.pop(inbox, [])
        if handles:
            self.client.delete_message_batch(
                QueueUrl=inbox,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": handle}
                    for index, handle in enumerate(handles)
                ],
            )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _trace_of(job: Job) -> dict[str, Any]:
    """Whoever sends the job, and however often: it is part of the trace of its user's send."""
    if not job.trace_parent:
        return {}
    header = header_of(job.trace_id, job.trace_parent)
    return {
        "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}
    }


def _unavailable(error: ClientError | BotoCoreError) -> StoreUnavailable:
    name = _code(error) if isinstance(error, ClientError) else type(error).__name__
    return StoreUnavailable(f"SQS: {name}")
