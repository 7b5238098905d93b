"""Owns figures of the last minutes: what was measured when, its percentiles and sums."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

KEPT_MS = 300_000
"""Percentiles are of the last five minutes: of a few minutes' runs, and not of an hour ago."""

LATELY_MS = 60_000
"""Sums and shares are of the last minute."""


@dataclass(slots=True)
class Samples:
    """Lines of several logs come in about the order of their moments: what is a little late counts."""

    _samples: deque[tuple[int, float]] = field(default_factory=deque)

    def add(self, at_ms: int, value: float | None) -> None:
        """None: there was no such figure."""
        if value is not None:
            self._samples.append((at_ms, value))

    def values(self, now_ms: int, window_ms: int = KEPT_MS) -> list[float]:
        """What was measured in the window that ends now."""
        while self._samples and self._samples[0][0] <= now_ms - KEPT_MS:
            self._samples.popleft()
        since_ms = now_ms - window_ms
        return [value for at_ms, value in self._samples if since_ms < at_ms]

    def total(self, now_ms: int, window_ms: int = LATELY_MS) -> float:
        return sum(self.values(now_ms, window_ms))

    def percentile(self, percent: float, now_ms: int) -> float | None:
        return percentile(self.values(now_ms), percent)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """By nearest rank: always a value that was measured; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
