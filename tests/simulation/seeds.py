"""Owns the playing of seeds: one here, many on all cores, each with the same outcome everywhere.

Sets of strings iterate in an order that Python draws anew for each process; the processes that play
seeds are therefore started with a fixed one.
"""

import contextlib
import itertools
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

import pytest_socket

from tests.simulation.mutations import BY_NAME
from tests.simulation.world import World
from tests.unit.functions.loading import load_function
from virtual_clock.loop import run

CHUNK = 10
"""Seeds that a process plays before it reports."""


@dataclass(frozen=True, slots=True)
class Failure:
    """why: what did not hold, in a line; history: all that happened until then."""

    seed: int
    why: str
    history: str


@dataclass(frozen=True, slots=True)
class Played:
    """seeds: how many were played; failure: the first one among them; history: the last one's."""

    seeds: int
    failure: Failure | None
    history: str = ""


class Seeds:
    """Plays many seeds at once."""

    def __init__(self, pool: ProcessPoolExecutor, processes: int) -> None:
        self._pool = pool
        self._processes = processes

    def play(self, seeds: Iterable[int], mutation: str | None = None) -> Played:
        """Until one fails, or all are played. Of several at once, the lowest seed's failure counts."""
        left = iter(seeds)
        waiting: set[Future[Played]] = set()
        played, history = 0, ""
        failures: list[Failure] = []
        while True:
            while not failures and len(waiting) <= self._processes:
                chunk = list(itertools.islice(left, CHUNK))
                if not chunk:
                    break
                waiting.add(self._pool.submit(play, chunk, mutation))
            if not waiting:
                first = min(failures, key=lambda failure: failure.seed, default=None)
                return Played(played, first, history)
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                played += future.result().seeds
                history = future.result().history
                failure = future.result().failure
                failures += [failure] if failure else []


@contextlib.contextmanager
def all_cores() -> Iterator[Seeds]:
    processes = os.cpu_count() or 1
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "0"
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, context, _prepare) as pool:
            yield Seeds(pool, processes)
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before


def play(seeds: Iterable[int], mutation: str | None = None) -> Played:
    """In this process, one after the other, until one fails."""
    with contextlib.nullcontext() if mutation is None else BY_NAME[mutation].switched_on():
        played = 0
        world: World | None = None
        for seed in seeds:
            played += 1
            world = World(seed)
            try:
                run(world.run())
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                return Played(played, Failure(seed, why, world.journal.text()))
    # Written out for the last one only: it takes longer than to play it.
    return Played(played, None, world.journal.text() if world else "")


def _prepare() -> None:
    # Loading it looks for IPv6; from then on nothing reaches the network.
    load_function("ws_message")
    pytest_socket.disable_socket(allow_unix_socket=True)
