"""Owns the chats that this worker has just answered: their messages, summaries and indexes, so that the
next prompt of a chat is built without reading anything.

A chat's last place is its version: an entry counts only where no other worker has answered since. What
was not asked for longest goes when there is no room; a deleted chat's too, like everybody's.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from chatcore.domain.chat import Message
from chatcore.domain.context import History, Room, as_turn
from chatcore.domain.context_plan import CountTokens
from chatcore.domain.excerpts import MOST_MISSING, CountTurn, Recall, Recalled
from chatcore.domain.summary import Summary
from gpu_service.recall.index import RecallIndex

MAX_BYTES = 256 * 1024 * 1024
OVERHEAD_BYTES = 600
"""Of a message beside its text, in this interpreter."""
KNOWN_BYTES = 3_000
"""Of a chat beside its messages: an index, even an empty one, has its tables."""
COUNT_BYTES = 120
"""Of a remembered count: an entry of a dictionary, its key and its value."""


@dataclass(slots=True)
class Known:
    """One chat. messages: in reading order; asked_ms: when a compaction was last started from here, 0
    where none was since the chat's present summary; room: of its last prompt. Changed only for the one run
    that the chat has."""

    messages: list[Message] = field(default_factory=list)
    summary: Summary | None = None
    asked_ms: int = 0
    room: Room | None = None
    index: RecallIndex = field(default_factory=RecallIndex)
    size_bytes: int = 0
    _tokens: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, messages: Sequence[Message], summary: Summary | None) -> "Known":
        known = cls(summary=summary)
        known.extend(messages)
        return known

    @property
    def summary_id(self) -> str:
        return "" if self.summary is None else self.summary.summary_id

    def extend(self, messages: Sequence[Message]) -> None:
        self.messages.extend(messages)
        self.size_bytes += sum(map(size_bytes, messages))

    def adopt(self, summary: Summary | None) -> None:
        """The chat has another summary now."""
        self.summary, self.asked_ms = summary, 0

    def history(self, newest: Message) -> History:
        return History([*self.messages, newest], self.summary)

    def count_turn(self, count_tokens: CountTokens) -> CountTurn:
        """Counts each message once."""

        def counted(message: Message) -> int:
            tokens = self._tokens.get(message.seq)
            if tokens is None:
                tokens = self._tokens[message.seq] = count_tokens(as_turn(message))
            return tokens

        return counted

    def recall(self, now_ms: int) -> Recall:
        """Over all messages known by now, read into the index when it is first asked."""

        def recalled(text: str, before_seq: int) -> Recalled:
            self.index.extend(self.messages)
            return self.index.recall(text, before_seq, now_ms, MOST_MISSING)

        return recalled

    def all_bytes(self) -> int:
        summary = 0 if self.summary is None else OVERHEAD_BYTES + text_bytes(self.summary.text)
        counts = COUNT_BYTES * len(self._tokens)
        return KNOWN_BYTES + self.size_bytes + summary + self.index.size_bytes + counts


@dataclass(frozen=True, slots=True)
class _Entry:
    known: Known
    last_seq: int
    size_bytes: int


@dataclass(slots=True)
class Histories:
    max_bytes: int = MAX_BYTES
    used_bytes: int = 0
    _entries: "OrderedDict[str, _Entry]" = field(default_factory=OrderedDict)

    def get(self, chat_id: str, last_seq: int) -> Known | None:
        """The chat up to that place; None where it is not known up to there."""
        entry = self._entries.get(chat_id)
        if entry is None or entry.last_seq != last_seq:
            return None
        self._entries.move_to_end(chat_id)
        return entry.known

    def latest(self, chat_id: str) -> Known | None:
        """The chat as far as it is known here; others may have answered since."""
        entry = self._entries.get(chat_id)
        return None if entry is None else entry.known

    def put(self, chat_id: str, last_seq: int, known: Known) -> None:
        self._remove(chat_id)
        entry = _Entry(known, last_seq, known.all_bytes())
        if entry.size_bytes > self.max_bytes:
            # It would push out all the others, and then itself.
            return
        self._entries[chat_id] = entry
        self.used_bytes += entry.size_bytes
        while self.used_bytes > self.max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, chat_id: str) -> None:
        entry = self._entries.pop(chat_id, None)
        if entry is not None:
            self.used_bytes -= entry.size_bytes


def size_bytes(message: Message) -> int:
    """In memory."""
    return OVERHEAD_BYTES + text_bytes(message.text)


def text_bytes(text: str) -> int:
    """CPython keeps a text in one, two or four bytes a character, by its widest one."""
    widest = max(text, default="")
    width = 1 if widest < "\u0100" else 2 if widest < "\U00010000" else 4
    return width * len(text)
