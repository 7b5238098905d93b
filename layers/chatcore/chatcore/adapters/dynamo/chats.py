"""Owns chats and their summaries on DynamoDB: what is known of a chat is one item, changed by conditional
writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pynamodb.exceptions import DoesNotExist
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from chatcore.adapters.dynamo.faults import ConditionFailed, translated
from chatcore.adapters.dynamo.items import HOUR_MS, ChatItem, LedgerItem, RunItem, hour_of
from chatcore.adapters.dynamo.tables import Tables
from chatcore.domain.chat import STALE_COMPACTION_MS, Chat, with_watcher
from chatcore.domain.run import Run
from chatcore.domain.summary import Summary
from chatcore.ports import Page


@dataclass(frozen=True, slots=True)
class DynamoChats:
    tables: Tables

    def create(self, chat: Chat) -> bool:
        try:
            with translated(), TransactWrite(connection=self.tables.connection) as write:
                # With the chat, not before it: the account might be closed, and purged, in between.
                write.condition_check(
                    self.tables.ledger,
                    chat.user_id,
                    condition=LedgerItem.closed_ms.does_not_exist(),
                )
                write.save(self.tables.chat.of(chat))
        except ConditionFailed:
            return False
        return True

    def get(self, user_id: str, chat_id: str) -> Chat | None:
        try:
            with translated():
                return self.tables.chat.get(user_id, chat_id, consistent_read=True).chat()
        except DoesNotExist:
            return None

    def newest(self, user_id: str, limit: int, after: tuple[int, str] | None) -> Page[Chat]:
        #   hour  9            8                    7
        #         c3 c1 c2 ──▶ c7 c5 c6 (page full) c4 ──▶ stop
        # The index knows hours alone: of the hour in which the page ends all is read, and then sorted.
        not_later = None if after is None else ChatItem.last_active_ms < hour_of(after[0]) + HOUR_MS
        chats: list[Chat] = []
        with translated():
            found = self.tables.chat.query(
                user_id,
                range_key_condition=not_later,
                filter_condition=ChatItem.deleted_ms.does_not_exist(),
                consistent_read=True,
                index_name="by_activity",
                scan_index_forward=False,
                page_size=limit + 1,
            )
            for item in found:
                chat = item.chat()
                if len(chats) > limit and item.last_active_ms < hour_of(chats[-1].last_active_ms):
                    break
                if after is None or (chat.last_active_ms, chat.chat_id) < after:
                    chats.append(chat)
        chats.sort(key=lambda chat: (chat.last_active_ms, chat.chat_id), reverse=True)
        page = chats[:limit]
        more = len(chats) > limit
        return Page(page, (page[-1].last_active_ms, page[-1].chat_id) if more else None)

    def all(self, user_id: str, limit: int, after_chat_id: str) -> Sequence[Chat]:
        behind = ChatItem.chat_id > after_chat_id if after_chat_id else None
        with translated():
            found = self.tables.chat.query(
                user_id, range_key_condition=behind, consistent_read=True, limit=limit
            )
            return [item.chat() for item in found]

    def rename(self, user_id: str, chat_id: str, title: str) -> Chat | None:
        item = self.tables.chat(user_id, chat_id)
        try:
            with translated():
                item.update([ChatItem.title.set(title)], condition=_visible())
        except ConditionFailed:
            return None
        return item.chat()

    def entitle(self, user_id: str, chat_id: str, title: str) -> bool:
        untitled = _visible() & ChatItem.title.does_not_exist()
        return self._update(user_id, chat_id, [ChatItem.title.set(title)], untitled)

    def watch(self, user_id: str, chat_id: str, connection_id: str) -> bool:
        item = self.tables.chat(user_id, chat_id)
        try:
            with translated():
                item.update([ChatItem.watchers.add({connection_id})], condition=_visible())
        except ConditionFailed:
            return False
        noted = frozenset(item.watchers or ())
        kept = with_watcher(noted - {connection_id}, connection_id)
        if kept != noted:
            # Of two at once that find too many, the later one's is left: the other looks again.
            self._update(user_id, chat_id, [ChatItem.watchers.set(set(kept))], _visible())
        return True

    def begin_compaction(self, run: Run, now_ms: int) -> bool:
        stale: Condition = ChatItem.compacting.does_not_exist() | (
            ChatItem.compacting_ms < now_ms - STALE_COMPACTION_MS
        )
        try:
            with translated(), TransactWrite(connection=self.tables.connection) as write:
                write.save(self.tables.run.of(run), condition=RunItem.run_id.does_not_exist())
                write.update(
                    self.tables.chat(run.user_id, run.chat_id),
                    actions=[
                        ChatItem.compacting.set(run.run_id),
                        ChatItem.compacting_ms.set(now_ms),
                    ],
                    condition=_visible() & _has_summary(run.summary_id) & stale,
                )
        except ConditionFailed:
            chat = self._seen(run)
            return chat is not None and chat.compacting == run.run_id
        return True

    def commit_summary(self, run: Run) -> bool:
        #   run A   begin ─────────────────── (stale) ────────── commit: chat is at B: no
        #   run B                              begin ── commit: chat at B, former summary still its own
        mine = (ChatItem.compacting == run.run_id) & _has_summary(run.summary_id)
        actions: list[Action] = [
            ChatItem.summary_id.set(run.run_id),
            ChatItem.compacting.remove(),
            ChatItem.compacting_ms.remove(),
        ]
        if self._update(run.user_id, run.chat_id, actions, _visible() & mine):
            return True
        chat = self._seen(run)
        return chat is not None and chat.summary_id == run.run_id

    def end_compaction(self, user_id: str, chat_id: str, run_id: str) -> None:
        actions: list[Action] = [ChatItem.compacting.remove(), ChatItem.compacting_ms.remove()]
        mine: Condition = ChatItem.compacting == run_id
        self._update(user_id, chat_id, actions, mine)

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

    def _seen(self, run: Run) -> Chat | None:
        """The run's chat, as users see it."""
        chat = self.get(run.user_id, run.chat_id)
        return None if chat is None or chat.deleted_ms is not None else chat

    def _update(
        self, user_id: str, chat_id: str, actions: list[Action], condition: Condition
    ) -> bool:
        try:
            with translated():
                self.tables.chat(user_id, chat_id).update(actions, condition=condition)
        except ConditionFailed:
            return False
        return True


@dataclass(frozen=True, slots=True)
class DynamoSummaries:
    tables: Tables

    def put(self, summary: Summary) -> None:
        with translated():
            self.tables.summary.of(summary).save()

    def get(self, chat_id: str, summary_id: str) -> Summary | None:
        try:
            with translated():
                return self.tables.summary.get(chat_id, summary_id, consistent_read=True).summary()
        except DoesNotExist:
            return None

    def all(self, chat_id: str) -> Sequence[Summary]:
        with translated():
            found = self.tables.summary.query(chat_id, consistent_read=True)
            return [item.summary() for item in found]

    def remove(self, chat_id: str, kept_id: str | None = None) -> None:
        with translated():
            found = list(self.tables.summary.query(chat_id, consistent_read=True))
            for item in found:
                if item.summary_id != kept_id:
                    item.delete()


def _visible() -> Condition:
    there: Condition = ChatItem.chat_id.exists() & ChatItem.deleted_ms.does_not_exist()
    return there


def _has_summary(summary_id: str) -> Condition:
    if summary_id:
        return cast(Condition, ChatItem.summary_id == summary_id)
    return cast(Condition, ChatItem.summary_id.does_not_exist())
