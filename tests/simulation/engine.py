"""Owns an engine that plays scripts.

Left out: slots and batching (every stream runs at once), prefill time that grows with the prompt,
prefix caches, sampling, and the limit of max_output_tokens. Tokens are pieces of a script: each
counts one; the prompt counts one for each four characters.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from chatcore.domain.run import Usage
from chatcore.ports import Generated

FOREVER_S = 1e9


@dataclass(frozen=True, slots=True)
class Say:
    """A piece of text, after so long."""

    text: str
    after_s: float = 0.02


@dataclass(frozen=True, slots=True)
class Break:
    """The engine fails like this, after so long."""

    fault: Exception
    after_s: float = 0.02


@dataclass(frozen=True, slots=True)
class Hang:
    """The engine says nothing more, and does not end."""


Step = Say | Break | Hang
Script = Sequence[Step]


def words(text: str, after_s: float = 0.02) -> Script:
    """The text as a model would say it: a word at a time."""
    pieces = text.split(" ")
    return [
        Say(piece if last else f"{piece} ", after_s)
        for piece, last in zip(pieces, [False] * (len(pieces) - 1) + [True], strict=True)
    ]


@dataclass(slots=True)
class ScriptedEngine:
    """script_for: prompt to script; prompts: all that were asked; streams: open ones, by prompt."""

    script_for: Callable[[str], Script]
    well: bool = True
    finish_reason: str = "stop"
    prompts: list[str] = field(default_factory=list)
    open_streams: int = 0

    async def ready(self) -> bool:
        return self.well

    async def generate(
        self, prompt: str, max_output_tokens: int
    ) -> AsyncGenerator[Generated, None]:
        self.prompts.append(prompt)
        self.open_streams += 1
        usage = Usage(input_tokens=len(prompt) // 4)
        try:
            for step in self.script_for(prompt):
                if isinstance(step, Hang):
                    await asyncio.sleep(FOREVER_S)
                    raise AssertionError("a test ran for longer than forever")
                await asyncio.sleep(step.after_s)
                if isinstance(step, Break):
                    raise step.fault
                usage += Usage(output_tokens=1)
                yield Generated(step.text, usage)
            yield Generated("", usage, self.finish_reason)
        finally:
            self.open_streams -= 1
