"""Owns the plain stores on DynamoDB: messages, ledgers, usage, calendars, beats, tickets. Chats with their
summaries, and runs, have modules of their own."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from pynamodb.exceptions import DoesNotExist
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chatcore.adapters.dynamo.chats import DynamoChats, DynamoSummaries
from chatcore.adapters.dynamo.faults import ConditionFailed, translated
from chatcore.adapters.dynamo.items import (
    BacklogMap,
    BeatItem,
    CalendarItem,
    LedgerItem,
    MessageItem,
    TicketItem,
    UsageItem,
)
from chatcore.adapters.dynamo.runs import DynamoRuns
from chatcore.adapters.dynamo.scans import scan_page
from chatcore.adapters.dynamo.tables import Tables
from chatcore.adapters.dynamo.versions import changes
from chatcore.domain.beat import Beat
from chatcore.domain.calendar import Calendar
from chatcore.domain.chat import Message
from chatcore.domain.ledger import Ledger
from chatcore.domain.tiers import Tier
from chatcore.domain.usage import DayUsage
from chatcore.ports import Page, Stores, Swept, Ticket


def dynamo_stores(tables: Tables) -> Stores:
    return Stores(
        chats=DynamoChats(tables),
        messages=DynamoMessages(tables),
        summaries=DynamoSummaries(tables),
        runs=DynamoRuns(tables),
        ledgers=DynamoLedgers(tables),
        usage=DynamoUsage(tables),
        tickets=DynamoTickets(tables),
        calendars=DynamoCalendars(tables),
        beats=DynamoBeats(tables),
    )


@dataclass(frozen=True, slots=True)
class DynamoMessages:
    tables: Tables

    def newest(self, chat_id: str, limit: int, before_seq: int | None) -> Page[Message]:
        below = None if before_seq is None else MessageItem.seq < before_seq
        with translated():
            found = self.tables.message.query(
                chat_id,
                range_key_condition=below,
                consistent_read=True,
                scan_index_forward=False,
                limit=limit + 1,
            )
            messages = [item.message() for item in found]
        page = messages[:limit]
        return Page(page, (page[-1].seq, "") if len(messages) > limit else None)

    def oldest(self, chat_id: str, limit: int, after_seq: int) -> Sequence[Message]:
        behind = MessageItem.seq > after_seq
        with translated():
            found = self.tables.message.query(
                chat_id, range_key_condition=behind, consistent_read=True, limit=limit
            )
            return [item.message() for item in found]

    def between(self, chat_id: str, after_seq: int, up_to_seq: int) -> Sequence[Message]:
        if after_seq >= up_to_seq:
            # DynamoDB takes no range that ends before it begins.
            return []
        asked_for = MessageItem.seq.between(after_seq + 1, up_to_seq)
        with translated():
            found = self.tables.message.query(
                chat_id, range_key_condition=asked_for, consistent_read=True
            )
            return [item.message() for item in found]

    def remove(self, chat_id: str, messages: Sequence[Message]) -> None:
        with translated(), self.tables.message.batch_write() as batch:
            for message in messages:
                batch.delete(self.tables.message(chat_id, message.seq))


@dataclass(frozen=True, slots=True)
class DynamoLedgers:
    tables: Tables

    def get(self, user_id: str) -> Ledger:
        try:
            with translated():
                return self.tables.ledger.get(user_id, consistent_read=True).ledger()
        except DoesNotExist:
            return Ledger(user_id)

    def put(self, ledger: Ledger, former_version: int) -> None:
        former = LedgerItem.version == former_version
        # One that nobody has written yet is of version 0.
        seen = former if former_version else LedgerItem.user_id.does_not_exist()
        with translated():
            item = self.tables.ledger.of(ledger)
            item.update(changes(item), condition=seen)

    def charge(self, user_id: str, run_id: str, charged: int) -> None:
        known = LedgerItem.charged[run_id].exists()
        actions = [LedgerItem.charged[run_id].set(charged), LedgerItem.version.add(1)]
        with suppress(ConditionFailed), translated():
            self.tables.ledger(user_id).update(actions, condition=known)

    def forget(self, user_id: str) -> bool:
        gone_or_closed = LedgerItem.user_id.does_not_exist() | LedgerItem.closed_ms.exists()
        try:
            with translated():
                self.tables.ledger(user_id).delete(condition=gone_or_closed)
        except ConditionFailed:
            return False
        return True


@dataclass(frozen=True, slots=True)
class DynamoUsage:
    tables: Tables

    def days(self, user_id: str, first_day: str, last_day: str) -> Sequence[DayUsage]:
        asked_for = UsageItem.day.between(first_day, last_day)
        with translated():
            found = self.tables.usage.query(
                user_id, range_key_condition=asked_for, consistent_read=True
            )
            return [item.day_usage() for item in found]

    def remove(self, user_id: str) -> None:
        with translated():
            days = list(self.tables.usage.query(user_id, consistent_read=True))
            with self.tables.usage.batch_write() as batch:
                for day in days:
                    batch.delete(day)


@dataclass(frozen=True, slots=True)
class DynamoCalendars:
    tables: Tables

    def get(self, tier: Tier) -> Calendar:
        try:
            with translated():
                return self.tables.calendar.get(str(tier)).calendar()
        except DoesNotExist:
            return Calendar(tier)

    def advance(self, tier: Tier, front: int) -> int:
        #   worker A   reads 7 ── finds 7 empty ── writes 8 if < 8 ─▶ 8
        #   worker B   reads 7 ── finds 7 and 8 empty ── writes 9 if < 9 ─▶ 9, whichever comes first
        item = self.tables.calendar(str(tier))
        forward = CalendarItem.front.does_not_exist() | (CalendarItem.front < front)
        try:
            with translated():
                item.update([CalendarItem.front.set(front)], condition=forward)
        except ConditionFailed:
            with translated():
                return self.tables.calendar.get(str(tier), consistent_read=True).calendar().front
        return front

    def publish(self, calendar: Calendar, former_ms: int) -> bool:
        item = self.tables.calendar(str(calendar.tier))
        told: list[Action] = [
            CalendarItem.backlog.set(BacklogMap.of(calendar.backlog)),
            CalendarItem.entry.set(calendar.entry),
            CalendarItem.entry_ms.set(calendar.entry_ms),
        ]
        seen: Condition = CalendarItem.backlog.does_not_exist()
        if former_ms:
            seen = cast(Condition, CalendarItem.backlog.at_ms == former_ms)
        try:
            with translated():
                item.update(told, condition=seen)
        except ConditionFailed:
            return False
        return True


@dataclass(frozen=True, slots=True)
class DynamoBeats:
    tables: Tables

    def put(self, beat: Beat) -> None:
        with translated():
            self.tables.beat.of(beat).save()

    def get(self, worker_id: str) -> Beat | None:
        try:
            with translated():
                return self.tables.beat.get(worker_id).beat()
        except DoesNotExist:
            return None

    def all(self) -> Sequence[Beat]:
        with translated():
            items: list[BeatItem] = list(self.tables.beat.scan())
        return [item.beat() for item in items]

    def remove(self, worker_id: str) -> None:
        with translated():
            self.tables.beat(worker_id).delete()


@dataclass(frozen=True, slots=True)
class DynamoTickets:
    tables: Tables

    def put(self, ticket: Ticket) -> None:
        with translated():
            self.tables.ticket.of(ticket).save()

    def take(self, ticket_hash: str, now_ms: int) -> Ticket | None:
        fresh = TicketItem.expires_ms > now_ms
        try:
            with translated():
                # Two sockets with one ticket race here, and one of them loses. Below pynamodb's
                # models, since theirs does not say what it deleted.
                deleted = self.tables.ticket._get_connection().delete_item(
                    ticket_hash, condition=fresh, return_values="ALL_OLD"
                )
        except ConditionFailed:
            return None
        return self.tables.ticket.from_raw_data(deleted["Attributes"]).ticket()

    def remove_of(self, user_id: str, limit: int, after_hash: str) -> Swept:
        table = self.tables.ticket
        page = scan_page(table, TicketItem.user_id == user_id, limit, after_hash)
        with translated(), table.batch_write() as batch:
            for ticket in page.items:
                batch.delete(ticket)
        return Swept(page.looked_at, page.next_id)
