"""What a turn costs as its chat grows: tokens, share of the prefix, time to build, reads.

Chats of 10 to 10,000 messages with a prompt of at most 8,000 tokens. Tokens and shares are means over the
turns of the last 800 messages, and of the whole chat; times are of this machine.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.context import locomo
from bench.context.talks import BUDGET_TOKENS, Turn, limits, played, talk
from bench.dynamo_units import item_bytes, read_units
from bench.report import Figure, Goal, at_least, at_most, percentile, reported
from chatcore.adapters.dynamo.items import MessageItem, SummaryItem
from chatcore.adapters.vocabulary import load_vocabulary
from chatcore.domain.chat import Message
from chatcore.domain.context import build, room_for
from chatcore.domain.context_plan import CountTokens
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.protocol.queue import Job
from gpu_service.worker.delivery import Delivery
from gpu_service.worker.histories import Histories, Known
from gpu_service.worker.prompting import Prompting
from gpu_service.worker.threads import Threads
from local import vocabulary

LENGTHS = (10, 100, 1_000, 10_000)
LAST = 800
"""Messages at the end of a chat, over whose turns its tokens are a mean: some ten compactions."""

MOST_GROWTH = 1.05
LEAST_PREFIX = 0.90
MOST_WARM_MS = {1_000: 10.0, 10_000: 30.0}
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Length:
    """cold_ms: to read the chat's messages into an index, count and build, beside the reads themselves;
    cold_units: of those reads; kept_bytes: what a worker holds of the chat."""

    messages: int
    tokens: float
    prefix_share: float
    recalled: float
    warm_ms: Sequence[float]
    cold_ms: float
    cold_units: float
    warm_reads: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    lengths: Sequence[Length]


def read(folder: Path) -> Sequence[Message]:
    return [
        message
        for conversation in locomo.read(folder / locomo.FILE)
        for message in conversation.messages
    ]


def play(messages: Sequence[Message], full: bool) -> Found:
    count_tokens = load_vocabulary(vocabulary.path(_ROOT))
    lengths = [_length(messages, length, count_tokens, full) for length in LENGTHS]
    return Found(lengths)


def _length(
    messages: Sequence[Message], length: int, count_tokens: CountTokens, full: bool
) -> Length:
    chat = talk(messages, length)
    whole = full or length <= 1_000
    turns = list(played(chat, count_tokens, 0 if whole else length - LAST))
    last = [turn for turn in turns if turn.messages > length - LAST]
    cold_ms, kept_bytes = _cold(chat, count_tokens)
    return Length(
        messages=length,
        tokens=statistics.mean(turn.plan.tokens for turn in last),
        prefix_share=_share(turns),
        recalled=statistics.mean(turn.plan.recalled_tokens for turn in turns),
        warm_ms=[turn.build_ms for turn in turns[1:]],
        cold_ms=cold_ms,
        cold_units=_units(chat),
        warm_reads=asyncio.run(_warm_reads(chat, count_tokens)),
        kept_bytes=kept_bytes,
    )


def _share(turns: Sequence[Turn]) -> float:
    """Of each prompt what began the one before it, as a mean; the chat's first has none before it."""
    return statistics.mean(
        turn.plan.prefix_tokens / turn.plan.tokens for turn in turns if turn.messages > 1
    )


def _cold(chat: Sequence[Message], count_tokens: CountTokens) -> tuple[float, int]:
    *older, newest = chat[:-1]
    summary = Summary("long", "s1", 1, older[-60].seq if len(older) > 60 else 0, "## Facts\n-", 0)
    began_s = time.perf_counter()
    known = Known.of(older, summary if len(older) > 60 else None)
    counted = known.count_turn(count_tokens)
    recall = known.recall(newest.created_ms)
    build(known.history(newest), "", room_for(limits()), count_tokens, counted, recall)
    return (time.perf_counter() - began_s) * 1000, known.all_bytes()


class _Reads:
    """Stores of which every use is counted, and answered by nothing."""

    def __init__(self) -> None:
        self.count = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any store, any method of it
        self.count += 1
        return lambda *args: None


async def _warm_reads(chat: Sequence[Message], count_tokens: CountTokens) -> int:
    """How often a worker that knows the chat looks into a table for the next prompt."""
    *older, newest = chat[:-1]
    reads, histories = _Reads(), Histories()
    histories.put("long", newest.seq - 1, Known.of(older, None))
    stores: Any = reads
    unused: Any = None
    prompting = Prompting(
        stores, Threads(1, "none"), count_tokens, lambda: 0, lambda: DEFAULTS, histories
    )
    job = Job(
        run_id="r",
        chat_id="long",
        user_id="u",
        tier=Tier.PRO,
        message_seq=newest.seq,
        prior_seq=newest.seq - 1,
        offered_ms=1,
    )
    offered = Delivery(job, 1, None, "", 0, unused, unused, text=newest.text)
    gathered = await prompting.gathered(offered, asyncio.Event())
    if len(gathered.known.messages) != len(older):
        raise RuntimeError("the chat was not known")
    return reads.count


def _units(chat: Sequence[Message]) -> float:
    """One query of the messages and one read of the summary, both consistent."""
    read_bytes = sum(item_bytes(MessageItem.of(message).serialize()) for message in chat)
    summary = Summary("long", "s" * 28, 1, 1, "x" * 4_000, 1)
    return read_units(read_bytes) + read_units(item_bytes(SummaryItem.of(summary).serialize()))


def show(console: Console, found: Found) -> None:
    table = Table(
        "messages",
        "tokens a turn",
        "of it prefix",
        "of it recalled",
        "warm p50 ms",
        "p99",
        "reads",
        "cold ms",
        "reads",
        "kept MB",
        title=f"A chat as it grows, prompts of at most {BUDGET_TOKENS:,} tokens",
        title_justify="left",
    )
    for each in found.lengths:
        table.add_row(
            f"{each.messages:,}",
            f"{each.tokens:,.0f}",
            f"{each.prefix_share:.3f}",
            f"{each.recalled:,.0f}",
            f"{percentile(each.warm_ms, 50):.1f}",
            f"{percentile(each.warm_ms, 99):.1f}",
            str(each.warm_reads),
            f"{each.cold_ms:,.0f}",
            f"{each.cold_units:,.0f}",
            f"{each.kept_bytes / 1e6:.2f}",
        )
    console.print(table)


def goals(found: Found) -> Mapping[str, Goal]:
    by = {each.messages: each for each in found.lengths}
    judged: dict[str, Goal] = {
        "tokens_10000_to_1000": at_most(by[10_000].tokens / by[1_000].tokens, MOST_GROWTH),
        "read_units_warm": at_most(max(each.warm_reads for each in found.lengths), 0),
    }
    for length, each in by.items():
        share = each.prefix_share
        long = length >= 1_000
        judged[f"prefix_share_{length}"] = (
            at_least(share, LEAST_PREFIX) if long else reported(share)
        )
        judged[f"tokens_{length}"] = reported(each.tokens)
        judged[f"cold_ms_{length}"] = reported(each.cold_ms)
        judged[f"read_units_cold_{length}"] = reported(each.cold_units)
        p99_ms = percentile(each.warm_ms, 99)
        bound = MOST_WARM_MS.get(length)
        judged[f"warm_p99_ms_{length}"] = (
            reported(p99_ms) if bound is None else at_most(p99_ms, bound)
        )
    return judged


def figures(found: Found) -> Mapping[str, Figure]:
    return {
        "tokens": {
            str(each.messages): {
                "tokens": round(each.tokens, 1),
                "prefix_share": round(each.prefix_share, 4),
                "recalled_tokens": round(each.recalled, 1),
                "warm_p50_ms": round(percentile(each.warm_ms, 50), 2),
                "warm_p99_ms": round(percentile(each.warm_ms, 99), 2),
                "cold_ms": round(each.cold_ms, 1),
                "cold_read_units": each.cold_units,
                "kept_bytes": each.kept_bytes,
            }
            for each in found.lengths
        }
    }
