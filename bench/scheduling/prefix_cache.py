"""A worker's prefix cache, and what the simplest routers make of several.

Owns the rows that are known of the trace, which show that cache and trace are read aright. "64 requests
at a time" is read as 64 outstanding in all, whoever serves them: when one ends, the next of the trace is
sent at once, and the trace's times say no more than the order. The rows come out so; they are too coarse
to tell it from 64 a worker, or what a request takes: whether one unit, its tokens' time or its uncached
tokens' time, power of two stays within a tenth (8.7 to 9.5 %), and round robin does not look.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.scheduling.prefix_trace import Asked, Turn

WORKERS = 8
BLOCKS = 4_000
AT_A_TIME = 64

PREFILL_S = 0.03
PREFILL_TOKEN_S = 0.00025
TOKEN_S = 0.03
"""As the model engine of `bench.scheduling.engine` with eight sequences, but a prefill holds up nobody
else: it is thought to be made in chunks."""


@dataclass(slots=True)
class Cache:
    """Least recently used goes first. blocks: of room; None for all there are."""

    blocks: int | None
    _held: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def use(self, wanted: Sequence[int]) -> int:
        """How many were there as an unbroken prefix; all of them are there now, used last."""
        held = self._held
        hits = 0
        for block in wanted:
            if block not in held:
                break
            hits += 1
        for block in wanted:
            held[block] = None
            held.move_to_end(block)
        if self.blocks is not None:
            while len(held) > self.blocks:
                held.popitem(last=False)
        return hits


def prefill_s(tokens: int) -> float:
    return PREFILL_S + PREFILL_TOKEN_S * tokens


def hit_rate(trace: Sequence[Asked], blocks: int | None) -> float:
    """Of one cache for all."""
    cache = Cache(blocks)
    return sum(cache.use(asked.blocks) for asked in trace) / blocks_of(trace)


def round_robin(trace: Sequence[Asked]) -> float:
    caches = [Cache(BLOCKS) for _ in range(WORKERS)]
    hits = sum(caches[at % WORKERS].use(asked.blocks) for at, asked in enumerate(trace))
    return hits / blocks_of(trace)


def power_of_two(trace: Sequence[Asked], seed: int) -> float:
    """Of two workers drawn by lot, the one with fewer outstanding."""
    rng = random.Random(seed)
    caches = [Cache(BLOCKS) for _ in range(WORKERS)]
    outstanding = [0] * WORKERS
    ends: list[tuple[float, int]] = []
    hits = 0
    now_s = 0.0
    for asked in trace:
        if len(ends) == AT_A_TIME:
            now_s, ended = heapq.heappop(ends)
            outstanding[ended] -= 1
        worker = min(rng.sample(range(WORKERS), 2), key=lambda each: outstanding[each])
        turn = Turn(asked, "", None, hits=caches[worker].use(asked.blocks))
        hits += turn.hits
        outstanding[worker] += 1
        took_s = prefill_s(turn.uncached_tokens) + TOKEN_S * asked.output_tokens
        heapq.heappush(ends, (now_s + took_s, worker))
    return hits / blocks_of(trace)


def blocks_of(trace: Sequence[Asked]) -> int:
    return sum(len(asked.blocks) for asked in trace)
