"""What a long start says while it runs.

Owns the output of the steps: a live line on a terminal, plain lines elsewhere. It must not know
what the steps do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from local.processes import tail

_QUIET_S = 10.0


class Progress:
    """Numbers the steps, says what each does and how long it took."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._begun = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """One step; the function it gives takes the lines that say how far the step is."""
        self._begun += 1
        started = time.monotonic()
        head = escape(f"[{self._begun}/{self._total}] {title}")
        if self._console.is_terminal:
            with self._console.status(f"{head} …") as status:
                yield lambda line: status.update(
                    f"{head} … {time.monotonic() - started:.0f} s  [dim]{escape(line[:60])}[/]"
                )
            self._console.print(f"{head}: {time.monotonic() - started:.1f} s", highlight=False)
        else:
            self._print(f"{head} …")
            yield self._sparse(started)
            self._print(f"      {time.monotonic() - started:.1f} s")

    def note(self, text: str) -> None:
        """A line about the step."""
        self._print(escape(f"      {text}"))

    def say(self, text: str) -> None:
        """A line of its own, before or after the steps."""
        self._print(escape(f"\n{text}"))

    def fail(self, what: str, log: Path) -> None:
        """What went wrong, in one line, and the end of the log that says more."""
        self._print(escape(f"\nchatcore: {what}; its log is {log}"))
        self._print(escape(tail(log)))

    def _sparse(self, started: float) -> Callable[[str], None]:
        # A log that nobody watches live needs a sign of life, not every line.
        said = started

        def heard(line: str) -> None:
            nonlocal said
            now = time.monotonic()
            if now - said >= _QUIET_S:
                said = now
                self._print(f"      {now - started:.0f} s: {escape(line[:80])}")

        return heard

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)
