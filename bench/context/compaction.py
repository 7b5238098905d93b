"""A chat through five compactions on the real local stack: does anybody wait for one, is anything forgotten?

One user of the free tier, whose context is the smallest, talks on by a real socket. Facts are told at the
beginning and asked for at the end. A turn counts as *during* when a compaction was under way as it was
sent, as *after* when it is the first with a new summary; the others are what both are compared with. Times
are from the send to the first text, at the client.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import cloud
from bench.report import Figure, Goal, at_least, at_most, percentile, reported
from bench.viewers import Viewer
from chat.client import now_ms
from chatcore.domain.tiers import Tier

COMPACTIONS, COMPACTIONS_FULL = 5, 15
MOST_TURNS_EACH = 16
"""For one compaction: a chat that takes longer is not compacted at all."""

SLOTS = 4
MOST_SLOWER = 1.1

FACTS = (
    ("My sister Ada lives in Lisbon.", "Where does my sister Ada live?", "Lisbon"),
    (
        "The invoice for the harbour project is number 4711.",
        "Which number has the invoice?",
        "4711",
    ),
    ("We decided to launch the harbour project in March.", "When do we launch it?", "March"),
    ("My dog is called Biscuit.", "What is my dog called?", "Biscuit"),
    ("The gate code of the boathouse is 2930.", "What is the gate code?", "2930"),
)
_WORDS = [
    "morning",
    "market",
    "river",
    "tram",
    "bread",
    "window",
    "garden",
    "station",
    "letter",
    "kettle",
    "neighbour",
    "orchard",
    "library",
    "ladder",
    "blanket",
    "violin",
    "harvest",
    "lantern",
    "meadow",
    "pebble",
    "thunder",
    "cellar",
    "feather",
    "basket",
    "ribbon",
    "candle",
    "anchor",
    "saddle",
    "timber",
    "willow",
    "copper",
    "velvet",
    "marble",
    "saffron",
    "juniper",
    "thistle",
]
WORDS_A_TURN = 220


@dataclass(frozen=True, slots=True)
class Turn:
    """version: of the summary in its prompt, 0 without one."""

    ttft_ms: float
    version: int
    asked: bool
    """Whether a compaction was started after it."""


@dataclass(slots=True)
class Found:
    during_ms: list[float] = field(default_factory=list)
    after_ms: list[float] = field(default_factory=list)
    others_ms: list[float] = field(default_factory=list)
    compactions: int = 0
    turns: int = 0
    remembered: int = 0


def read(folder: Path) -> None:
    del folder


def play(nothing: None, full: bool) -> Found:
    del nothing
    console = Console(stderr=True)
    wanted = COMPACTIONS_FULL if full else COMPACTIONS
    with cloud.running_cloud(console, workers=1, slots=SLOTS) as running:
        token = running.id_token(running.add_users(Tier.FREE, 1)[0])
        return asyncio.run(_talk(running, token, wanted))


async def _talk(running: cloud.Cloud, token: str, wanted: int) -> Found:
    rng, turns, chat_id = random.Random(1), list[Turn](), ""
    found = Found()
    async with Viewer(running.stack.endpoints, token) as client:
        for fact, _, _ in FACTS:
            turn, chat_id, _ = await _ask(running, client, fact, chat_id)
            turns.append(turn)
        while turns[-1].version < wanted and len(turns) < MOST_TURNS_EACH * wanted:
            turn, chat_id, _ = await _ask(running, client, _prose(rng), chat_id)
            turns.append(turn)
        for _, question, answer in FACTS:
            _, _, text = await _ask(running, client, question, chat_id)
            found.remembered += answer in text
    _sort(turns, found)
    return found


async def _ask(
    running: cloud.Cloud, client: Viewer, text: str, chat_id: str
) -> tuple[Turn, str, str]:
    sent_ms = now_ms()
    seen = client.ask(text, chat_id or None)
    await seen.until_over()
    lines = [line for line in running.worker_log() if line.get("run_id") == seen.run_id]
    context = next(line["context"] for line in lines if line["message"] == "run.first_token")
    summary = context["summary"]
    asked = any(line["message"] == "compaction.asked" for line in lines)
    version = summary["version"] if summary else 0
    return Turn(seen.first_text_ms - sent_ms, version, asked), seen.chat_id, seen.text


def _prose(rng: random.Random) -> str:
    words = rng.choices(_WORDS, k=WORDS_A_TURN)
    sentences = [" ".join(words[at : at + 10]) for at in range(0, len(words), 10)]
    return ". ".join(f"I saw the {sentence}" for sentence in sentences) + "."


def _sort(turns: Sequence[Turn], found: Found) -> None:
    under_way, version = False, 0
    # The first one opens connections that the others find open.
    for turn in turns[1:]:
        if turn.version > version:
            version, under_way = turn.version, False
            found.after_ms.append(turn.ttft_ms)
        elif under_way:
            found.during_ms.append(turn.ttft_ms)
        else:
            found.others_ms.append(turn.ttft_ms)
        under_way = under_way or turn.asked
    found.compactions, found.turns = version, len(turns)


def show(console: Console, found: Found) -> None:
    table = Table(
        "turns",
        "number",
        "TTFT p50 ms",
        "greatest",
        "p50 to others",
        title=f"{found.compactions} compactions in {found.turns} turns",
        title_justify="left",
    )
    others_ms = percentile(found.others_ms, 50)
    for name, times_ms in (
        ("during a compaction", found.during_ms),
        ("after one", found.after_ms),
        ("others", found.others_ms),
    ):
        p50_ms = percentile(times_ms, 50)
        table.add_row(
            name,
            str(len(times_ms)),
            f"{p50_ms:,.0f}",
            f"{max(times_ms):,.0f}",
            f"{p50_ms / others_ms:.2f}",
        )
    console.print(table)


def goals(found: Found) -> Mapping[str, Goal]:
    others_ms = percentile(found.others_ms, 50)
    return {
        "compactions": at_least(found.compactions, COMPACTIONS),
        "facts_remembered": at_least(found.remembered, len(FACTS)),
        "ttft_during_to_others": at_most(percentile(found.during_ms, 50) / others_ms, MOST_SLOWER),
        "ttft_after_to_others": at_most(percentile(found.after_ms, 50) / others_ms, MOST_SLOWER),
        "ttft_others_p50_ms": reported(others_ms),
    }


def figures(found: Found) -> Mapping[str, Figure]:
    return {
        "compaction": {
            "turns": found.turns,
            "during_ms": [round(each, 1) for each in found.during_ms],
            "after_ms": [round(each, 1) for each in found.after_ms],
            "others_ms": [round(each, 1) for each in found.others_ms],
        }
    }
