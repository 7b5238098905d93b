"""Owns the items as they lie in the tables, and their translation from and to the domain."""

from typing import Any

import msgspec
from pynamodb.attributes import (
    BooleanAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection, LocalSecondaryIndex
from pynamodb.models import Model

from chatcore.adapters.dynamo.versions import check, known, known_or
from chatcore.domain.beat import BEAT_RETENTION_S, Beat
from chatcore.domain.calendar import Backlog, Calendar
from chatcore.domain.chat import Chat, Message, Role
from chatcore.domain.context_plan import ContextPlan
from chatcore.domain.errors import Code
from chatcore.domain.ledger import Ledger, Window
from chatcore.domain.run import RETENTION_S, FinishReason, Kind, Run, Status, Usage
from chatcore.domain.stream import Checkpoint
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import Tier
from chatcore.domain.usage import DayUsage
from chatcore.ports import Ticket

CHECKPOINT_RETENTION_S = 24 * 3600
BACKGROUND_RETENTION_S = 24 * 3600
"""Of a run in the background, from its beginning: nobody asks for it later."""


class UsageMap(MapAttribute[Any, Any]):
    input_tokens = NumberAttribute()
    cached_tokens = NumberAttribute()
    output_tokens = NumberAttribute()

    @classmethod
    def of(cls, usage: Usage) -> "UsageMap":
        return cls(
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
        )

    def usage(self) -> Usage:
        return Usage(int(self.input_tokens), int(self.cached_tokens), int(self.output_tokens))


HOUR_MS = 3_600_000


def hour_of(active_ms: int) -> int:
    """The beginning of the hour in which a chat was active, which the index of chats sorts by.

    An index entry whose key changes is billed as two writes, twice that in a transaction. By the hour most
    messages of a chat leave it where it is; within an hour the reader sorts (`DynamoChats.newest`).
    """
    return active_ms // HOUR_MS * HOUR_MS


class ByActivity(LocalSecondaryIndex["ChatItem"]):
    """A user's chats by the hour of their latest activity; local, so that it can be read consistently."""

    class Meta:
        index_name = "by_activity"
        projection = AllProjection()

    user_id = UnicodeAttribute(hash_key=True)
    last_active_ms = NumberAttribute(range_key=True)


class ChatItem(Model):
    class Meta:
        table_name = "chats"

    user_id = UnicodeAttribute(hash_key=True)
    chat_id = UnicodeAttribute(range_key=True)
    by_activity = ByActivity()
    title = UnicodeAttribute(null=True)
    created_ms = NumberAttribute()
    last_active_ms = NumberAttribute()
    """The hour's beginning; the moment itself in items of the first release, which had no `active_ms`."""
    active_ms = NumberAttribute(null=True)
    last_seq = NumberAttribute()
    context_tokens = NumberAttribute()
    worker_id = UnicodeAttribute(null=True)
    active_run_id = UnicodeAttribute(null=True)
    deleted_ms = NumberAttribute(null=True)
    # Not a map: these are added to, whether they are there or not.
    input_tokens = NumberAttribute(null=True)
    cached_tokens = NumberAttribute(null=True)
    output_tokens = NumberAttribute(null=True)
    summary_id = UnicodeAttribute(null=True)
    compacting = UnicodeAttribute(null=True)
    compacting_ms = NumberAttribute(null=True)
    watchers = UnicodeSetAttribute(null=True)
    v = NumberAttribute(null=True)

    @classmethod
    def of(cls, chat: Chat) -> "ChatItem":
        return cls(
            user_id=chat.user_id,
            chat_id=chat.chat_id,
            title=chat.title,
            created_ms=chat.created_ms,
            last_active_ms=hour_of(chat.last_active_ms),
            active_ms=chat.last_active_ms,
            last_seq=chat.last_seq,
            context_tokens=chat.context_tokens,
            worker_id=chat.worker_id,
            active_run_id=chat.active_run_id,
            deleted_ms=chat.deleted_ms,
            input_tokens=chat.usage.input_tokens,
            cached_tokens=chat.usage.cached_tokens,
            output_tokens=chat.usage.output_tokens,
            summary_id=chat.summary_id or None,
            compacting=chat.compacting or None,
            compacting_ms=chat.compacting_ms or None,
            watchers=set(chat.watchers) or None,
        )

    def chat(self) -> Chat:
        check(self.v, "a chat")
        return Chat(
            user_id=self.user_id,
            chat_id=self.chat_id,
            title=self.title,
            created_ms=int(self.created_ms),
            # The first release moves the one and leaves the other where it was.
            last_active_ms=max(int(self.last_active_ms), int(self.active_ms or 0)),
            last_seq=int(self.last_seq),
            context_tokens=int(self.context_tokens),
            worker_id=self.worker_id,
            active_run_id=self.active_run_id,
            deleted_ms=None if self.deleted_ms is None else int(self.deleted_ms),
            usage=Usage(
                int(self.input_tokens or 0),
                int(self.cached_tokens or 0),
                int(self.output_tokens or 0),
            ),
            summary_id=self.summary_id or "",
            compacting=self.compacting or "",
            compacting_ms=int(self.compacting_ms or 0),
            watchers=frozenset(self.watchers or ()),
        )


class MessageItem(Model):
    class Meta:
        table_name = "messages"

    chat_id = UnicodeAttribute(hash_key=True)
    seq = NumberAttribute(range_key=True)
    message_id = UnicodeAttribute()
    role = UnicodeAttribute()
    text = UnicodeAttribute()
    run_id = UnicodeAttribute()
    created_ms = NumberAttribute()
    finish_reason = UnicodeAttribute(null=True)
    usage = UsageMap(null=True)
    v = NumberAttribute(null=True)

    @classmethod
    def of(cls, message: Message) -> "MessageItem":
        return cls(
            chat_id=message.chat_id,
            seq=message.seq,
            message_id=message.message_id,
            role=str(message.role),
            text=message.text,
            run_id=message.run_id,
            created_ms=message.created_ms,
            finish_reason=message.finish_reason and str(message.finish_reason),
            usage=message.usage and UsageMap.of(message.usage),
        )

    def message(self) -> Message:
        check(self.v, "a message")
        return Message(
            chat_id=self.chat_id,
            seq=int(self.seq),
            message_id=self.message_id,
            role=known(Role, self.role),
            text=self.text,
            run_id=self.run_id,
            created_ms=int(self.created_ms),
            finish_reason=known_or(FinishReason, self.finish_reason, FinishReason.STOP),
            usage=self.usage.usage() if self.usage else None,
        )


def active_at(now_ms: int) -> list[Action]:
    """What a message does to its chat's place in the list of chats."""
    return [
        ChatItem.last_active_ms.set(hour_of(now_ms)),
        ChatItem.active_ms.set(now_ms),
    ]


class SummaryItem(Model):
    class Meta:
        table_name = "summaries"

    chat_id = UnicodeAttribute(hash_key=True)
    summary_id = UnicodeAttribute(range_key=True)
    version = NumberAttribute()
    up_to_seq = NumberAttribute()
    text = UnicodeAttribute()
    made_ms = NumberAttribute()
    v = NumberAttribute(null=True)

    @classmethod
    def of(cls, summary: Summary) -> "SummaryItem":
        return cls(
            chat_id=summary.chat_id,
            summary_id=summary.summary_id,
            version=summary.version,
            up_to_seq=summary.up_to_seq,
            text=summary.text,
            made_ms=summary.made_ms,
        )

    def summary(self) -> Summary:
        check(self.v, "a summary")
        return Summary(
            chat_id=self.chat_id,
            summary_id=self.summary_id,
            version=int(self.version),
            up_to_seq=int(self.up_to_seq),
            text=self.text,
            made_ms=int(self.made_ms),
        )


class RunItem(Model):
    class Meta:
        table_name = "runs"

    run_id = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute()
    chat_id = UnicodeAttribute()
    tier = UnicodeAttribute()
    message_id = UnicodeAttribute()
    message_seq = NumberAttribute()
    digest = UnicodeAttribute()
    created_ms = NumberAttribute()
    status = UnicodeAttribute()
    epoch = NumberAttribute()
    attempts = NumberAttribute()
    spent = UsageMap()
    reserved_tokens = NumberAttribute()
    weight = NumberAttribute()
    preemptions = NumberAttribute()
    charged = NumberAttribute()
    lost = NumberAttribute()
    worker_id = UnicodeAttribute(null=True)
    inbox = UnicodeAttribute(null=True)
    claim_id = UnicodeAttribute(null=True)
    """Of the last claim: by it one whose answer was lost knows that it has succeeded."""
    lease_until_ms = NumberAttribute()
    favourite = UnicodeAttribute(null=True)
    prefix_tokens = NumberAttribute(null=True)
    prior_seq = NumberAttribute(null=True)
    viewers = UnicodeSetAttribute(null=True)
    cancel_requested = BooleanAttribute()
    requeued_ms = NumberAttribute(null=True)
    started_ms = NumberAttribute(null=True)
    ended_ms = NumberAttribute(null=True)
    finish_reason = UnicodeAttribute(null=True)
    failure = UnicodeAttribute(null=True)
    usage = UsageMap(null=True)
    length = NumberAttribute()
    trace_id = UnicodeAttribute()
    trace_parent = UnicodeAttribute(null=True)
    kind = UnicodeAttribute(null=True)
    summary_id = UnicodeAttribute(null=True)
    summary_tokens = NumberAttribute(null=True)
    untitled = BooleanAttribute(null=True)
    context = UnicodeAttribute(null=True)
    expires_at = NumberAttribute(null=True)
    v = NumberAttribute(null=True)
    is_gone = BooleanAttribute(null=True)
    """All that is left of a removed run, beside its id and its expiry."""

    @classmethod
    def emptied(cls) -> list[Action]:
        """What makes of a run's item that of a removed one."""
        kept = {"run_id", "expires_at", "is_gone"}
        attributes = cls.get_attributes()
        return [
            cls.is_gone.set(True),
            *(attributes[name].remove() for name in sorted(attributes.keys() - kept)),
        ]

    @classmethod
    def of(cls, run: Run) -> "RunItem":
        return cls(
            run_id=run.run_id,
            user_id=run.user_id,
            chat_id=run.chat_id,
            tier=str(run.tier),
            message_id=run.message_id,
            message_seq=run.message_seq,
            digest=run.digest,
            created_ms=run.created_ms,
            status=str(run.status),
            epoch=run.epoch,
            attempts=run.attempts,
            spent=UsageMap.of(run.spent),
            reserved_tokens=run.reserved_tokens,
            weight=run.weight,
            preemptions=run.preemptions,
            charged=run.charged,
            lost=run.lost,
            worker_id=run.worker_id,
            inbox=run.inbox,
            lease_until_ms=run.lease_until_ms,
            favourite=run.favourite or None,
            prefix_tokens=run.prefix_tokens,
            prior_seq=run.prior_seq,
            viewers=set(run.viewers) or None,
            cancel_requested=run.cancel_requested,
            requeued_ms=run.requeued_ms,
            started_ms=run.started_ms,
            ended_ms=run.ended_ms,
            finish_reason=run.finish_reason and str(run.finish_reason),
            failure=run.failure and str(run.failure),
            usage=run.usage and UsageMap.of(run.usage),
            length=run.length,
            trace_id=run.trace_id,
            trace_parent=run.trace_parent or None,
            kind=str(run.kind),
            summary_id=run.summary_id or None,
            summary_tokens=run.summary_tokens or None,
            untitled=run.untitled,
            context=run.context and msgspec.json.encode(run.context).decode("utf-8"),
            expires_at=_expires_at(run),
        )

    def run(self) -> Run:
        check(self.v, "a run")
        return Run(
            run_id=self.run_id,
            user_id=self.user_id,
            chat_id=self.chat_id,
            tier=known(Tier, self.tier),
            message_id=self.message_id,
            message_seq=int(self.message_seq),
            digest=self.digest,
            created_ms=int(self.created_ms),
            status=known(Status, self.status),
            epoch=int(self.epoch),
            attempts=int(self.attempts),
            spent=self.spent.usage(),
            reserved_tokens=int(self.reserved_tokens),
            weight=int(self.weight),
            preemptions=int(self.preemptions),
            charged=int(self.charged),
            lost=int(self.lost),
            worker_id=self.worker_id,
            inbox=self.inbox,
            lease_until_ms=int(self.lease_until_ms),
            favourite=self.favourite or "",
            prefix_tokens=int(self.prefix_tokens or 0),
            prior_seq=int(self.prior_seq or 0),
            viewers=frozenset(self.viewers or ()),
            cancel_requested=bool(self.cancel_requested),
            requeued_ms=int(self.requeued_ms or 0),
            started_ms=None if self.started_ms is None else int(self.started_ms),
            ended_ms=None if self.ended_ms is None else int(self.ended_ms),
            finish_reason=known_or(FinishReason, self.finish_reason, FinishReason.STOP),
            failure=known_or(Code, self.failure, Code.INTERNAL_ERROR),
            usage=self.usage.usage() if self.usage else None,
            length=int(self.length),
            trace_id=self.trace_id,
            trace_parent=self.trace_parent or "",
            kind=known(Kind, self.kind) if self.kind else Kind.ANSWER,
            summary_id=self.summary_id or "",
            summary_tokens=int(self.summary_tokens or 0),
            untitled=bool(self.untitled),
            context=_plan(self.context),
        )


_plans = msgspec.json.Decoder(ContextPlan)


def _plan(written: str | None) -> ContextPlan | None:
    """None also for one that a later release has made otherwise: it is only shown."""
    try:
        return _plans.decode(written) if written else None
    except msgspec.ValidationError:
        return None


def _expires_at(run: Run) -> int | None:
    if run.kind is not Kind.ANSWER:
        return run.created_ms // 1000 + BACKGROUND_RETENTION_S
    # Only what is over expires: a chat and a ledger still point to a run that is not.
    return run.ended_ms and run.ended_ms // 1000 + RETENTION_S


class CheckpointItem(Model):
    class Meta:
        table_name = "checkpoints"

    run_id = UnicodeAttribute(hash_key=True)
    part = UnicodeAttribute(range_key=True)
    epoch = NumberAttribute()
    offset = NumberAttribute()
    text = UnicodeAttribute()
    expires_at = NumberAttribute()

    @classmethod
    def of(cls, checkpoint: Checkpoint, now_ms: int) -> "CheckpointItem":
        return cls(
            run_id=checkpoint.run_id,
            part=f"{checkpoint.epoch:06d}#{checkpoint.offset:09d}",
            epoch=checkpoint.epoch,
            offset=checkpoint.offset,
            text=checkpoint.text,
            expires_at=now_ms // 1000 + CHECKPOINT_RETENTION_S,
        )

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.run_id, int(self.epoch), int(self.offset), self.text)


class WindowMap(MapAttribute[str, Any]):
    ends_ms = NumberAttribute()
    began_at_tokens = NumberAttribute()

    @classmethod
    def of(cls, window: Window) -> "WindowMap":
        return cls(ends_ms=window.ends_ms, began_at_tokens=window.began_at_tokens)

    def window(self) -> Window:
        return Window(int(self.ends_ms), int(self.began_at_tokens))


class LedgerItem(Model):
    class Meta:
        table_name = "ledgers"

    user_id = UnicodeAttribute(hash_key=True)
    version = NumberAttribute()
    active: MapAttribute[str, Any] = MapAttribute()
    windows: ListAttribute[WindowMap] = ListAttribute(of=WindowMap, null=True)
    settled_tokens = NumberAttribute()
    settled_runs = NumberAttribute()
    served = NumberAttribute()
    charged: MapAttribute[str, Any] = MapAttribute()
    lift = NumberAttribute()
    tagged_tier = UnicodeAttribute(null=True)
    waiting: ListAttribute[Any] = ListAttribute(null=True)
    closed_ms = NumberAttribute(null=True)
    v = NumberAttribute(null=True)

    @classmethod
    def of(cls, ledger: Ledger) -> "LedgerItem":
        return cls(
            user_id=ledger.user_id,
            version=ledger.version,
            active=dict(ledger.active),
            windows=[WindowMap.of(window) for window in ledger.windows],
            settled_tokens=ledger.settled_tokens,
            settled_runs=ledger.settled_runs,
            served=ledger.served,
            charged=dict(ledger.charged),
            lift=ledger.lift,
            tagged_tier=ledger.tagged_tier and str(ledger.tagged_tier),
            waiting=list(ledger.waiting),
            closed_ms=ledger.closed_ms or None,
        )

    def ledger(self) -> Ledger:
        check(self.v, "a ledger")
        return Ledger(
            user_id=self.user_id,
            version=int(self.version),
            active={run_id: int(tokens) for run_id, tokens in self.active.as_dict().items()},
            windows=tuple(window.window() for window in self.windows or ()),
            settled_tokens=int(self.settled_tokens),
            settled_runs=int(self.settled_runs),
            served=int(self.served),
            charged={run_id: int(tokens) for run_id, tokens in self.charged.as_dict().items()},
            lift=int(self.lift),
            tagged_tier=known(Tier, self.tagged_tier) if self.tagged_tier else None,
            waiting=tuple(self.waiting or ()),
            closed_ms=int(self.closed_ms or 0),
        )


class UsageItem(Model):
    class Meta:
        table_name = "usage"

    user_id = UnicodeAttribute(hash_key=True)
    day = UnicodeAttribute(range_key=True)
    runs = NumberAttribute()
    input_tokens = NumberAttribute()
    cached_tokens = NumberAttribute()
    output_tokens = NumberAttribute()
    expires_at = NumberAttribute()

    def day_usage(self) -> DayUsage:
        usage = Usage(int(self.input_tokens), int(self.cached_tokens), int(self.output_tokens))
        return DayUsage(self.day, int(self.runs), usage)


class BacklogMap(MapAttribute[str, Any]):
    at_ms = NumberAttribute()
    waiting: MapAttribute[str, Any] = MapAttribute()
    starts_per_s = NumberAttribute()

    @classmethod
    def of(cls, backlog: Backlog) -> "BacklogMap":
        return cls(
            at_ms=backlog.at_ms,
            waiting={str(index): count for index, count in backlog.waiting.items()},
            starts_per_s=backlog.starts_per_s,
        )

    def backlog(self) -> Backlog:
        waiting = {int(index): int(count) for index, count in self.waiting.as_dict().items()}
        return Backlog(int(self.at_ms), waiting, float(self.starts_per_s))


class CalendarItem(Model):
    class Meta:
        table_name = "calendars"

    tier = UnicodeAttribute(hash_key=True)
    front = NumberAttribute(null=True)
    backlog = BacklogMap(null=True)
    entry = NumberAttribute(null=True)
    entry_ms = NumberAttribute(null=True)

    def calendar(self) -> Calendar:
        return Calendar(
            Tier(self.tier),
            int(self.front or 0),
            Backlog() if self.backlog is None else self.backlog.backlog(),
            int(self.entry or 0),
            int(self.entry_ms or 0),
        )


class BeatItem(Model):
    class Meta:
        table_name = "workers"

    worker_id = UnicodeAttribute(hash_key=True)
    inbox = UnicodeAttribute()
    beat_ms = NumberAttribute()
    slots = NumberAttribute()
    free_slots = NumberAttribute()
    offers = NumberAttribute()
    starts_per_s: MapAttribute[str, Any] = MapAttribute()
    slot_s: MapAttribute[str, Any] = MapAttribute()
    expires_at = NumberAttribute()

    @classmethod
    def of(cls, beat: Beat) -> "BeatItem":
        return cls(
            worker_id=beat.worker_id,
            inbox=beat.inbox,
            beat_ms=beat.beat_ms,
            slots=beat.slots,
            free_slots=beat.free_slots,
            offers=beat.offers,
            starts_per_s={str(tier): rate for tier, rate in beat.starts_per_s.items()},
            slot_s={str(tier): seconds for tier, seconds in beat.slot_s.items()},
            expires_at=beat.beat_ms // 1000 + BEAT_RETENTION_S,
        )

    def beat(self) -> Beat:
        return Beat(
            worker_id=self.worker_id,
            inbox=self.inbox,
            beat_ms=int(self.beat_ms),
            slots=int(self.slots),
            free_slots=int(self.free_slots),
            offers=int(self.offers),
            starts_per_s=_by_tier(self.starts_per_s.as_dict()),
            slot_s=_by_tier(self.slot_s.as_dict()),
        )


def _by_tier(numbers: dict[str, Any]) -> dict[Tier, float]:
    # A later release may have tiers that nobody here asks about.
    return {tier: float(numbers[tier]) for tier in Tier if tier in numbers}


class TicketItem(Model):
    class Meta:
        table_name = "tickets"

    ticket_hash = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute()
    tier = UnicodeAttribute()
    expires_ms = NumberAttribute()
    expires_at = NumberAttribute()

    @classmethod
    def of(cls, ticket: Ticket) -> "TicketItem":
        return cls(
            ticket_hash=ticket.ticket_hash,
            user_id=ticket.user_id,
            tier=str(ticket.tier),
            expires_ms=ticket.expires_ms,
            expires_at=ticket.expires_ms // 1000 + 1,
        )

    def ticket(self) -> Ticket:
        return Ticket(self.ticket_hash, self.user_id, Tier(self.tier), int(self.expires_ms))
