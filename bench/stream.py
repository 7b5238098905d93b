"""`make bench-stream`: what merging tokens into frames saves, and what it costs the reader.

The product's Broadcast sends the answers of a published trace, on a virtual clock, from a bursty engine
over posts that take a random time. Played are the engine and the posts; everything random is seeded.
Two others send the very same tokens: a frame for each token, at once and unlimited, which is the best
that any sender can do; and fixed-rate batching, with as many frames as ours for the same answer.
Quality is that of `bench.reading`. A client shows text at reading speed from what has come; readers that
are faster than people (a page that shows all it has) are told too, without a goal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aws_lambda_powertools import Logger
from rich.console import Console
from rich.table import Table

from bench import trace
from bench.reading import Reading, read
from bench.report import Figure, Goal, at_least, at_most, finish, percentile, reported
from chatcore.domain.run import Ending, FinishReason, Run, Status, Usage, ended
from chatcore.domain.run import Event as RunEvent
from chatcore.domain.tiers import Tier
from chatcore.ports import Posted
from chatcore.protocol.websocket import started_for
from gpu_service.worker.broadcast import Broadcast
from gpu_service.worker.live import LiveRun
from virtual_clock.loop import now_ms, run

SEED = 20_240_416
QUICK_ANSWERS = 1_500
READING_TOKENS_PER_S = 4.8
"""People's average, as Andes takes it."""
FASTER_TOKENS_PER_S = (10.0, 30.0)

TOKEN = " word"

ENGINE_TOKENS_PER_S = 30.0
ENGINE_SPREAD = 0.5
"""Of the logarithm of an answer's rate: engines are empty or full. A tenth of the answers come at less
than 16 tokens a second, a hundredth at less than 10."""
STEP_SPREAD = 0.3
BURST_CHANCE = 0.1
BURST_TOKENS = (2, 3, 4)
"""Speculative decoding, and characters that are made of several tokens."""
PAUSE_CHANCE = 0.02
PAUSE_S = 0.25
"""Mean of an engine's pauses: prefills of other prompts, preemption."""
PREFILL_S = 0.3

POST_S = 0.015
POST_SPREAD = 0.6
SLOW_POST_CHANCE = 0.01
SLOW_POST_S = 0.2


@dataclass(frozen=True)
class Answer:
    """made_s: when the engine has each token, from the request on; posts: the seed of its posts."""

    made_s: tuple[float, ...]
    posts: int


def make_answer(tokens: int, rng: random.Random) -> Answer:
    step_s = 1 / (ENGINE_TOKENS_PER_S * math.exp(rng.gauss(0, ENGINE_SPREAD)))
    now_s = PREFILL_S * math.exp(rng.gauss(0, ENGINE_SPREAD))
    made_s: list[float] = []
    while len(made_s) < tokens:
        at_once = rng.choice(BURST_TOKENS) if rng.random() < BURST_CHANCE else 1
        made_s += [now_s] * at_once
        now_s += step_s * at_once * math.exp(rng.gauss(0, STEP_SPREAD))
        if rng.random() < PAUSE_CHANCE:
            now_s += rng.expovariate(1 / PAUSE_S)
    return Answer(tuple(made_s[:tokens]), rng.getrandbits(32))


def drawn_answers(data: Path, most: int | None) -> list[Answer]:
    """Answers as long as those of the trace, the same ones in each run: all of them, or so many drawn.
    Raises trace.Missing."""
    rng = random.Random(SEED)
    lengths = trace.answer_lengths(data)
    if most is not None:
        lengths = rng.sample(lengths, min(most, len(lengths)))
    return [make_answer(length, rng) for length in lengths]


def post_s(rng: random.Random) -> float:
    slow_s = rng.expovariate(1 / SLOW_POST_S) if rng.random() < SLOW_POST_CHANCE else 0.0
    return POST_S * math.exp(rng.gauss(0, POST_SPREAD)) + slow_s


@dataclass
class Sent:
    """frames: with the run's start and end; delivered_s: when each token was at the client; first_post_s:
    when the post with the first token began."""

    frames: int
    delivered_s: list[float]
    first_post_s: float


@dataclass
class PlayedPosts:
    """Takes a random time for each frame; the frame is there when the post returns."""

    rng: random.Random
    sent: Sent = field(default_factory=lambda: Sent(0, [], 0.0))

    async def post(self, connection_id: str, frame: bytes) -> Posted:
        loop = asyncio.get_running_loop()
        event = json.loads(frame)
        if event["type"] == "run.delta" and not self.sent.delivered_s:
            self.sent.first_post_s = loop.time()
        await asyncio.sleep(post_s(self.rng))
        self.sent.frames += 1
        if event["type"] == "run.delta":
            tokens = len(event["text"]) // len(TOKEN)
            self.sent.delivered_s += [loop.time()] * tokens
        return Posted.SENT


QUIET = Logger(service="bench", level="CRITICAL")


def ours(answer: Answer) -> Sent:
    """By the product's Broadcast, to one viewer."""
    return run(_by_broadcast(answer))


async def _by_broadcast(answer: Answer) -> Sent:
    posts = PlayedPosts(random.Random(answer.posts))
    broadcast = Broadcast(posts, QUIET)
    live = LiveRun(_running(), "", 0, now_ms)
    broadcast.watch(live, "viewer", 0, [started_for(live.run, 0)])
    loop = asyncio.get_running_loop()
    for made_s in answer.made_s:
        if made_s > loop.time():
            await asyncio.sleep(made_s - loop.time())
        live.append(TOKEN)
        # Renewed all the time: leases are not what is measured.
        live.renewed(replace(live.run, lease_until_ms=now_ms() + 60_000))
    ending = Ending(RunEvent.COMPLETE, now_ms(), live.text, Usage(), FinishReason.STOP)
    live.ended = ended(live.run, ending)
    live.changed()
    await broadcast.drained(60)
    return posts.sent


def _running() -> Run:
    return Run(
        run_id="r_bench",
        user_id="user",
        chat_id="c_bench",
        tier=Tier.FREE,
        message_id="message",
        message_seq=1,
        digest="",
        created_ms=now_ms(),
        status=Status.RUNNING,
        epoch=1,
        lease_until_ms=now_ms() + 60_000,
        viewers=frozenset({"viewer"}),
    )


def token_by_token(answer: Answer) -> Sent:
    """A frame for each token as soon as it is made, any number on their way, shown in order."""
    rng = random.Random(answer.posts)
    delivered_s: list[float] = []
    latest_s = 0.0
    for made_s in answer.made_s:
        latest_s = max(latest_s, made_s + post_s(rng))
        delivered_s.append(latest_s)
    return Sent(len(delivered_s) + 2, delivered_s, answer.made_s[0])


def fixed_rate(answer: Answer, frames: int) -> Sent:
    """As many frames as told, with the run's start and end: the first token at once, then what there
    is at even intervals, the last when the answer is whole."""
    rng = random.Random(answer.posts)
    first_s, last_s = answer.made_s[0], answer.made_s[-1]
    intervals = max(1, frames - 3)
    delivered_s: list[float] = []
    latest_s = 0.0
    for number in range(intervals + 1):
        # The very last one, not a rounded neighbour of it.
        at_s = last_s if number == intervals else first_s + (last_s - first_s) * number / intervals
        ready = sum(1 for made_s in answer.made_s[len(delivered_s) :] if made_s <= at_s)
        latest_s = max(latest_s, at_s + post_s(rng))
        delivered_s += [latest_s] * ready
    return Sent(frames, delivered_s, first_s)


@dataclass
class Sender:
    """What came of one way of sending all answers."""

    frames: list[int] = field(default_factory=list)
    first_waits_s: list[float] = field(default_factory=list)
    readings: dict[float, list[Reading]] = field(default_factory=dict)

    def add(self, answer: Answer, sent: Sent) -> None:
        assert len(sent.delivered_s) == len(answer.made_s), "a token was lost"
        self.frames.append(sent.frames)
        self.first_waits_s.append(sent.first_post_s - answer.made_s[0])
        for speed in (READING_TOKENS_PER_S, *FASTER_TOKENS_PER_S):
            reading = read(sent.delivered_s, answer.made_s[0], speed)
            self.readings.setdefault(speed, []).append(reading)

    def quality(self, speed: float) -> float:
        return _mean([reading.quality for reading in self.readings[speed]])

    def stall_ratio(self, speed: float) -> float:
        return _mean([reading.stall_ratio for reading in self.readings[speed]])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.stream", description=__doc__)
    parser.add_argument("--data", type=Path, default=trace.DEFAULT)
    parser.add_argument("--full", action="store_true", help="all answers of the trace")
    given = parser.parse_args()
    try:
        answers = drawn_answers(given.data, None if given.full else QUICK_ANSWERS)
    except trace.Missing as missing:
        print(f"chatcore: {missing}", file=sys.stderr)
        return 1
    bench(answers)
    return 0


def bench(answers: Sequence[Answer]) -> None:
    console = Console()
    console.print(
        f"{len(answers)} answers, {sum(len(answer.made_s) for answer in answers)} tokens",
        highlight=False,
    )
    senders = {name: Sender() for name in ("ours", "fixed rate", "token by token")}
    for answer in answers:
        sent = ours(answer)
        senders["ours"].add(answer, sent)
        senders["fixed rate"].add(answer, fixed_rate(answer, sent.frames))
        senders["token by token"].add(answer, token_by_token(answer))
    _report(console, answers, senders)


def _report(console: Console, answers: Sequence[Answer], senders: dict[str, Sender]) -> None:
    best, mine, fixed = senders["token by token"], senders["ours"], senders["fixed rate"]
    figures: dict[str, Figure] = {
        "answers": len(answers),
        "tokens": sum(len(answer.made_s) for answer in answers),
    }
    table = Table(
        *("sender", "frames", "reader", "quality", "of the best", "stalled"),
        title="Frames of a mean answer, and how it reads at so many tokens a second",
        title_justify="left",
    )
    for name, sender in senders.items():
        told: dict[str, Figure] = {
            "frames_mean": round(_mean(sender.frames), 2),
            "frames_p99": percentile(sender.frames, 99),
        }
        for speed in sender.readings:
            share = sender.quality(speed) / best.quality(speed)
            told[f"at_{speed:g}_tokens_per_s"] = {
                "quality": round(sender.quality(speed), 5),
                "of_best": round(share, 5),
                "stall_ratio": round(sender.stall_ratio(speed), 5),
            }
            table.add_row(
                name,
                f"{_mean(sender.frames):.1f}",
                f"{speed:g}",
                f"{sender.quality(speed):.4f}",
                f"{share:.2%}",
                f"{sender.stall_ratio(speed):.2%}",
            )
        figures[name.replace(" ", "_")] = told
        table.add_section()
    console.print(table)
    speed = READING_TOKENS_PER_S
    goals: dict[str, Goal] = {
        "quality_of_best": at_least(mine.quality(speed) / best.quality(speed), 0.99),
        "frames_of_best": at_most(sum(mine.frames) / sum(best.frames), 1 / 8),
        "first_token_waits_p99_ms": at_most(percentile(mine.first_waits_s, 99) * 1000, 0),
        "quality_of_fixed_rate": reported(mine.quality(speed) / fixed.quality(speed)),
        "stall_percent": reported(100 * mine.stall_ratio(speed)),
        "stall_percent_of_best": reported(100 * best.stall_ratio(speed)),
    }
    finish(console, "stream", figures, goals)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    sys.exit(main())
