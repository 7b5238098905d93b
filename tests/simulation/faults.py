"""Owns what goes wrong in the simulated cloud, as its seed says: failing calls and lost frames."""

import functools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.run import TERMINAL, Run
from chatcore.ports import Posted


@dataclass(slots=True)
class Weather:
    """How often things go wrong; it turns calm when the world is to come to rest."""

    rng: random.Random
    call_fails: float = 0.0
    post_fails: float = 0.0
    frame_is_lost: float = 0.0

    def calm(self) -> None:
        self.call_fails = self.post_fails = self.frame_is_lost = 0.0


class Flaky:
    """A port whose calls raise StoreUnavailable now and then, before or after they happened."""

    def __init__(self, inner: Any, weather: Weather) -> None:
        self._inner = inner
        self._weather = weather

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            dice = self._weather.rng.random()
            if dice < self._weather.call_fails / 2:
                raise StoreUnavailable(f"{name}: before")
            result = method(*args, **kwargs)
            if dice < self._weather.call_fails:
                raise StoreUnavailable(f"{name}: after")
            return result

        return call


@dataclass(slots=True)
class Sockets:
    """The WebSocket API's connections. Left out: latency below that of the caller, and the order of
    frames that two callers post at once, which is that of their calls."""

    weather: Weather
    open: dict[str, Callable[[dict[str, Any]], None]] = field(default_factory=dict)

    def post(self, connection_id: str, frame: bytes) -> Posted:
        receive = self.open.get(connection_id)
        if receive is None:
            return Posted.GONE
        dice = self.weather.rng.random()
        if dice < self.weather.post_fails / 2:
            return Posted.FAILED
        if self.weather.rng.random() >= self.weather.frame_is_lost:
            receive(json.loads(frame))
        return Posted.FAILED if dice < self.weather.post_fails else Posted.SENT


class WatchedRuns(dict[str, Run]):
    """The runs' table, watched: a run that has ended stays as it is, and epochs only grow."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[str] = []

    def __setitem__(self, run_id: str, run: Run) -> None:
        former = self.get(run_id)
        if former is not None and former.status in TERMINAL:
            self.broken.append(f"{run_id} was {former.status} and became {run.status}")
        if former is not None and run.epoch < former.epoch:
            self.broken.append(f"{run_id} went from epoch {former.epoch} to {run.epoch}")
        super().__setitem__(run_id, run)
