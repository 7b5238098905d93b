"""Owns what travels on SQS: jobs on lanes, controls on inboxes.

Bodies are ASCII-escaped JSON, since SQS refuses some control characters. They hold ids, never text.
"""

import json
from typing import Literal

import msgspec

from chatcore.domain.errors import Terminal
from chatcore.domain.run import Run
from chatcore.domain.tiers import Tier


class BadBody(Terminal):
    """A queue body that is not of this protocol."""


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A run that waits for a slot. SQS delivers it; the run's lease decides who works on it."""

    run_id: str
    chat_id: str
    user_id: str
    tier: Tier
    message_seq: int
    trace_id: str = ""
    v: Literal[1] = 1


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="cancel"):
    """connection_id: who asked, to be told the end even if he does not watch; empty for nobody."""

    run_id: str
    connection_id: str = ""
    v: Literal[1] = 1


class Attach(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="attach"):
    run_id: str
    connection_id: str
    offset: int
    epoch: int = 0
    v: Literal[1] = 1


Control = Cancel | Attach


def job_for(run: Run) -> Job:
    return Job(
        run_id=run.run_id,
        chat_id=run.chat_id,
        user_id=run.user_id,
        tier=run.tier,
        message_seq=run.message_seq,
        trace_id=run.trace_id,
    )


def encode(body: Job | Control) -> str:
    return json.dumps(msgspec.to_builtins(body), separators=(",", ":"))


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
