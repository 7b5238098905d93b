"""Owns the life of a run: its states and the one table of transitions between them.

queued ──claim──▶ running ──complete──▶ completed
  │  ◀──hand_back──┘│ │ │──fail──────▶ failed
  │                 │ └─take_over (running again, next epoch)
  └──────cancel─────┴──────────────▶ cancelled
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from chatcore.domain.context_plan import ContextPlan
from chatcore.domain.errors import Code
from chatcore.domain.identity import answer_id_for, background_id_for
from chatcore.domain.tiers import Tier

MAX_ATTEMPTS = 4
"""Attempts that may end in a fault (worker lost, engine failed) before the run ends as failed."""

RETENTION_S = 30 * 24 * 3600
"""How long a run can be asked for after its end; its messages stay with the chat."""


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = frozenset({Status.QUEUED, Status.RUNNING})
TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Event(StrEnum):
    CLAIM = "claim"
    TAKE_OVER = "take_over"
    HAND_BACK = "hand_back"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"


TRANSITIONS: dict[tuple[Status, Event], Status] = {
    # A worker with a free slot takes the run; the epoch grows.
    (Status.QUEUED, Event.CLAIM): Status.RUNNING,
    # Its lease ran out: another worker goes on from the checkpoint; the epoch grows.
    (Status.RUNNING, Event.TAKE_OVER): Status.RUNNING,
    # The worker drains, is preempted, or its engine failed: back to a lane, to be claimed anew.
    (Status.RUNNING, Event.HAND_BACK): Status.QUEUED,
    (Status.RUNNING, Event.COMPLETE): Status.COMPLETED,
    (Status.RUNNING, Event.FAIL): Status.FAILED,
    (Status.RUNNING, Event.CANCEL): Status.CANCELLED,
    # Nobody has it: the canceller ends it himself.
    (Status.QUEUED, Event.CANCEL): Status.CANCELLED,
}


def after(status: Status, event: Event) -> Status | None:
    """The state that the event leads to, or None where it is not allowed."""
    return TRANSITIONS.get((status, event))


def sources(event: Event) -> frozenset[Status]:
    """The states in which the event is allowed: what a conditional write has to ask for."""
    return frozenset(status for status, allowed in TRANSITIONS if allowed is event)


class Kind(StrEnum):
    """What a run makes. Those in the background belong to a chat and are nobody's to watch: they take no
    turn in it, cost its user nothing, and begin anew where a worker dies."""

    ANSWER = "answer"
    TITLE = "title"
    SUMMARY = "summary"


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"
    """Cancelled by us: nobody was looking any more, for longer than the tier's grace."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the engine did for a run, in the engine's own tokens, over all epochs.

    cached_tokens: the part of input_tokens that a prefix cache held.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One answer in the making, or made; or what is made in the background (see `Kind`).

    message_id, message_seq: the user's message that it answers; weight: its tier's, when it was
    admitted; attempts: how many of its epochs ended in a fault; preemptions: how often it had to leave
    its slot to a higher tier; spent: what former epochs used; charged: what the run has cost so far in
    virtual time, as its holder told last; lost: of that, what holders did that died, which nobody is
    billed for; inbox: address of the holder's inbox;
    favourite: the worker that may have the chat's prefix cached, prefix_tokens: how long that is,
    prior_seq: the last place of the chat before this message; viewers: connections that want its
    frames; requeued_ms: when its job was last put into the lane anew, 0 where it never was; length: code
    points of the stored answer; summary_id: of the chat's summary when it was admitted, empty where there
    was none; untitled: the chat had no title then; context: how its prompt was made up, known from its end
    on. Of a summary, message_seq is the last place that it is to speak for, prior_seq the last one that
    the former speaks for, and summary_tokens the most that it may have. trace_parent: of a traced run, what
    its worker's part of the trace hangs on, empty where it is not traced.
    """

    run_id: str
    user_id: str
    chat_id: str
    tier: Tier
    message_id: str
    message_seq: int
    digest: str
    created_ms: int
    status: Status = Status.QUEUED
    epoch: int = 0
    attempts: int = 0
    spent: Usage = Usage()
    reserved_tokens: int = 0
    weight: int = 1
    preemptions: int = 0
    charged: int = 0
    lost: int = 0
    worker_id: str | None = None
    inbox: str | None = None
    lease_until_ms: int = 0
    favourite: str = ""
    prefix_tokens: int = 0
    prior_seq: int = 0
    viewers: frozenset[str] = frozenset()
    cancel_requested: bool = False
    requeued_ms: int = 0
    started_ms: int | None = None
    ended_ms: int | None = None
    finish_reason: FinishReason | None = None
    failure: Code | None = None
    usage: Usage | None = None
    length: int = 0
    trace_id: str = ""
    trace_parent: str = ""
    kind: Kind = Kind.ANSWER
    summary_id: str = ""
    summary_tokens: int = 0
    untitled: bool = False
    context: ContextPlan | None = None

    @property
    def answer_message_id(self) -> str:
        return answer_id_for(self.run_id)


def background_run(
    kind: Kind,
    user_id: str,
    chat_id: str,
    up_to_seq: int,
    now_ms: int,
    asked_ms: int = 0,
    trace_id: str = "",
) -> Run:
    """A run that makes something of a chat's messages up to that place, and answers none of them.
    asked_ms: as `background_id_for` has it."""
    return Run(
        run_id=background_id_for(kind, chat_id, up_to_seq, asked_ms),
        user_id=user_id,
        chat_id=chat_id,
        tier=Tier.BACKGROUND,
        message_id="",
        message_seq=up_to_seq,
        digest="",
        created_ms=now_ms,
        trace_id=trace_id,
        kind=kind,
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends: everything that one transaction then writes.

    event: COMPLETE, FAIL or CANCEL; text: the whole answer, as the users saw it; usage: over all
    epochs; context_tokens: what the chat would now take of an engine's context, None where no
    engine counted it; context: how the last prompt was made up, None where there was none; gone:
    connections that were found closed, which watch the chat no longer.
    """

    event: Event
    ended_ms: int
    text: str
    usage: Usage
    finish_reason: FinishReason
    failure: Code | None = None
    context_tokens: int | None = None
    context: ContextPlan | None = None
    gone: frozenset[str] = frozenset()


def ended(run: Run, ending: Ending) -> Run:
    """The run as it is stored from then on. Raises ValueError where the table has no such transition."""
    status = after(run.status, ending.event)
    if status is None:
        raise ValueError(f"a run that is {run.status} cannot {ending.event}")
    return replace(
        run,
        status=status,
        ended_ms=ending.ended_ms,
        finish_reason=ending.finish_reason,
        failure=ending.failure,
        usage=ending.usage,
        length=len(ending.text),
        context=ending.context,
        worker_id=None,
        inbox=None,
        lease_until_ms=0,
        viewers=frozenset(),
    )
