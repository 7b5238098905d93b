"""Owns the chats that this worker has just answered: their messages, so that the next prompt of a chat is
built without reading anything.

A chat's last place is its version: an entry counts only where no other worker has answered since. What
was not asked for longest goes when there is no room; a deleted chat's too, like everybody's.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from chatcore.domain.chat import Message

MAX_BYTES = 64 * 1024 * 1024
OVERHEAD_BYTES = 600
"""Of a message beside its text, in this interpreter."""


@dataclass(frozen=True, slots=True)
class _Entry:
    last_seq: int
    messages: Sequence[Message]
    size_bytes: int


@dataclass(slots=True)
class Histories:
    max_bytes: int = MAX_BYTES
    used_bytes: int = 0
    _entries: "OrderedDict[str, _Entry]" = field(default_factory=OrderedDict)

    def get(self, chat_id: str, last_seq: int) -> Sequence[Message] | None:
        """In reading order, up to that place of the chat; None where it is not known up to there."""
        entry = self._entries.get(chat_id)
        if entry is None or entry.last_seq != last_seq:
            return None
        self._entries.move_to_end(chat_id)
        return entry.messages

    def put(self, chat_id: str, last_seq: int, messages: Sequence[Message]) -> None:
        self._remove(chat_id)
        entry = _Entry(last_seq, messages, sum(map(size_bytes, messages)))
        self._entries[chat_id] = entry
        self.used_bytes += entry.size_bytes
        while self.used_bytes > self.max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, chat_id: str) -> None:
        entry = self._entries.pop(chat_id, None)
        if entry is not None:
            self.used_bytes -= entry.size_bytes


def size_bytes(message: Message) -> int:
    """In memory: CPython keeps a text in one, two or four bytes a character, by its widest one."""
    widest = max(message.text, default="")
    width = 1 if widest < "\u0100" else 2 if widest < "\U00010000" else 4
    return OVERHEAD_BYTES + width * len(message.text)
