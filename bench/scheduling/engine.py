"""A model of one engine with continuous batching, on a clock of its own.

It reproduces the runs that VTC's authors published (one A10G, Sheng et al., OSDI 2024): a prefill takes
0.03 s and 0.00025 s a prompt token; a decode step 0.027 s, 0.0004 s a sequence and 6e-7 s a token held.
Requests are admitted when nothing runs, and otherwise every ten steps, as long as their prompts sum to
no more than 5,000 tokens and the memory that all will need at once fits. For this one check true
lengths are known, to every policy alike, as in the published system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(slots=True)
class Engine:
    """sequences: that it decodes at once."""

    policy: Policy
    sequences: int
    now_s: float = 0.0

    def serve(self, requests: Sequence[Request]) -> float:
        """All of them, in the order of their arrival; returns when the last one ended, in seconds."""
        arriving = iter(requests)
        next_one = next(arriving, None)
        running: list[Request] = []
        held = steps = 0
        while running or next_one is not None or self.policy.waiting():
            if not running and not self.policy.waiting() and next_one is not None:
                self.now_s = max(self.now_s, next_one.arrival_s)
            while next_one is not None and next_one.arrival_s <= self.now_s:
                self.policy.arrive(next_one)
                next_one = next(arriving, None)
            if not running or steps % ADMIT_EVERY_STEPS == 0:
                admitted = self._admit(running)
                running += admitted
                held += sum(request.input_tokens + 1 for request in admitted)
            if running:
                self.now_s += STEP_S + STEP_SEQUENCE_S * len(running) + STEP_HELD_TOKEN_S * held
                steps += 1
                for request in running:
                    # An answer of one token is there with its prefill, and found over only now.
                    if request.made < request.output_tokens:
                        request.made += 1
                        held += 1
                        self.policy.made_token(request)
                over = [request for request in running if request.made >= request.output_tokens]
                for request in over:
                    request.end_s = self.now_s
                    held -= request.input_tokens + request.made
                    self.policy.end(request)
                if over:
                    running = [r for r in running if r.made < r.output_tokens]
            else:
                steps = 0
        return self.now_s

    def _admit(self, running: Sequence[Request]) -> list[Request]:
        """A batch of prompts, with their first tokens made."""
        batch: list[Request] = []
        prompt_tokens = 0

        def fits(request: Request) -> bool:
            return (
                len(running) + len(batch) < self.sequences
                and prompt_tokens + request.input_tokens <= MOST_PROMPT_TOKENS
                and peak_tokens([*running, *batch, request]) <= MEMORY_TOKENS
            )

        while (request := self.policy.take(fits)) is not None:
            batch.append(request)
            prompt_tokens += request.input_tokens
        if batch:
            self.now_s += PREFILL_S + PREFILL_TOKEN_S * prompt_tokens
            for request in batch:
                request.first_s = self.now_s
                request.made = 1
                self.policy.made_token(request)
        return batch


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
