"""One worker of the fleet and its engine: the model of `engine`, reckoned from event to event.

Between two events nothing changes but the answers' lengths, so the steps up to the next end are one sum.
A run that comes, or has to leave, cuts them short at the end of the step that is under way. It differs
from `engine` in four things, for all tiers alike. Slots bind and memory does not. Prompts are admitted
at the next step, not every ten, as engines do it that batch at each iteration (Orca, Yu et al., OSDI
2022). Of those that wait for it the highest tier's go first, and no batch holds those of two tiers. And a
run that goes on after a pause has its prompt and its answer so far read anew: no prefix cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.scheduling.azure import Send
from bench.scheduling.engine import (
    MOST_PROMPT_TOKENS,
    PREFILL_S,
    PREFILL_TOKEN_S,
    STEP_HELD_TOKEN_S,
    STEP_S,
    STEP_SEQUENCE_S,
)
from chatcore.domain.lanes import BY_PRIORITY
from chatcore.domain.slots import Slots


@dataclass(slots=True, eq=False)
class Machine:
    """number: its name; slots: the product's own; aheads: what each run's tier was charged for its slot;
    due_s: when what its engine does now is over, infinite where it does nothing."""

    number: int
    slots: Slots
    aheads: dict[Send, float] = field(default_factory=dict)
    due_s: float = math.inf
    _queue: list[Send] = field(default_factory=list)
    _batch: list[Send] = field(default_factory=list)
    _running: list[Send] = field(default_factory=list)
    _leaving: set[Send] = field(default_factory=set)
    _held: int = 0
    _began_s: float = 0.0
    _steps: int = 0

    @property
    def in_engine(self) -> int:
        return len(self._queue) + len(self._batch) + len(self._running)

    def staying(self) -> list[Send]:
        """What is with the engine, and has not been told to leave."""
        return [
            each
            for each in (*self._queue, *self._batch, *self._running)
            if each not in self._leaving
        ]

    def put(self, send: Send, now_s: float) -> None:
        """A run comes to the engine."""
        self._queue.append(send)
        self._cut_short(now_s)

    def tell_to_leave(self, send: Send, now_s: float) -> None:
        self._leaving.add(send)
        self._cut_short(now_s)

    def go_on(self, now_s: float) -> tuple[Sequence[Send], Sequence[Send]]:
        """What was under way is over: returns the runs that have ended and those that left. Then it
        begins with what is next."""
        if self._batch:
            for send in self._batch:
                send.first_s = send.first_s or now_s
                self.slots.has_read(send.tier)
                send.made += 1
                self._held += send.held_tokens
            self._running += self._batch
            self._batch = []
        else:
            for send in self._running:
                send.made += self._steps
            self._held += self._steps * len(self._running)
        ended = [each for each in self._running if each.made >= each.output_tokens]
        left = [each for each in self.here() if each in self._leaving and each not in ended]
        for send in ended:
            send.end_s = now_s
        for send in (each for each in left if each in self._queue):
            self.slots.has_read(send.tier)
        if ended or left:
            gone = {*ended, *left}
            self._held -= sum(each.held_tokens for each in self._running if each in gone)
            self._running = [each for each in self._running if each not in gone]
            self._queue = [each for each in self._queue if each not in gone]
            self._leaving -= gone
        self._begin(now_s)
        return ended, left

    def here(self) -> list[Send]:
        """With the engine, save what is being read."""
        return [*self._queue, *self._running]

    def _begin(self, now_s: float) -> None:
        self._began_s, self._steps, self.due_s = now_s, 0, math.inf
        tokens = 0
        # The engine's queue is by priority: a higher tier's prompt is not held up by a lower one's.
        for send in sorted(self._queue, key=lambda each: BY_PRIORITY.index(each.tier)):
            if self._batch and (
                tokens + send.held_tokens > MOST_PROMPT_TOKENS
                or send.tier is not self._batch[0].tier
            ):
                break
            tokens += send.held_tokens
            send.joined = send.made
            self._batch.append(send)
        if self._batch:
            self._queue = [each for each in self._queue if each not in self._batch]
            self.due_s = now_s + PREFILL_S + PREFILL_TOKEN_S * tokens
        elif self._running:
            self._steps = min(each.output_tokens - each.made for each in self._running)
            self.due_s = now_s + self._steps_s(self._steps)

    def _cut_short(self, now_s: float) -> None:
        if self._batch:
            return
        if not self._running:
            self._began_s, self._steps, self.due_s = now_s, 0, now_s
            return
        each_s, growth_s = self._step_s()
        gone_s = now_s - self._began_s
        # Steps that sum to at least what has gone: a root of their quadratic sum, mended where it rounds.
        linear_s = each_s - growth_s / 2
        root = (math.sqrt(linear_s**2 + 2 * growth_s * gone_s) - linear_s) / growth_s
        steps = max(1, math.ceil(root - 1e-6))
        if steps < self._steps:
            self._steps = steps
            self.due_s = max(now_s, self._began_s + self._steps_s(steps))

    def _step_s(self) -> tuple[float, float]:
        """How long the next step takes, and by how much each later one takes longer."""
        count = len(self._running)
        first_s = STEP_S + STEP_SEQUENCE_S * count + STEP_HELD_TOKEN_S * self._held
        return first_s, STEP_HELD_TOKEN_S * count

    def _steps_s(self, steps: int) -> float:
        first_s, growth_s = self._step_s()
        return steps * first_s + growth_s * steps * (steps - 1) / 2
