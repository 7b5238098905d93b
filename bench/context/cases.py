"""A few chats of our own and questions on them: facts told just now, long ago, changed, or never.

A case names the message that it wants by words that only this one has, and one that is outdated likewise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench.context.baselines import taken
from chatcore.domain.chat import Message, Role

FILE = Path(__file__).with_name("cases.json")
BUDGET_TOKENS = 512
TOKENS_A_WORD = 1.3
CHARS_A_TOKEN = 3
"""Of text that has few spaces."""


class Kind(StrEnum):
    RECENT = "recent"
    CHANGED = "changed"
    LONG_AGO = "long ago"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Case:
    """told: place of the wanted message, none where it was never told; outdated: of what it changes."""

    chat: str
    kind: Kind
    query: str
    told: int | None
    outdated: int | None

    def right(self, recalled: Sequence[int], tokens: Sequence[float]) -> bool:
        """recalled: places, best first; tokens: of each place."""
        if self.told is None:
            return not recalled
        within = taken(recalled, tokens, BUDGET_TOKENS)
        if self.told not in within:
            return False
        if self.outdated is None or self.outdated not in within:
            return True
        return within.index(self.told) < within.index(self.outdated)


def read(path: Path = FILE) -> tuple[Mapping[str, Sequence[Message]], Sequence[Case]]:
    """Chats by name, whose seq is the place and one more, and the cases."""
    given = json.loads(path.read_text(encoding="utf-8"))
    chats = {name: _messages(name, sittings) for name, sittings in given["chats"].items()}
    cases = [
        Case(
            chat=case["chat"],
            kind=Kind(case["kind"]),
            query=case["query"],
            told=_place(chats[case["chat"]], case.get("told")),
            outdated=_place(chats[case["chat"]], case.get("outdated")),
        )
        for case in given["cases"]
    ]
    return chats, cases


def tokens_of(text: str) -> float:
    """About what it costs in a prompt, whatever its script."""
    return max(len(text.split()) * TOKENS_A_WORD, len(text.encode()) / CHARS_A_TOKEN / 2)


def _messages(chat_id: str, sittings: Sequence[Mapping[str, Any]]) -> list[Message]:
    messages: list[Message] = []
    for sitting in sittings:
        noon = datetime.fromisoformat(sitting["date"]).replace(hour=12, tzinfo=UTC)
        for minute, text in enumerate(sitting["turns"]):
            messages.append(
                Message(
                    chat_id=chat_id,
                    seq=len(messages) + 1,
                    message_id=f"m_{len(messages) + 1}",
                    role=Role.ASSISTANT if minute % 2 else Role.USER,
                    text=text,
                    run_id="",
                    created_ms=int(noon.timestamp() * 1000) + minute * 60_000,
                )
            )
    return messages


def _place(messages: Sequence[Message], words: str | None) -> int | None:
    if words is None:
        return None
    (place,) = (place for place, message in enumerate(messages) if words in message.text)
    return place
