"""Owns what is sent to X-Ray: segments that are over, as their documents. Nothing depends on it.

X-Ray's own SDK would patch clients and keep a context for each task; this is one call at a run's end, and
only where its trace is sampled. (Vendor's page: X-Ray segment documents.)
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the work, in Unix ms."""

    name: str
    started_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Segment:
    """What one service did for a trace. parent_id: of the segment that asked for it; fault: it did not
    succeed, by our doing; annotations: what traces are searched by."""

    trace_id: str
    parent_id: str
    whole: Span
    parts: Sequence[Span]
    fault: bool
    annotations: Mapping[str, str | int]

    def document(self) -> str:
        return json.dumps(
            {
                "trace_id": self.trace_id,
                "parent_id": self.parent_id,
                **_timed(self.whole),
                "fault": self.fault,
                "annotations": dict(self.annotations),
                "subsegments": [_timed(part) for part in self.parts],
            }
        )


def _timed(span: Span) -> dict[str, object]:
    return {
        "id": secrets.token_hex(8),
        "name": span.name,
        "start_time": span.started_ms / 1000,
        "end_time": span.ended_ms / 1000,
    }


def xray_client() -> Any:  # noqa: ANN401 - no stubs of this service are locked
    config = Config(
        connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1}
    )
    return session().create_client("xray", config=config)


@dataclass(slots=True)
class XRaySegments:
    """Never raises: who cannot tell X-Ray says so in the log, once until it goes again."""

    client: Any
    logger: Logger
    _troubled: bool = field(default=False)

    def put(self, segment: Segment) -> None:
        try:
            answer = self.client.put_trace_segments(TraceSegmentDocuments=[segment.document()])
            refused = answer.get("UnprocessedTraceSegments", [])
        except (ClientError, BotoCoreError) as error:
            refused = [type(error).__name__]
        if refused and not self._troubled:
            self.logger.warning("trace.trouble", extra={"reason": str(refused)[:500]})
        self._troubled = bool(refused)
