"""A model of one engine with continuous batching, on a clock of its own.

It reproduces the runs that VTC's authors published (one A10G, Sheng et al., OSDI 2024): a prefill takes
0.03 s and 0.00025 s a prompt token; a decode step 0.027 s, 0.0004 s a sequence and 6e-7 s a token held.
Requests are admitted when nothing runs, and otherwise every ten steps, as long as their prompts sum to
no more than 5,000 tokens and the memory that all will need at once fits. For this one check true
lengths are known, to every policy alike, as in the published system.

An n-th of an engine decodes n times fewer sequences at the same pace: what a sequence, a token held and
a prefill cost takes it n times as long, since it holds up only an n-th of the whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from bench.scheduling.policies import Policy
from bench.scheduling.requests import Request

PREFILL_S = 0.03
PREFILL_TOKEN_S = 0.00025
STEP_S = 0.027
STEP_SEQUENCE_S = 0.0004
STEP_HELD_TOKEN_S = 6e-7
ADMIT_EVERY_STEPS = 10
MOST_PROMPT_TOKENS = 5_000
MEMORY_TOKENS = 10_000


@dataclass(slots=True, eq=False)
class Engine:
    """sequences: that it decodes at once; parts: of so many that are one whole engine together; now_s:
    its own clock, at the end of what it did last."""

    policy: Policy
    sequences: int
    parts: int = 1
    memory_tokens: int = MEMORY_TOKENS
    now_s: float = 0.0
    _running: list[Request] = field(default_factory=list)
    _held: int = 0
    _steps: int = 0

    def is_busy(self) -> bool:
        return bool(self._running) or self.policy.waiting()

    def advance(self) -> None:
        """One step: perhaps a prefill of what was admitted, and a token of each that runs."""
        if not self._running or self._steps % ADMIT_EVERY_STEPS == 0:
            admitted = self._admit(self._running)
            self._running += admitted
            self._held += sum(request.input_tokens + 1 for request in admitted)
        if not self._running:
            self._steps = 0
            return
        for_sequences_s = STEP_SEQUENCE_S * len(self._running) + STEP_HELD_TOKEN_S * self._held
        self.now_s += STEP_S + for_sequences_s * self.parts
        self._steps += 1
        for request in self._running:
            # An answer of one token is there with its prefill, and found over only now.
            if request.made < request.output_tokens:
                request.made += 1
                self._held += 1
                self.policy.made_token(request)
        over = [request for request in self._running if request.made >= request.output_tokens]
        for request in over:
            request.end_s = self.now_s
            self._held -= request.input_tokens + request.made
            self.policy.end(request)
        if over:
            self._running = [r for r in self._running if r.made < r.output_tokens]

    def _admit(self, running: Sequence[Request]) -> list[Request]:
        """A batch of prompts, with their first tokens made."""
        batch: list[Request] = []
        prompt_tokens = 0

        def fits(request: Request) -> bool:
            return (
                prompt_tokens + request.input_tokens <= MOST_PROMPT_TOKENS
                and peak_tokens([*running, *batch, request]) <= self.memory_tokens
            )

        # Asked only for free sequences: a worker takes no job that it has no slot for.
        while len(running) + len(batch) < self.sequences:
            request = self.policy.take(fits)
            if request is None:
                break
            batch.append(request)
            prompt_tokens += request.input_tokens
        if batch:
            self.now_s += PREFILL_S + PREFILL_TOKEN_S * prompt_tokens * self.parts
            for request in batch:
                request.first_s = self.now_s
                request.made = 1
                self.policy.made_token(request)
        return batch


def serve(
    engines: Sequence[Engine], requests: Sequence[Request], arrive: Callable[[Request], None]
) -> float:
    """All requests, in the order of their arrival, by engines whose clocks go side by side. Returns when
    the last one ended, in seconds."""
    arriving = deque(requests)
    # Whoever is behind goes on; who has nothing to do keeps up with them, or waits for an arrival.
    idle = list(range(len(engines)))
    busy: list[tuple[float, int]] = []
    now_s = 0.0
    while arriving or busy:
        if not busy:
            now_s = max(now_s, arriving[0].arrival_s)
        while arriving and arriving[0].arrival_s <= now_s:
            arrive(arriving.popleft())
        for number in [each for each in idle if engines[each].is_busy()]:
            idle.remove(number)
            engines[number].now_s = max(engines[number].now_s, now_s)
            heappush(busy, (engines[number].now_s, number))
        if busy:
            _, number = heappop(busy)
            engines[number].advance()
            if engines[number].is_busy():
                heappush(busy, (engines[number].now_s, number))
            else:
                idle.append(number)
        if busy:
            now_s = max(now_s, busy[0][0])
    return max(request.end_s for request in requests)


def peak_tokens(requests: Sequence[Request]) -> int:
    """The most memory they will hold at once, each until its end: when the k-th longest ends, it and
    those that go on have made as many tokens more as it had left."""
    left = sorted(
        ((r.output_tokens - r.made, r.input_tokens + r.made) for r in requests), reverse=True
    )
    peak = used = 0
    for count, (to_make, has) in enumerate(left, start=1):
        used += has
        peak = max(peak, used + to_make * count)
    return peak
