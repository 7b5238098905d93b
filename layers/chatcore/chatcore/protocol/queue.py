"""Owns what travels on SQS: jobs on lanes, controls on inboxes.

Bodies are ASCII-escaped JSON, since SQS refuses some control characters. On lanes they hold ids, never
text; an offer to a worker's inbox, which is kept for minutes, holds the message that it is about.
"""

import json
from typing import Literal

import msgspec

from chatcore.domain.errors import Terminal
from chatcore.domain.run import Kind, Run
from chatcore.domain.tiers import Tier


class BadBody(Terminal):
    """A queue body that is not of this protocol."""


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A run that waits for a slot. SQS delivers it; the run's lease decides who works on it.

    created_ms, favourite, prefix_tokens, prior_seq, trace_parent: as the run has them; offered_ms: when
    its favourite was told of it, 0 where it was not; kind, summary_id: likewise the run's; task_token: of
    the execution that waits for its end, empty where none does.
    """

    run_id: str
    chat_id: str
    user_id: str
    tier: Tier
    message_seq: int
    created_ms: int = 0
    favourite: str = ""
    prefix_tokens: int = 0
    prior_seq: int = 0
    offered_ms: int = 0
    trace_id: str = ""
    trace_parent: str = ""
    kind: Kind = Kind.ANSWER
    summary_id: str = ""
    task_token: str = ""
    v: Literal[1] = 1


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="cancel"):
    """connection_id: who asked, to be told the end even if he does not watch; empty for nobody; asked_ms:
    when, 0 where it is not known."""

    run_id: str
    connection_id: str = ""
    asked_ms: int = 0
    v: Literal[1] = 1


class Attach(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="attach"):
    run_id: str
    connection_id: str
    offset: int
    epoch: int = 0
    v: Literal[1] = 1


class Offer(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="offer"):
    """A run for the worker that has its chat's prefix. text: of its message, empty where that is to be
    read. Its twin in the lane is what counts: an offer may be lost or dropped."""

    job: Job
    text: str
    v: Literal[1] = 1

    @property
    def run_id(self) -> str:
        return self.job.run_id


class Drain(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="drain"):
    """Leave in good order, as at a SIGTERM. A worker of a release that does not know it passes it over."""

    v: Literal[1] = 1


Control = Cancel | Attach | Offer | Drain


def job_for(run: Run) -> Job:
    return Job(
        run_id=run.run_id,
        chat_id=run.chat_id,
        user_id=run.user_id,
        tier=run.tier,
        message_seq=run.message_seq,
        created_ms=run.created_ms,
        favourite=run.favourite,
        prefix_tokens=run.prefix_tokens,
        prior_seq=run.prior_seq,
        trace_id=run.trace_id,
        trace_parent=run.trace_parent,
        kind=run.kind,
        summary_id=run.summary_id,
    )


def encode(body: Job | Control) -> str:
    return json.dumps(msgspec.to_builtins(body), separators=(",", ":"))


def as_object(job: Job) -> dict[str, object]:
    """For a state machine, which puts it into a lane itself."""
    found: dict[str, object] = msgspec.to_builtins(job)
    return found


_jobs = msgspec.json.Decoder(Job)
_controls: msgspec.json.Decoder[Control] = msgspec.json.Decoder(Control)


def decode_job(body: str) -> Job:
    try:
        return _jobs.decode(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadBody(str(error)) from error


def decode_control(body: str) -> Control:
    try:
        return _controls.decode(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadBody(str(error)) from error
