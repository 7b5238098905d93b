"""Owns the wall clock: the one place where an entrypoint learns the time."""

import time


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000
