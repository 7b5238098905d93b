"""Whether what was told long ago comes back: the product's own index, on LoCoMo and on cases of ours.

No model is asked: a question counts by the share of its evidence turns that are inside the budget.
Tokens are words x 1.3. Beside it the rankings anybody would write first, at the same budgets, and what the
index costs in a chat of 10,000 messages.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.context import cases, locomo
from bench.context.baselines import Bm25, half_recent, most_recent, taken, with_neighbours
from bench.context.cases import TOKENS_A_WORD, Case, Kind
from bench.context.locomo import CATEGORIES, Conversation, Question
from bench.report import Figure, Goal, at_least, at_most, percentile
from chatcore.domain.chat import Message
from chatcore.domain.excerpts import room_by
from gpu_service.recall.index import RecallIndex

LEAST = {512: 0.77, 1_024: 0.83, 2_048: 0.88, 4_096: 0.92}
"""By budget: the share of the evidence that must be inside."""

LEAST_OF_CASES = {Kind.RECENT: 0.9, Kind.CHANGED: 0.9, Kind.LONG_AGO: 0.9, Kind.NEVER: 1.0}
BUDGETS = tuple(LEAST)
BUDGETS_FULL = (*BUDGETS, 8_192)

RECENT, HALF = "most recent turns", "half recent, half BM25"
BM25, NEIGHBOURS = "BM25 turns", "BM25, each with its neighbours"
OURS = "recall (ours)"
PROMPT = "  ours, as a prompt gives it room"
"""Less than all where much of what is asked is not found in one place (see `excerpts.room_by`)."""

POLICIES = (RECENT, HALF, BM25, NEIGHBOURS, OURS, PROMPT)

LONG_CHAT = 10_000
MOST_RECALL_MS = 10.0
TIMED = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the index of a chat with LONG_CHAT messages."""

    build_s: float
    size_mb: float
    recall_p50_ms: float
    recall_p99_ms: float


@dataclass(frozen=True, slots=True)
class Found:
    """shares: of the evidence that is inside, means over questions, by policy and budget; by_category: ours,
    by category and budget; right: of the cases of our own."""

    budgets: Sequence[int]
    shares: Mapping[tuple[str, int], float]
    by_category: Mapping[tuple[int, int], float]
    questions: int
    right: Mapping[Kind, Sequence[bool]]
    wrong: Sequence[Case]
    cost: Cost


def read(folder: Path) -> list[Conversation]:
    return locomo.read(folder / locomo.FILE)


def play(conversations: Sequence[Conversation], full: bool) -> Found:
    budgets = BUDGETS_FULL if full else BUDGETS
    inside: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    by_category: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for conversation in conversations:
        for question, rankings in _asked(conversation, budgets):
            for key, share in rankings.items():
                inside[key].append(share)
                if key[0] == OURS:
                    by_category[question.category, key[1]].append(share)
    right, wrong = judged(*cases.read())
    return Found(
        budgets,
        {key: statistics.fmean(shares) for key, shares in inside.items()},
        {key: statistics.fmean(shares) for key, shares in by_category.items()},
        len(inside[OURS, budgets[0]]),
        *(right, wrong),
        cost(conversations),
    )


def _asked(
    conversation: Conversation, budgets: Sequence[int]
) -> list[tuple[Question, Mapping[tuple[str, int], float]]]:
    """Of each question, the share of its evidence that is inside, by policy and budget."""
    texts = [message.text for message in conversation.messages]
    tokens = [len(text.split()) * TOKENS_A_WORD for text in texts]
    bm25, index, now_ms = Bm25(texts), RecallIndex(), conversation.now_ms
    index.extend(conversation.messages)
    found: list[tuple[Question, Mapping[tuple[str, int], float]]] = []
    for question in conversation.questions:
        ranked = bm25.ranked(question.text)
        recalled = index.recall(question.text, now_ms, now_ms)
        rankings = {
            RECENT: most_recent(len(texts)),
            BM25: ranked,
            NEIGHBOURS: with_neighbours(ranked, len(texts)),
            OURS: [message.seq - 1 for message in recalled.messages],
        }
        shares: dict[tuple[str, int], float] = {}
        for budget in budgets:
            rankings[HALF] = half_recent(ranked, tokens, budget)
            rankings[PROMPT] = taken(rankings[OURS], tokens, room_by(recalled.missing, budget))
            for policy, places in rankings.items():
                within = set(taken(places, tokens, budget))
                hit = sum(place in within for place in question.evidence)
                shares[policy, budget] = hit / len(question.evidence)
        found.append((question, shares))
    return found


def judged(
    chats: Mapping[str, Sequence[Message]], asked: Sequence[Case]
) -> tuple[dict[Kind, list[bool]], list[Case]]:
    """By kind, whether each case is right; and those that are not."""
    indexes = {name: RecallIndex() for name in chats}
    tokens = {
        name: [cases.tokens_of(message.text) for message in chat] for name, chat in chats.items()
    }
    for name, chat in chats.items():
        indexes[name].extend(chat)
    right: dict[Kind, list[bool]] = {kind: [] for kind in Kind}
    wrong = []
    for case in asked:
        last = chats[case.chat][-1]
        recalled = indexes[case.chat].recall(case.query, last.seq + 1, last.created_ms).messages
        is_right = case.right([message.seq - 1 for message in recalled], tokens[case.chat])
        right[case.kind].append(is_right)
        if not is_right:
            wrong.append(case)
    return right, wrong


def cost(conversations: Sequence[Conversation]) -> Cost:
    """Of one chat in which all the conversations are told, again and again."""
    told = [message for conversation in conversations for message in conversation.messages]
    questions = [q.text for conversation in conversations for q in conversation.questions]
    chat = [replace(told[n % len(told)], seq=n + 1) for n in range(LONG_CHAT)]
    index, begin = RecallIndex(), time.perf_counter()
    index.extend(chat)
    build_s = time.perf_counter() - begin
    took_ms = []
    for number in range(TIMED):
        begin = time.perf_counter()
        index.recall(questions[number % len(questions)], LONG_CHAT + 1, chat[-1].created_ms)
        took_ms.append((time.perf_counter() - begin) * 1000)
    return Cost(
        *(build_s, index.size_bytes / 1e6),
        *(percentile(took_ms, 50), percentile(took_ms, 99)),
    )


def show(console: Console, found: Found) -> None:
    table = Table(
        "tokens",
        *(f"{budget:,}" for budget in found.budgets),
        title=f"recall: share of the evidence inside, {found.questions} questions of LoCoMo",
        title_justify="left",
    )
    for policy in POLICIES:
        table.add_row(policy, *(f"{found.shares[policy, b]:.3f}" for b in found.budgets))
    table.add_section()
    for category, name in CATEGORIES.items():
        if (category, found.budgets[0]) in found.by_category:
            row = (f"{found.by_category[category, b]:.3f}" for b in found.budgets)
            table.add_row(f"  ours, {name}", *row)
    console.print(table)
    kinds = Table("facts", "cases", "right", title="recall: cases of our own", title_justify="left")
    for kind, right in found.right.items():
        kinds.add_row(kind, str(len(right)), str(sum(right)))
    console.print(kinds)
    for case in found.wrong:
        console.print(f"wrong: {case.kind}, {case.chat}: {case.query}", markup=False)
    console.print(
        f"an index of {LONG_CHAT:,} messages: built in {found.cost.build_s:.2f} s, "
        f"{found.cost.size_mb:.1f} MB; recall {found.cost.recall_p50_ms:.1f} ms (p50), "
        f"{found.cost.recall_p99_ms:.1f} ms (p99)"
    )


def goals(found: Found) -> dict[str, Goal]:
    of_evidence = {
        f"recall_{budget}": at_least(found.shares[OURS, budget], least)
        for budget, least in LEAST.items()
    }
    of_cases = {
        f"recall_cases_{kind.replace(' ', '_')}": at_least(statistics.fmean(right), least)
        for kind, least in LEAST_OF_CASES.items()
        if (right := found.right[kind])
    }
    return {
        **of_evidence,
        **of_cases,
        "recall_10000_p99_ms": at_most(found.cost.recall_p99_ms, MOST_RECALL_MS),
    }


def figures(found: Found) -> dict[str, Figure]:
    return {
        "recall": {
            policy: {str(b): round(found.shares[policy, b], 4) for b in found.budgets}
            for policy in POLICIES
        },
        "recall_by_category": {
            name: {
                str(b): round(found.by_category[category, b], 4)
                for b in found.budgets
                if (category, b) in found.by_category
            }
            for category, name in CATEGORIES.items()
        },
        "recall_cases_wrong": [case.query for case in found.wrong],
        "recall_index": {
            "messages": LONG_CHAT,
            "build_s": round(found.cost.build_s, 3),
            "size_mb": round(found.cost.size_mb, 2),
            "recall_p50_ms": round(found.cost.recall_p50_ms, 2),
            "recall_p99_ms": round(found.cost.recall_p99_ms, 2),
        },
    }
