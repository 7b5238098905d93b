"""A reconnect storm: many of the page's own protocol clients, each on an answer in the making, cut at once.

The clients run in Node (web/bench/storm.ts) behind a relay that drops all connections without a good-bye
and refuses new ones for a second. A client is whole again when it has text that it had not before the cut;
at the end, what each has rendered must be what is stored, character for character.

The emulator starts a process for each Lambda invocation that finds none idle, all on this machine's cores.
So only a few may run at once here: what comes beyond that is refused, as AWS does at an account's
concurrency limit, and the clients have to try again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from bench import cloud, node
from bench.report import Figure, Goal, at_least, percentile, reported
from chatcore.domain.tiers import Tier

CLIENTS = 200
RUNS = 20
FULL_RUNS = 40
"""With half as many viewers each: it is always 200 clients."""

LAMBDAS_AT_ONCE = 8
DECODE_PERIOD_MS = 700
"""So slow that the emulator's core can carry the posts to all, and answers go on long after the storm."""

LAST = 60
SEEN_BEFORE = 40
AWAY_MS = 1_000
PATIENCE_MS = 150_000


@dataclass(frozen=True)
class Outcome:
    """Of one client. Times are ms from the cut, None for what never happened. is_whole: it came back, saw
    the end, and its text is the stored one."""

    attempts: int
    open_ms: float | None
    whole_ms: float | None
    is_whole: bool


def play(console: Console, *, full: bool) -> list[Outcome]:
    runs = FULL_RUNS if full else RUNS
    with cloud.running_cloud(
        console,
        workers=1,
        slots=runs,
        engine_settings={"DEMO_DECODE_PERIOD_MS": str(DECODE_PERIOD_MS)},
        aws_settings={"LAMBDA_ACCOUNT_CONCURRENCY": str(LAMBDAS_AT_ONCE)},
    ) as running:
        endpoints = running.stack.endpoints
        tokens = [running.id_token(user) for user in running.add_users(Tier.PRO, runs)]
        seen = node.run(
            "storm",
            {
                "http_url": endpoints.http_url,
                "ws_url": endpoints.ws_url,
                "id_tokens": tokens,
                "viewers_per_run": CLIENTS // runs,
                "prompt": f"Please count to {LAST}.",
                "seen_before": SEEN_BEFORE,
                "away_ms": AWAY_MS,
                "patience_ms": PATIENCE_MS,
            },
        )
        stored = {
            user: _stored_answer(endpoints.http_url, tokens[user], chat_id)
            for user, chat_id in {client["user"]: client["chat_id"] for client in seen}.items()
        }
    return [judged(client, stored[client["user"]]) for client in seen]


def judged(client: Mapping[str, Any], stored: str) -> Outcome:
    return Outcome(
        attempts=client["attempts"],
        open_ms=client["open_ms"],
        whole_ms=client["whole_ms"],
        is_whole=client["whole_ms"] is not None
        and client["status"] == "completed"
        and client["text"] == stored,
    )


def figures(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    attempts = [outcome.attempts for outcome in outcomes]
    return {
        "clients": len(outcomes),
        "connected_p50_p99_s": _seconds([outcome.open_ms for outcome in outcomes]),
        "whole_p50_p99_s": _seconds([outcome.whole_ms for outcome in outcomes]),
        "attempts_mean": round(sum(attempts) / len(attempts), 2),
        "attempts_p50_p99_most": [percentile(attempts, percent) for percent in (50, 99, 100)],
    }


def goals(outcomes: Sequence[Outcome]) -> dict[str, Goal]:
    times_ms = [outcome.whole_ms for outcome in outcomes if outcome.whole_ms is not None]
    return {
        "storm_whole": at_least(sum(outcome.is_whole for outcome in outcomes), len(outcomes)),
        "storm_whole_again_p99_s": reported(percentile(times_ms or [PATIENCE_MS], 99) / 1000),
        "storm_attempts_most": reported(max(outcome.attempts for outcome in outcomes)),
    }


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    table = Table("s", "p50", "p99", title="After the cut", title_justify="left")
    for name, times_ms in (
        ("connected again", [outcome.open_ms for outcome in outcomes]),
        ("whole again", [outcome.whole_ms for outcome in outcomes]),
    ):
        table.add_row(name, *(f"{time_s:.1f}" for time_s in _seconds(times_ms)))
    console.print(table)


def _seconds(times_ms: Sequence[float | None]) -> list[float]:
    """The 50th and 99th percentile; who never came counts as the end of patience."""
    known_ms = [PATIENCE_MS if time_ms is None else time_ms for time_ms in times_ms]
    return [round(percentile(known_ms, percent) / 1000, 2) for percent in (50, 99)]


def _stored_answer(http_url: str, token: str, chat_id: str) -> str:
    answer = httpx.get(
        f"{http_url}/chats/{chat_id}/messages", headers={"authorization": f"Bearer {token}"}
    )
    answer.raise_for_status()
    (text,) = (each["text"] for each in answer.json()["messages"] if each["role"] == "assistant")
    return str(text)
