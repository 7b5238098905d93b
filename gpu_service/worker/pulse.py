"""Owns the sign that a worker's event loop turns: the time of a file, which a health check looks at.

`python -m gpu_service.worker.pulse FILE` ends with 0 where it is fresh. It says nothing of the engine or
of AWS: the worker waits for those by itself, and starting it anew would not bring them back.
"""

import asyncio
import sys
import time
from pathlib import Path

BEAT_EVERY_S = 5.0
FRESH_S = 30.0


async def beat(path: Path) -> None:
    """Until cancelled."""
    while True:
        _touch(path)
        await asyncio.sleep(BEAT_EVERY_S)


def _touch(path: Path) -> None:
    # In memory, by the template's tmpfs: it blocks for microseconds.
    path.touch()


def is_fresh(path: Path, now_s: float) -> bool:
    """now_s: Unix time."""
    try:
        return now_s - path.stat().st_mtime <= FRESH_S
    except FileNotFoundError:
        return False


def main() -> int:
    return 0 if is_fresh(Path(sys.argv[1]), time.time()) else 1


if __name__ == "__main__":
    sys.exit(main())
