"""Owns the plain stores on DynamoDB: chats, messages, ledgers, tickets. Runs have a module of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pynamodb.exceptions import DoesNotExist

from chatcore.adapters.dynamo.faults import ConditionFailed, translated
from chatcore.adapters.dynamo.items import ChatItem, MessageItem, TicketItem
from chatcore.adapters.dynamo.runs import DynamoRuns
from chatcore.adapters.dynamo.tables import Tables
from chatcore.domain.chat import Chat, Message
from chatcore.domain.ledger import Ledger
from chatcore.ports import Page, Stores, Ticket


def dynamo_stores(tables: Tables) -> Stores:
    return Stores(
        chats=DynamoChats(tables),
        messages=DynamoMessages(tables),
        runs=DynamoRuns(tables),
        ledgers=DynamoLedgers(tables),
        tickets=DynamoTickets(tables),
    )


@dataclass(frozen=True, slots=True)
class DynamoChats:
    tables: Tables

    def create(self, chat: Chat) -> None:
        with translated():
            self.tables.chat.of(chat).save()

    def get(self, user_id: str, chat_id: str) -> Chat | None:
        try:
            with translated():
                return self.tables.chat.get(user_id, chat_id, consistent_read=True).chat()
        except DoesNotExist:
            return None

    def newest(self, user_id: str, limit: int, after: tuple[int, str] | None) -> Page[Chat]:
        start: dict[str, dict[str, Any]] | None = None
        if after is not None:
            start = {
                "user_id": {"S": user_id},
                "last_active_ms": {"N": str(after[0])},
                "chat_id": {"S": after[1]},
            }
        with translated():
            found = self.tables.chat.query(
                user_id,
                filter_condition=ChatItem.deleted_ms.does_not_exist(),
                consistent_read=True,
                index_name="by_activity",
                scan_index_forward=False,
                limit=limit + 1,
                last_evaluated_key=start,
            )
            chats = [item.chat() for item in found]
        page = chats[:limit]
        more = len(chats) > limit
        return Page(page, (page[-1].last_active_ms, page[-1].chat_id) if more else None)

    def rename(self, user_id: str, chat_id: str, title: str) -> Chat | None:
        item = self.tables.chat(user_id, chat_id)
        visible = ChatItem.chat_id.exists() & ChatItem.deleted_ms.does_not_exist()
        try:
            with translated():
                item.update([ChatItem.title.set(title)], condition=visible)
        except ConditionFailed:
            return None
        return item.chat()

    def mark_deleted(self, user_id: str, chat_id: str, now_ms: int) -> Chat | None:
        item = self.tables.chat(user_id, chat_id)
        first = ChatItem.deleted_ms.set(ChatItem.deleted_ms | now_ms)
        try:
            with translated():
                item.update([first], condition=ChatItem.chat_id.exists())
        except ConditionFailed:
            return None
        return item.chat()

    def remove(self, user_id: str, chat_id: str) -> None:
        with translated():
            self.tables.chat(user_id, chat_id).delete()


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
