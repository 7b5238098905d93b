"""Fairness between the clients of one tier, on one engine: policies side by side, at two sizes.

First the check that the model is the right one: the runs that are known from elsewhere come out again,
within a tenth. All figures are means over jittered copies of the trace; a single run is noise of a tenth
and more, so two policies are compared copy by copy. Strict priority is not among these policies: it needs
tiers, and these clients have none (see `tiers`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.report import Figure, Goal, at_least, at_most, reported
from bench.scheduling import ours
from bench.scheduling.engine import Engine, serve
from bench.scheduling.policies import Drr, Fcfs, Policy, SqsFairQueue, Vtc, Wrr
from bench.scheduling.requests import Request, jittered
from bench.scheduling.score import Score, mean_of, rates, score

OURS, FCFS, VTC = "ours", "FCFS", "VTC"

POLICIES: Mapping[str, Callable[[], Policy]] = {
    FCFS: Fcfs,
    "SQS fair queue": SqsFairQueue,
    "weighted round robin": Wrr,
    "DRR": Drr,
    VTC: Vtc,
    "VTC, lengths known": partial(Vtc, knows=True),
    OURS: ours.CalendarLanes,
}
SEQUENCES = (200, 16)
"""With 200 memory is what is short, with 16 they are."""

WITHIN = 0.1


@dataclass(frozen=True)
class Reference:
    """A mean score that is known."""

    policy: str
    sequences: int
    mean: float


REFERENCES = (
    Reference(FCFS, 200, 436),
    Reference(VTC, 200, 273),
    Reference("VTC, lengths known", 200, 239),
    Reference("DRR", 200, 240),
    Reference(FCFS, 16, 634),
    Reference(VTC, 16, 184),
)
"""Published for FCFS: 434; the others by an independent run of this model."""


@dataclass(frozen=True)
class Played:
    """One copy under one policy. moves: jobs put into a later lane, for each run."""

    score: Score
    moves: float


@dataclass(frozen=True)
class Found:
    """played: by policy and sequences, one for each copy, in the copies' order."""

    trace: Sequence[Request]
    played: Mapping[tuple[str, int], Sequence[Played]]

    def mean(self, policy: str, sequences: int) -> Score:
        return mean_of([copy.score for copy in self.played[policy, sequences]])

    def moves(self, sequences: int) -> float:
        return statistics.fmean(copy.moves for copy in self.played[OURS, sequences])

    def ratio(self, policy: str, sequences: int) -> tuple[float, float]:
        """Its mean score for VTC's, and the standard error of that, from the copies' differences."""
        scores, vtc = (
            [copy.score.mean for copy in self.played[each, sequences]] for each in (policy, VTC)
        )
        differences = [mine - theirs for mine, theirs in zip(scores, vtc, strict=True)]
        base = statistics.fmean(vtc)
        error = statistics.stdev(differences) / math.sqrt(len(differences)) / base
        return statistics.fmean(scores) / base, error


def play(trace: Sequence[Request], copies: int, pool: Executor) -> Found:
    runs = {
        (policy, sequences): [pool.submit(one, trace, policy, sequences, n) for n in range(copies)]
        for sequences in SEQUENCES
        for policy in POLICIES
    }
    return Found(trace, {key: [run.result() for run in each] for key, each in runs.items()})


def one(trace: Sequence[Request], policy: str, sequences: int, seed: int) -> Played:
    """One jittered copy under one policy."""
    copy = jittered(trace, seed)
    played = POLICIES[policy]()
    ended_s = serve([Engine(played, sequences)], copy, played.arrive)
    moves = played.shared.moves if isinstance(played, ours.CalendarLanes) else 0
    return Played(score(copy, ended_s), moves / len(copy))


def goals(found: Found) -> dict[str, Goal]:
    goals: dict[str, Goal] = {}
    for known in REFERENCES:
        here = found.mean(known.policy, known.sequences).mean
        name = f"reference_{known.policy}_{known.sequences}".replace(", ", "_").replace(" ", "_")
        is_near = abs(here / known.mean - 1) <= WITHIN
        goals[name] = Goal(round(here, 1), f"{known.mean:g} ± 10 %", is_near)
    for sequences in SEQUENCES:
        ratio, error = found.ratio(OURS, sequences)
        mine, fcfs = (found.mean(policy, sequences).tokens_per_s for policy in (OURS, FCFS))
        goals |= {
            f"score_for_vtcs_{sequences}": at_most(ratio, 1.0),
            f"score_for_vtcs_{sequences}_standard_error": reported(error),
            f"throughput_for_fcfs_{sequences}": at_least(mine / fcfs, 0.99),
            f"moves_a_run_{sequences}": at_most(found.moves(sequences), 2.0),
        }
    return goals


def figures(found: Found) -> dict[str, Figure]:
    return {
        f"{policy}, {sequences}": {
            name: round(value, 3) for name, value in asdict(found.mean(policy, sequences)).items()
        }
        for policy, sequences in found.played
    }


def show(console: Console, found: Found) -> None:
    check = Table(
        *("policy", "sequences", "known", "here", "off by"),
        title="Does the model give what is known?",
        title_justify="left",
    )
    for known in REFERENCES:
        here = found.mean(known.policy, known.sequences).mean
        check.add_row(
            *(known.policy, str(known.sequences), f"{known.mean:g}"),
            *(f"{here:.0f}", f"{here / known.mean - 1:+.1%}"),
        )
    console.print(check)
    for sequences in SEQUENCES:
        copies = len(found.played[OURS, sequences])
        table = Table(
            *("policy", "score", "for VTC's", "greatest", "tokens/s", "TTFT p50", "p99"),
            title=f"{sequences} sequences, means of {copies} copies; score: the mean one, lower is fairer",
            title_justify="left",
            caption=f"ours: {found.moves(sequences):.2f} moves to a later lane a run",
            caption_justify="left",
        )
        for policy in POLICIES:
            scored = found.mean(policy, sequences)
            ratio, error = found.ratio(policy, sequences)
            table.add_row(
                *(policy, f"{scored.mean:.0f}", f"{ratio:.2f} ±{error:.2f}"),
                *(f"{scored.greatest:.0f}", f"{scored.tokens_per_s:.0f}"),
                *(f"{scored.ttft_p50_s:.0f} s", f"{scored.ttft_p99_s:.0f} s"),
            )
        console.print(table)


PICTURED = (FCFS, VTC, OURS)
HEAVY, LIGHT = 2, 2
EVERY_S = 5.0
UNTIL_S = 600.0


def draw(path: Path, found: Found) -> None:
    """Service by client over time, in one copy under each of three policies, as a PNG."""
    # Only who wants a picture needs matplotlib.
    from bench.scheduling import plots

    heavy, light = few(found.trace)
    moments_s = [EVERY_S * number for number in range(int(UNTIL_S / EVERY_S) + 1)]
    panels = {}
    for policy in PICTURED:
        copy = jittered(found.trace, 0)
        played = POLICIES[policy]()
        serve([Engine(played, SEQUENCES[-1])], copy, played.arrive)
        panels[policy] = rates(copy, [*heavy, *light], moments_s)
    plots.service(path, moments_s, panels, heavy)


def few(trace: Sequence[Request]) -> tuple[list[str], list[str]]:
    """The clients who ask for the most, and some of the middle, who ask now and then."""
    asked: dict[str, int] = {}
    for request in trace:
        asked[request.client] = asked.get(request.client, 0) + request.service
    by_size = sorted(asked, key=lambda client: (-asked[client], client))
    middle = len(by_size) // 2
    return by_size[:HEAVY], by_size[middle : middle + LIGHT]
