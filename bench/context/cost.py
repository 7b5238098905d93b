"""What a chat of 1,000 turns costs in input tokens: ours, everything each time, a sliding window.

The uncached part is what an engine reads that has the last prompt of the chat in its prefix cache. What
summaries take, in and out, is counted in ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.context import tokens
from bench.context.talks import BUDGET_TOKENS, played, talk
from bench.report import Figure, Goal, reported
from chatcore.adapters.vocabulary import load_vocabulary
from chatcore.domain.chat import Message
from chatcore.domain.context import SYSTEM_PROMPT, as_turn
from chatcore.domain.context_plan import CountTokens
from chatcore.domain.markup import ASSISTANT, SYSTEM, opening, turn
from local import vocabulary

TURNS = 1_000
OURS, EVERYTHING, WINDOW = "ours", "everything each time", "sliding window"
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Total:
    """Input tokens over all turns; background: of them, and of output, what summaries took."""

    input_tokens: int
    uncached_tokens: int
    background: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    totals: Mapping[str, Total]


def read(folder: Path) -> Sequence[Message]:
    return tokens.read(folder)


def play(messages: Sequence[Message], full: bool) -> Found:
    del full
    count_tokens = load_vocabulary(vocabulary.path(_ROOT))
    chat = talk(messages, 2 * TURNS)
    return Found(
        {
            OURS: _ours(chat, count_tokens),
            EVERYTHING: _everything(chat, count_tokens),
            WINDOW: _window(chat, count_tokens),
        }
    )


def _ours(chat: Sequence[Message], count_tokens: CountTokens) -> Total:
    turns = list(played(chat, count_tokens))
    background = sum(each.compacted for each in turns)
    return Total(
        sum(each.plan.tokens for each in turns) + background,
        sum(each.plan.tokens - each.plan.prefix_tokens for each in turns) + background,
        background,
    )


def _everything(chat: Sequence[Message], count_tokens: CountTokens) -> Total:
    """All messages so far; each prompt begins with the whole of the last one up to its answer."""
    frame = _frame(count_tokens)
    total = uncached = held = 0
    for place, message in enumerate(chat):
        held += count_tokens(as_turn(message))
        if place % 2 == 0:
            total += frame + held
    uncached = _frame(count_tokens) * TURNS + held
    return Total(total, uncached)


def _window(chat: Sequence[Message], count_tokens: CountTokens) -> Total:
    """The newest messages that fit. Once it is full it begins elsewhere each time, and nothing behind the
    system prompt is a prefix of the last one."""
    frame, sizes = _frame(count_tokens), [count_tokens(as_turn(message)) for message in chat]
    total = uncached = 0
    first, known, full = 0, 0, False
    for place in range(0, len(chat), 2):
        while frame + sum(sizes[first : place + 1]) > BUDGET_TOKENS:
            first, full = first + 1, True
        held = sum(sizes[first : place + 1])
        total += frame + held
        uncached += frame + held if full else frame + held - known
        known = held
    return Total(total, uncached)


def _frame(count_tokens: CountTokens) -> int:
    return count_tokens(turn(SYSTEM, SYSTEM_PROMPT)) + count_tokens(opening(ASSISTANT))


def show(console: Console, found: Found) -> None:
    table = Table(
        "policy",
        "input tokens",
        "uncached",
        "of it summaries",
        "input to ours",
        "uncached to ours",
        title=f"A chat of {TURNS:,} turns",
        title_justify="left",
    )
    ours = found.totals[OURS]
    for name, total in found.totals.items():
        table.add_row(
            name,
            f"{total.input_tokens:,}",
            f"{total.uncached_tokens:,}",
            f"{total.background:,}",
            f"{total.input_tokens / ours.input_tokens:.2f}",
            f"{total.uncached_tokens / ours.uncached_tokens:.2f}",
        )
    console.print(table)


def goals(found: Found) -> Mapping[str, Goal]:
    ours = found.totals[OURS]
    judged: dict[str, Goal] = {
        "input_tokens": reported(ours.input_tokens),
        "uncached_tokens": reported(ours.uncached_tokens),
    }
    for name, label in ((EVERYTHING, "everything"), (WINDOW, "window")):
        total = found.totals[name]
        judged[f"input_{label}_to_ours"] = reported(total.input_tokens / ours.input_tokens)
        judged[f"uncached_{label}_to_ours"] = reported(total.uncached_tokens / ours.uncached_tokens)
    return judged


def figures(found: Found) -> Mapping[str, Figure]:
    return {
        "cost": {
            name: {
                "input_tokens": total.input_tokens,
                "uncached_tokens": total.uncached_tokens,
                "background_tokens": total.background,
            }
            for name, total in found.totals.items()
        }
    }
