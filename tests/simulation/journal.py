"""Owns the history of one world: what happened when, kept raw and written out only when asked for."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Line = tuple[float, str, str, tuple[Any, ...]]


@dataclass(slots=True)
class Journal:
    lines: list[Line] = field(default_factory=list)

    def note(self, who: str, what: str, *details: Any) -> None:
        self.lines.append((asyncio.get_running_loop().time(), who, what, details))

    def text(self) -> str:
        return "\n".join(
            f"{at_s:9.3f}  {who:<16} {what}  {'  '.join(map(_written, details))}".rstrip()
            for at_s, who, what, details in self.lines
        )


@dataclass(frozen=True, slots=True)
class JournalLogger:
    """What the product logs goes into the journal. on_fault: told of what the product did not expect."""

    journal: Journal
    who: str
    on_fault: Callable[[str], None]

    @property
    def service(self) -> str:
        return self.who

    def info(self, message: str, extra: object = None) -> None:
        self.journal.note(self.who, message, *_details(extra))

    def warning(self, message: str, extra: object = None) -> None:
        self.journal.note(self.who, message, *_details(extra))

    def exception(self, message: str, extra: object = None) -> None:
        self.journal.note(self.who, message, *_details(extra))
        self.on_fault(f"{self.who} did not expect: {message}: {sys.exc_info()[1]!r}")

    def append_keys(self, **keys: object) -> None:
        """Keys are for searching logs of many machines; the journal says who spoke."""

    thread_safe_append_keys = append_keys


def _details(extra: object) -> tuple[Any, ...]:
    if isinstance(extra, dict):
        # What CloudWatch reads of a metric tells the machine's own time, which no seed decides.
        return ({name: value for name, value in extra.items() if name != "_aws"},)
    return () if extra is None else (extra,)


def _written(detail: Any) -> str:
    if isinstance(detail, bytes):
        return detail.decode()
    if isinstance(detail, dict):
        return " ".join(f"{name}={value}" for name, value in detail.items())
    return str(detail)
