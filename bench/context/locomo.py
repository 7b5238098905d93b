"""LoCoMo (Maharana et al., ACL 2024): long talks of two people over months, and questions on them.

Each talk is read as one chat: its first speaker is the user, the other one the assistant. As in the
data's own prompts, a turn begins with its speaker's name and tells what picture goes with it. A turn is a
minute after the one before it, a session at its own date. The file is not part of the project, so it is
found or explained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.trace import Missing
from chatcore.domain.chat import Message, Role

FILE = "locomo_5.json"
CATEGORIES = {1: "multi-hop", 2: "time", 3: "open domain", 4: "single-hop"}
"""Those with an answer; the fifth asks for what was never said, and names turns all the same."""

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Question:
    """evidence: places in the conversation of the turns that hold the answer; at least one."""

    text: str
    category: int
    evidence: Sequence[int]


@dataclass(frozen=True, slots=True)
class Conversation:
    messages: Sequence[Message]
    questions: Sequence[Question]

    @property
    def now_ms(self) -> int:
        """When it is asked: right after the last turn."""
        return self.messages[-1].created_ms + _MINUTE_MS


def read(path: Path) -> list[Conversation]:
    where = (
        "it has conversations and questions of LoCoMo, https://github.com/snap-research/LoCoMo "
        "(CC BY-NC 4.0); name the folder that it is in by DATA=folder"
    )
    if not path.is_file():
        raise Missing(f"{path} is missing: {where}")
    try:
        return [_conversation(sample) for sample in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Missing(f"{path} is another file ({type(error).__name__}): {where}") from error


def _conversation(sample: Mapping[str, Any]) -> Conversation:
    turns = list(_turns(sample["conversation"]))
    places = {dia_id: place for place, (dia_id, _) in enumerate(turns)}
    questions = []
    for asked in sample["qa"]:
        named = [f"D{session}:{turn}" for session, turn in _evidence(asked.get("evidence", ()))]
        evidence = [places[dia_id] for dia_id in dict.fromkeys(named) if dia_id in places]
        if evidence and asked["category"] in CATEGORIES:
            questions.append(Question(asked["question"], asked["category"], evidence))
    return Conversation([message for _, message in turns], questions)


def _turns(conversation: Mapping[str, Any]) -> Iterator[tuple[str, Message]]:
    seq = 0
    for session in range(1, len(conversation)):
        # Some sessions have a date and no turns.
        turns = conversation.get(f"session_{session}", ())
        if not turns:
            continue
        # Nobody says in which zone.
        dated = f"{conversation[f'session_{session}_date_time']} +0000"
        begin_ms = int(datetime.strptime(dated, "%I:%M %p on %d %B, %Y %z").timestamp() * 1000)
        for minute, turn in enumerate(turns):
            seq += 1
            first = turn["speaker"] == conversation["speaker_a"]
            yield (
                turn["dia_id"],
                Message(
                    chat_id="locomo",
                    seq=seq,
                    message_id=turn["dia_id"],
                    role=Role.USER if first else Role.ASSISTANT,
                    text=_text(turn),
                    run_id="",
                    created_ms=begin_ms + minute * _MINUTE_MS,
                ),
            )


def _text(turn: Mapping[str, Any]) -> str:
    picture = f" [shares {turn['blip_caption']}]" if "blip_caption" in turn else ""
    return f"{turn['speaker']}: {turn['text']}{picture}"


def _evidence(named: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Session and turn; some fields hold two of them, and one a colon too many."""
    for entry in named:
        yield from re.findall(r"D:?(\d+):(\d+)", entry)
