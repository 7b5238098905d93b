"""Owns what the tables hold, in memory, under one lock."""

import threading
from dataclasses import dataclass, field

from chatcore.domain.beat import Beat
from chatcore.domain.calendar import Calendar
from chatcore.domain.chat import Chat, Message
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Run
from chatcore.domain.stream import Checkpoint
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import Tier
from chatcore.domain.usage import DayUsage
from chatcore.ports import Ticket


@dataclass(slots=True)
class MemoryDatabase:
    """What the tables hold. gone_run_ids: of the runs that were removed."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    chats: dict[tuple[str, str], Chat] = field(default_factory=dict)
    messages: dict[tuple[str, int], Message] = field(default_factory=dict)
    summaries: dict[tuple[str, str], Summary] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    checkpoints: dict[tuple[str, int, int], Checkpoint] = field(default_factory=dict)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    usage: dict[tuple[str, str], DayUsage] = field(default_factory=dict)
    tickets: dict[str, Ticket] = field(default_factory=dict)
    calendars: dict[Tier, Calendar] = field(default_factory=dict)
    beats: dict[str, Beat] = field(default_factory=dict)
    gone_run_ids: set[str] = field(default_factory=set)

    def is_closed(self, user_id: str) -> bool:
        """Under the lock."""
        ledger = self.ledgers.get(user_id)
        return ledger is not None and ledger.is_closed
