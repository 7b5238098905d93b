"""A clock that moves when it is told to."""

from dataclasses import dataclass


@dataclass
class TestClock:
    __test__ = False

    now: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, ms: int) -> None:
        self.now += ms
