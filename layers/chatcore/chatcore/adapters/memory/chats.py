"""Owns chats and their summaries in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.domain.chat import STALE_COMPACTION_MS, Chat, with_watcher
from chatcore.domain.run import Run
from chatcore.domain.summary import Summary
from chatcore.ports import Page


@dataclass(frozen=True, slots=True)
class MemoryChats:
    database: MemoryDatabase

    def create(self, chat: Chat) -> bool:
        with self.database.lock:
            if self.database.is_closed(chat.user_id):
                return False
            self._store(chat)
            return True

    def get(self, user_id: str, chat_id: str) -> Chat | None:
        with self.database.lock:
            return self.database.chats.get((user_id, chat_id))

    def newest(self, user_id: str, limit: int, after: tuple[int, str] | None) -> Page[Chat]:
        with self.database.lock:
            mine = [chat for (owner, _), chat in self.database.chats.items() if owner == user_id]
        keyed = sorted(((chat.last_active_ms, chat.chat_id), chat) for chat in mine)
        items = [
            chat
            for key, chat in reversed(keyed)
            if chat.deleted_ms is None and (after is None or key < after)
        ]
        page = items[:limit]
        more = len(items) > limit
        return Page(page, (page[-1].last_active_ms, page[-1].chat_id) if more else None)

    def all(self, user_id: str, limit: int, after_chat_id: str) -> Sequence[Chat]:
        with self.database.lock:
            mine = sorted(
                (chat_id, chat)
                for (owner, chat_id), chat in self.database.chats.items()
                if owner == user_id and chat_id > after_chat_id
            )
        return [chat for _, chat in mine[:limit]]

    def rename(self, user_id: str, chat_id: str, title: str) -> Chat | None:
        with self.database.lock:
            chat = self._visible(user_id, chat_id)
            if chat is None:
                return None
            renamed = replace(chat, title=title)
            self._store(renamed)
            return renamed

    def entitle(self, user_id: str, chat_id: str, title: str) -> bool:
        with self.database.lock:
            chat = self._visible(user_id, chat_id)
            if chat is None or chat.title is not None:
                return False
            self._store(replace(chat, title=title))
            return True

    def watch(self, user_id: str, chat_id: str, connection_id: str) -> bool:
        with self.database.lock:
            chat = self._visible(user_id, chat_id)
            if chat is None:
                return False
            self._store(replace(chat, watchers=with_watcher(chat.watchers, connection_id)))
            return True

    def begin_compaction(self, run: Run, now_ms: int) -> bool:
        with self.database.lock:
            chat = self._visible(run.user_id, run.chat_id)
            if chat is not None and chat.compacting == run.run_id:
                return True
            under_way = (
                chat and chat.compacting and chat.compacting_ms >= now_ms - STALE_COMPACTION_MS
            )
            if (
                chat is None
                or under_way
                or chat.summary_id != run.summary_id
                or run.run_id in self.database.runs
                or run.run_id in self.database.gone_run_ids
            ):
                return False
            self.database.runs[run.run_id] = run
            self._store(replace(chat, compacting=run.run_id, compacting_ms=now_ms))
            return True

    def commit_summary(self, run: Run) -> bool:
        with self.database.lock:
            chat = self._visible(run.user_id, run.chat_id)
            if chat is None:
                return False
            if chat.compacting == run.run_id and chat.summary_id == run.summary_id:
                chat = replace(chat, summary_id=run.run_id, compacting="", compacting_ms=0)
                self._store(chat)
            return chat.summary_id == run.run_id

    def end_compaction(self, user_id: str, chat_id: str, run_id: str) -> None:
        with self.database.lock:
            chat = self.get(user_id, chat_id)
            if chat is not None and chat.compacting == run_id:
                self._store(replace(chat, compacting="", compacting_ms=0))

    def mark_deleted(self, user_id: str, chat_id: str, now_ms: int) -> Chat | None:
        with self.database.lock:
            chat = self.get(user_id, chat_id)
            if chat is None:
                return None
            marked = replace(chat, deleted_ms=chat.deleted_ms or now_ms)
            self._store(marked)
            return marked

    def remove(self, user_id: str, chat_id: str) -> None:
        with self.database.lock:
            self.database.chats.pop((user_id, chat_id), None)

    def _store(self, chat: Chat) -> None:
        self.database.chats[chat.user_id, chat.chat_id] = chat

    def _visible(self, user_id: str, chat_id: str) -> Chat | None:
        chat = self.get(user_id, chat_id)
        return None if chat is None or chat.deleted_ms is not None else chat


@dataclass(frozen=True, slots=True)
class MemorySummaries:
    database: MemoryDatabase

    def put(self, summary: Summary) -> None:
        with self.database.lock:
            self.database.summaries[summary.chat_id, summary.summary_id] = summary

    def get(self, chat_id: str, summary_id: str) -> Summary | None:
        with self.database.lock:
            return self.database.summaries.get((chat_id, summary_id))

    def all(self, chat_id: str) -> Sequence[Summary]:
        with self.database.lock:
            return [each for key, each in self.database.summaries.items() if key[0] == chat_id]

    def remove(self, chat_id: str, kept_id: str | None = None) -> None:
        with self.database.lock:
            for key in list(self.database.summaries):
                if key[0] == chat_id and key[1] != kept_id:
                    del self.database.summaries[key]
