"""Owns a worker's simulated engine, and the record of what it really did.

Left out: batching (every stream runs at once), prefill time that grows with the prompt, sampling, and
the limit of max_output_tokens. Never says the same thing twice: two epochs of a run tell different
things, so a text that was put together wrongly shows.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from chatcore.domain.errors import EngineFailed, EngineRefused, EngineUnavailable
from chatcore.domain.markup import defused
from chatcore.domain.run import Usage
from chatcore.domain.title import OPENING
from chatcore.ports import Generated
from tests.simulation.audit import Audit, Session
from tests.simulation.cloud import Weather
from tests.simulation.process import Process

FOREVER_S = 1e6
MOST_PIECES = 25
SYLLABLES = ("ka", "lo", "mi ", "né", "du ", "–", "😀", "\n", '"', "\\", "ßa ", "<|", "x", "ee ")
_PROMPT = re.compile(r".*<\|im_start\|>user\n#(\S+) .*<\|im_start\|>assistant\n(.*)", re.DOTALL)


@dataclass(slots=True)
class Gpu:
    """well: whether it takes prompts; what it is in the midst of breaks off when it goes down."""

    process: Process
    weather: Weather
    audit: Audit
    token_s: float
    slots: int
    well: bool = True
    sessions: set[int] = field(default_factory=set)

    async def ready(self) -> bool:
        return self.well

    async def generate(
        self, prompt: str, max_output_tokens: int
    ) -> AsyncGenerator[Generated, None]:
        if OPENING in prompt:
            async for generated in self._title(len(prompt) // 4):
                yield generated
            return
        found = _PROMPT.fullmatch(prompt)
        assert found is not None, prompt
        message_id, continuation = found.groups()
        base = continuation.replace(defused("<|"), "<|")
        session = self.audit.generates(self.process.name, message_id, base)
        self.sessions.add(id(session))
        if len(self.sessions) > self.slots:
            self.audit.broke(f"{self.process.name} makes {len(self.sessions)} answers at once")
        try:
            async for generated in self._pieces(session, len(prompt) // 4):
                yield generated
        finally:
            self.sessions.discard(id(session))

    async def _title(self, input_tokens: int) -> AsyncGenerator[Generated, None]:
        """Nobody watches it, so it is not looked at as it grows; it may fail like all."""
        fault = self._fault()
        for number, text in enumerate(("A title ", "of this world"), start=1):
            await asyncio.sleep(self.weather.rng.uniform(0, 0.5))
            if fault is not None:
                raise fault
            usage = Usage(input_tokens, 0, number)
            yield Generated(text, usage, "stop" if number == 2 else None)

    async def _pieces(self, session: Session, input_tokens: int) -> AsyncGenerator[Generated, None]:
        rng, rates = self.weather.rng, self.weather.rates
        length = rng.randint(0, MOST_PIECES)
        fault = self._fault()
        breaks_at = rng.randint(0, length) if fault is not None else None
        hangs_at = rng.randint(0, length) if self.weather.strikes(rates.engine_hangs) else None
        await asyncio.sleep(rng.uniform(0.02, 1.0))
        if self.weather.strikes(rates.engine_refuses):
            raise EngineRefused("as the seed says")
        cached_tokens = rng.randint(0, input_tokens)
        for number in range(length + 1):
            if not self.well:
                raise EngineUnavailable("it went down")
            if number == breaks_at and fault is not None:
                raise fault
            if number == hangs_at:
                await asyncio.sleep(FOREVER_S)
            last = number == length
            text = "" if last else _piece(rng)
            usage = Usage(input_tokens, cached_tokens, number + 1)
            self.audit.makes(session, text, usage, self.process.awake_since_s)
            reason = rng.choice(("stop", "stop", "length")) if last else None
            yield Generated(text, usage, reason)
            await asyncio.sleep(rng.uniform(0, 2 * self.token_s))

    def _fault(self) -> Exception | None:
        rates = self.weather.rates
        if self.weather.strikes(rates.engine_breaks):
            return EngineFailed("it broke")
        if self.weather.strikes(rates.engine_garbage):
            return EngineFailed("it sent what is not UTF-8")
        return None


def _piece(rng: random.Random) -> str:
    return "".join(rng.choices(SYLLABLES, k=rng.randint(1, 6)))
