"""The same capacity as one worker, two, eight and 32: is it still as fair?

A split must not change what there is to share, or it compares something else. So the sequences are
divided, each decoding at the pace that it has in the whole, and the costs of a sequence, a token held and
a prompt token grow by the number of parts (see `engine`): the throughput stays about the same, which is
checked. Memory is left out, since a 32nd of it holds no long prompt; what is short here is sequences, 32
of them, so that each of 32 workers has one. A prefill takes a small worker longer, so even a policy with
one memory for all scores a little higher on many of them.

Ours shares accounts and lanes; how workers race for them is the simulation's and the contract tests' to
show. VTC stands beside it twice: with one memory that sees all, which no fleet has, and as routers are
built, one memory for each worker, to which requests are assigned at random.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.report import Figure, Goal, at_most, reported
from bench.scheduling import ours
from bench.scheduling.engine import Engine, serve
from bench.scheduling.policies import Policy, Vtc
from bench.scheduling.requests import Request, jittered
from bench.scheduling.score import Score, mean_of, score

SEQUENCES = 32
PARTS = (1, 2, 8, 32)
MEMORY_TOKENS = 1_000_000
"""More than they ever need."""

OURS, TOGETHER, APART = "ours", "VTC, one memory", "VTC, one each"

CASES: Mapping[str, Callable[[int], Sequence[Policy]]] = {
    OURS: ours.workers,
    TOGETHER: lambda parts: [Vtc()] * parts,
    APART: lambda parts: [Vtc() for _ in range(parts)],
}


@dataclass(frozen=True)
class Found:
    scores: Mapping[tuple[str, int], Score]
    copies: int

    def growth(self, case: str) -> float:
        """Of the mean score, from one worker to as many as there are."""
        return self.scores[case, PARTS[-1]].mean / self.scores[case, PARTS[0]].mean - 1

    def throughput_off_by(self, case: str) -> float:
        """From that of one worker, at most."""
        whole = self.scores[case, PARTS[0]].tokens_per_s
        return max(abs(self.scores[case, parts].tokens_per_s / whole - 1) for parts in PARTS)


def play(trace: Sequence[Request], copies: int, pool: Executor) -> Found:
    runs = {
        (case, parts): [pool.submit(one, trace, case, parts, seed) for seed in range(copies)]
        # The longest first, so that none of them is left to the end.
        for parts in reversed(PARTS)
        for case in CASES
    }
    scores = {key: mean_of([run.result() for run in each]) for key, each in runs.items()}
    return Found(scores, copies)


def one(trace: Sequence[Request], case: str, parts: int, seed: int) -> Score:
    """One jittered copy, served by so many workers that are one engine together."""
    copy = jittered(trace, seed)
    policies = CASES[case](parts)
    engines = [
        Engine(policy, SEQUENCES // parts, parts, memory_tokens=MEMORY_TOKENS)
        for policy in policies
    ]
    rng = random.Random(seed)
    return score(copy, serve(engines, copy, lambda request: rng.choice(policies).arrive(request)))


def goals(found: Found) -> dict[str, Goal]:
    return {
        "workers_score_growth": at_most(found.growth(OURS), 0.15),
        "workers_throughput_off_by": at_most(found.throughput_off_by(OURS), 0.03),
        "workers_score_growth_vtc_together": reported(found.growth(TOGETHER)),
        "workers_score_growth_vtc_apart": reported(found.growth(APART)),
    }


def figures(found: Found) -> dict[str, Figure]:
    return {
        f"{case}, {parts} workers": {
            name: round(value, 3) for name, value in asdict(scored).items()
        }
        for (case, parts), scored in found.scores.items()
    }


def show(console: Console, found: Found) -> None:
    few, many = PARTS[0], PARTS[-1]
    table = Table(
        *("mean score by workers", *(str(parts) for parts in PARTS), "growth"),
        *(f"tokens/s, {few}", str(many)),
        title=f"{SEQUENCES} sequences split over workers, means of {found.copies} copies",
        title_justify="left",
    )
    for case in CASES:
        by_parts = [found.scores[case, parts] for parts in PARTS]
        table.add_row(
            *(case, *(f"{scored.mean:.0f}" for scored in by_parts), f"{found.growth(case):+.0%}"),
            *(f"{by_parts[0].tokens_per_s:.0f}", f"{by_parts[-1].tokens_per_s:.0f}"),
        )
    console.print(table)


def draw(path: Path, found: Found) -> None:
    """Mean scores over the number of workers, as a PNG."""
    # Only who wants a picture needs matplotlib.
    from bench.scheduling import plots

    scores = {case: [found.scores[case, parts].mean for parts in PARTS] for case in CASES}
    plots.scores_by_workers(path, PARTS, scores)
