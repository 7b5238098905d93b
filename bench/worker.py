"""`make bench-worker`: how many streams one worker process carries on one core, and what limits it.

Owns the search: trials (`bench.streams`) of more and more streams, each in a process of its own, pinned
to one core where the system can; the sink that takes their calls runs on another. The bound is the gap
that the worker adds between the frames of a viewer. A machine that is busy with other things adds gaps
too, and the number is then a lower bound: each trial tells how long the worker waited for its core, and
CPU time tells how many streams would fill one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.report import Figure, at_least, finish, reported
from bench.streams import TOKENS_PER_S

GAP_MS = 20.0
GOAL_STREAMS = 300
FIRST = 300
MOST = 3_200
TRIES = 2
FULL_CORE = 0.9
CLOSE_ENOUGH = 1.15
QUICK_S = 6.0
FULL_S = 30.0
END_S = 5.0

Trial = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.worker", description=__doc__)
    parser.add_argument("--full", action="store_true", help="longer trials")
    seconds = FULL_S if parser.parse_args().full else QUICK_S
    console = Console()
    alone = _trial(1, seconds)
    trials: list[Trial] = []

    def carries(streams: int) -> bool:
        # Again, if need be: what else the machine does only ever adds to the gaps.
        for _ in range(TRIES):
            trial = _trial(streams, seconds)
            trials.append(trial)
            console.print(
                f"{streams} streams: {trial['gap_p99_ms']} ms added at p99, "
                f"{_cpu(trial):.0%} of a core used, {trial['core_wait']:.0%} of the time waited for it",
                highlight=False,
            )
            if trial["gap_p99_ms"] <= GAP_MS and not trial["silent_streams"]:
                return True
            if _cpu(trial) > FULL_CORE:
                # It has used its core up: not the machine's fault.
                return False
        return False

    carried = most(carries)
    profiled = _trial(max(carried, 1), seconds, profile=True)
    _report(console, carried, alone, trials, profiled)
    return 0


def most(carries: Callable[[int], bool]) -> int:
    """The greatest number that is carried, found by doubling and halving; 0 where even few are not."""
    low, high = 0, FIRST
    while high <= MOST and carries(high):
        low, high = high, 2 * high
    while low == 0 and high > FIRST // 8:
        high //= 2
        if carries(high):
            low, high = high, 2 * high
    while low and high / low > CLOSE_ENOUGH:
        middle = (low + high) // 2
        if carries(middle):
            low = middle
        else:
            high = middle
    return low


def _trial(streams: int, seconds: float, profile: bool = False) -> Trial:
    with _sink() as port:
        command = [sys.executable, "-m", "bench.streams", f"--streams={streams}"]
        command += [f"--seconds={seconds}", f"--port={port}", *(["--profile"] if profile else [])]
        with _pinned(0):
            done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"chatcore: a trial of {streams} streams failed:\n{done.stderr[-2000:]}")
    trial: Trial = json.loads(done.stdout.splitlines()[-1])
    return trial


@contextmanager
def _sink() -> Iterator[int]:
    """A sink in a process of its own; its port."""
    command = [sys.executable, "-m", "bench.sink"]
    with _pinned(-1):
        sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        yield int(sink.stdout.readline())
    finally:
        sink.terminate()
        sink.wait(END_S)


@contextmanager
def _pinned(core: int) -> Iterator[None]:
    """What is started in here stays on one of this process's cores. Only Linux can; else nothing."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _cpu(trial: Trial) -> float:
    return float(trial["cpu_loop"] + trial["cpu_threads"])


def _report(
    console: Console, carried: int, alone: Trial, trials: list[Trial], profiled: Trial
) -> None:
    table = Table(
        *(
            "streams",
            "gap p50",
            "gap p99",
            "token lag p99",
            "frames/s",
            "loop CPU",
            "threads CPU",
            "core wait",
        ),
        title=f"Streams of {TOKENS_PER_S:g} tokens a second on one core; gaps are those added, in ms",
        title_justify="left",
    )
    shown = sorted([alone, *trials], key=lambda trial: trial["streams"])
    for trial in shown:
        table.add_row(
            *(str(trial[name]) for name in ("streams", "gap_p50_ms", "gap_p99_ms")),
            *(str(trial[name]) for name in ("token_lag_p99_ms", "frames_per_s")),
            f"{trial['cpu_loop']:.1%}",
            f"{trial['cpu_threads']:.1%}",
            f"{trial['core_wait']:.1%}",
        )
    console.print(table)
    spent = Table(
        "part",
        "share",
        title=f"Where the event loop's time goes, at {profiled['streams']} streams (cProfile)",
        title_justify="left",
    )
    for name, share in profiled["profile"].items():
        spent.add_row(name, f"{share:.1%}")
    console.print(spent)
    # Of several trials with so many the last one was carried.
    best = next((trial for trial in reversed(trials) if trial["streams"] == carried), alone)
    cpu_ms = 1000 * _cpu(best) / best["streams"]
    console.print(
        f"CPU time for a second of one stream: {cpu_ms:.2f} ms, the played engine's part in it; "
        f"{1000 / cpu_ms:.0f} streams would fill a core. With a single stream this machine adds "
        f"{alone['gap_p99_ms']} ms at p99.",
        highlight=False,
    )
    figures: dict[str, Figure] = {
        "trials": [dict(trial) for trial in shown],
        "profile": dict(profiled["profile"]),
        "tokens_per_s": TOKENS_PER_S,
    }
    goals = {
        "streams_on_one_core": at_least(carried, GOAL_STREAMS),
        "cpu_ms_per_stream_second": reported(cpu_ms),
        "gap_p99_ms_of_one_stream": reported(alone["gap_p99_ms"]),
        "core_wait_percent": reported(100 * best["core_wait"]),
    }
    finish(console, "worker", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
