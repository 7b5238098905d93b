"""The demo engine's scheduler.

Owns slots, the waiting line, and when each token is due. It has no thread and no clock: times are
arguments, in seconds of any monotonic clock. It must not know of Triton.

    waiting ──slot free──▶ prefilling ──prefill time over──▶ decoding ──last token──▶ over
       └──────────────────────┴───────────── drop ──────────────┴───────────────────▶ over
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from demo_cache import PrefixCache, block_chain
from demo_settings import DemoSettings


class Phase(StrEnum):
    """Where a generation stands."""

    WAITING = "waiting"
    PREFILLING = "prefilling"
    DECODING = "decoding"
    OVER = "over"


@dataclass(eq=False)
class Generation:
    """One sequence on the engine: what it was given, and what it will say."""

    prompt_tokens: Sequence[str]
    answer_tokens: Sequence[str]
    max_tokens: int
    chain: Sequence[bytes] = field(init=False, default=())
    phase: Phase = field(init=False, default=Phase.WAITING)
    cached_tokens: int = field(init=False, default=0)
    emitted_tokens: int = field(init=False, default=0)

    def hash_blocks(self, block_tokens: int) -> None:
        """Compute the block hashes of prompt and answer; done before `submit`, as it takes time."""
        self.chain = block_chain([*self.prompt_tokens, *self.answer_tokens], block_tokens)


@dataclass(frozen=True)
class Emission:
    """A token that is due. The token that ends an answer by itself has no text, as in vLLM."""

    generation: Generation
    text: str
    finish_reason: str | None


class Scheduler:
    """Slots are given in order of arrival; each decoding generation has a pace of its own."""

    def __init__(self, settings: DemoSettings) -> None:
        self._settings = settings
        self._cache = PrefixCache(settings.cache_blocks)
        self._waiting: dict[Generation, None] = {}
        self._running: dict[Generation, None] = {}
        self._due: list[tuple[float, int, Generation]] = []
        self._order = itertools.count()

    def submit(self, generation: Generation, now_s: float) -> None:
        """Take a generation into the line; it begins at once if a slot is free."""
        self._waiting[generation] = None
        self._fill_slots(now_s)

    def drop(self, generation: Generation, now_s: float) -> None:
        """End a generation early, in any phase, and give its slot to the next in line."""
        if generation.phase is Phase.OVER:
            return
        self._end(generation)
        self._fill_slots(now_s)

    def advance(self, now_s: float) -> list[Emission]:
        """What is due by now: at most one token of each generation."""
        ready: list[tuple[float, Generation]] = []
        while self._due and self._due[0][0] <= now_s:
            due_s, _, generation = heapq.heappop(self._due)
            if generation.phase is not Phase.OVER:
                ready.append((due_s, generation))
        emissions = [self._emit(generation, due_s, now_s) for due_s, generation in ready]
        self._fill_slots(now_s)
        return emissions

    def next_due_s(self) -> float | None:
        """When `advance` has something to do next."""
        while self._due and self._due[0][2].phase is Phase.OVER:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def silent(self) -> list[Generation]:
        """Generations that emit nothing yet, so nothing else would notice their cancel."""
        return [*self._waiting, *(g for g in self._running if g.phase is Phase.PREFILLING)]

    def _fill_slots(self, now_s: float) -> None:
        while self._waiting and len(self._running) < self._settings.slots:
            generation = next(iter(self._waiting))
            del self._waiting[generation]
            self._running[generation] = None
            self._begin_prefill(generation, now_s)

    def _begin_prefill(self, generation: Generation, now_s: float) -> None:
        block_tokens = self._settings.block_tokens
        prompt_tokens = len(generation.prompt_tokens)
        # The last token is always computed: an engine needs its output to say the next one.
        usable_blocks = max(0, prompt_tokens - 1) // block_tokens
        generation.cached_tokens = (
            self._cache.match(generation.chain[:usable_blocks]) * block_tokens
        )
        generation.phase = Phase.PREFILLING
        uncached_tokens = prompt_tokens - generation.cached_tokens
        prefill_s = (
            self._settings.prefill_fixed_s + self._settings.prefill_per_token_s * uncached_tokens
        )
        self._schedule(generation, now_s + prefill_s)

    def _emit(self, generation: Generation, due_s: float, now_s: float) -> Emission:
        if generation.phase is Phase.PREFILLING:
            generation.phase = Phase.DECODING
            self._remember(generation)
        position = generation.emitted_tokens
        generation.emitted_tokens += 1
        ended = position == len(generation.answer_tokens)
        text = "" if ended else generation.answer_tokens[position]
        if ended or generation.emitted_tokens == generation.max_tokens:
            self._end(generation)
            return Emission(generation, text, "stop" if ended else "length")
        # A little lateness is made up for; after a stall the pace goes on from now, with no burst.
        next_due_s = due_s + self._settings.decode_period_s
        if next_due_s < now_s:
            next_due_s = now_s + self._settings.decode_period_s
        self._schedule(generation, next_due_s)
        return Emission(generation, text, None)

    def _end(self, generation: Generation) -> None:
        if generation.phase is Phase.DECODING:
            self._remember(generation)
        generation.phase = Phase.OVER
        self._waiting.pop(generation, None)
        self._running.pop(generation, None)

    def _remember(self, generation: Generation) -> None:
        known_tokens = len(generation.prompt_tokens) + generation.emitted_tokens
        self._cache.insert(generation.chain[: known_tokens // self._settings.block_tokens])

    def _schedule(self, generation: Generation, due_s: float) -> None:
        heapq.heappush(self._due, (due_s, next(self._order), generation))
