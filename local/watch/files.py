"""Owns the following of log files: of each the lines that are new, and files that come later.

A file that is replaced or cut short (another start of the stack) is read from its beginning. Of a long
one only the end is read at first: what is shown is of the last minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from local.watch.line import Line, read

MOST_BYTES = 8_000_000
"""At a time: some minutes of a busy worker."""


@dataclass(slots=True)
class Tail:
    """_file: which file it is that was read so far; _rest: the beginning of a line that is not over."""

    path: Path
    _file: int | None = None
    _offset: int = 0
    _rest: bytes = b""

    def lines(self) -> list[str]:
        """What has come since the last call; nothing where there is no file."""
        try:
            with self.path.open("rb") as file:
                status = self.path.stat()
                if status.st_ino != self._file or status.st_size < self._offset:
                    self._file, self._offset, self._rest = status.st_ino, 0, b""
                if status.st_size - self._offset > MOST_BYTES:
                    # In the middle of a line, which is then none that can be read.
                    self._offset, self._rest = status.st_size - MOST_BYTES, b""
                file.seek(self._offset)
                new = file.read(MOST_BYTES)
        except FileNotFoundError:
            return []
        self._offset += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        return [line.decode(errors="replace") for line in whole]


@dataclass(slots=True)
class WorkerLogs:
    """Of all workers in a folder; a line's source is the name of its file, without the ending."""

    folder: Path
    _tails: dict[Path, Tail] = field(default_factory=dict)

    def lines(self) -> Iterator[Line]:
        """What is new, in the order of its moments."""
        found: list[Line] = []
        for path in self.folder.glob("worker-*.log"):
            tail = self._tails.setdefault(path, Tail(path))
            found += filter(None, (read(text, path.stem) for text in tail.lines()))
        yield from sorted(found, key=lambda line: line.at_ms)
