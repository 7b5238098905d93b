"""Owns what a world is made of, and how often things go wrong in it: drawn from its seed.

Each seed leaves out about half of the faults, so that some worlds are hit by one kind only and what
it does is not hidden by the others.
"""

import random
from dataclasses import dataclass, fields, replace

from chatcore.domain.tiers import DEFAULTS, USER_TIERS, Tiers


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each thing goes wrong, as a share of the calls, posts, answers or prompts.

    throttled: a call fails and did not happen; lost_answer: it happened, and fails; late_write: it
    fails, and happens seconds later; slow_call: it takes seconds; lambda_dies: half-way;
    job_twice, job_late, job_unseen: a delivery more, later, or received by nobody; job_undeleted: an
    acknowledged job comes back; control_lost, control_late: of cancels and attaches; post_fails,
    frame_lost, post_slow: a post answers with an error, answers well but nobody hears, takes seconds;
    engine_*: an answer's stream breaks, sends garbage, hangs, refuses the prompt.
    """

    throttled: float = 0.0
    lost_answer: float = 0.0
    late_write: float = 0.0
    slow_call: float = 0.0
    lambda_dies: float = 0.0
    job_twice: float = 0.0
    job_late: float = 0.0
    job_unseen: float = 0.0
    job_undeleted: float = 0.0
    control_lost: float = 0.0
    control_late: float = 0.0
    post_fails: float = 0.0
    frame_lost: float = 0.0
    post_slow: float = 0.0
    engine_breaks: float = 0.0
    engine_garbage: float = 0.0
    engine_hangs: float = 0.0
    engine_refuses: float = 0.0


CALM = Rates()

WORST = Rates(
    throttled=0.04,
    lost_answer=0.04,
    late_write=0.04,
    slow_call=0.05,
    lambda_dies=0.08,
    job_twice=0.3,
    job_late=0.3,
    job_unseen=0.15,
    job_undeleted=0.2,
    control_lost=0.4,
    control_late=0.4,
    post_fails=0.15,
    frame_lost=0.1,
    post_slow=0.1,
    engine_breaks=0.3,
    engine_garbage=0.1,
    engine_hangs=0.2,
    engine_refuses=0.05,
)

UPSETS = ("kill", "drain", "doze", "stop", "engine_down", "cut_off")


@dataclass(frozen=True, slots=True)
class Plan:
    """users, devices, prompts: each user's; storm_s: how long things go wrong; upsets: what happens to
    workers, every upset_every_s; skew_ms: how far the clocks are off at most; clocks_apart: whether
    those of two workers are off by that much, one behind and one ahead; token_s: the engine's mean time
    for a piece; tiers: with how long a run goes on without a viewer."""

    users: int
    devices: int
    prompts: int
    workers: int
    slots: int
    storm_s: float
    rates: Rates
    upsets: tuple[str, ...]
    upset_every_s: float
    skew_ms: int
    token_s: float
    connection_s: float
    watches: float
    cancels: float
    repeats: float
    impatience: float
    deletes: float
    tiers: Tiers
    clocks_apart: bool = False

    @property
    def most_answers(self) -> int:
        """That a worker may make at once."""
        return self.slots + max(limits.overcommit_slots for limits in self.tiers.values())


def drawn(rng: random.Random) -> Plan:
    plan = _anything(rng)
    kind = rng.random()
    if kind < 0.4:
        return _about_leases(plan, rng)
    if kind < 0.6:
        return _about_slots(plan, rng)
    return _about_clocks(plan, rng) if kind < 0.68 else plan


def _about_slots(plan: Plan, rng: random.Random) -> Plan:
    """More people of all tiers than there is room for, with several runs each: who waits behind his own,
    who has to leave his slot, who goes on later."""
    return replace(
        plan,
        users=rng.choice((3, 4)),
        prompts=rng.choice((2, 3)),
        devices=1,
        workers=rng.choice((1, 2)),
        slots=1,
        impatience=0.8,
        cancels=rng.choice((0.0, 0.4)),
        deletes=rng.choice((0.0, 0.3)),
        token_s=rng.choice((0.2, 0.6)),
        tiers={
            **DEFAULTS,
            **{
                tier: replace(
                    DEFAULTS[tier],
                    overcommit_slots=extra,
                    max_active_runs=3,
                    abandon_grace_s=None,
                )
                for tier, extra in zip(USER_TIERS, (0, 1, 1), strict=True)
            },
        },
    )


def _about_leases(plan: Plan, rng: random.Random) -> Plan:
    """Slow answers, clocks far apart, workers that lose touch, jobs that come again at any time: all
    that two workers need to both take a run for theirs."""
    return replace(
        plan,
        users=1,
        prompts=rng.choice((1, 2)),
        workers=rng.choice((2, 3)),
        storm_s=rng.uniform(60, 110),
        rates=replace(
            plan.rates,
            late_write=rng.choice((0.0, 0.1)),
            throttled=rng.choice((0.0, 0.05)),
            job_twice=0.7,
            job_late=0.7,
            engine_hangs=0.0,
        ),
        upsets=rng.choice((("cut_off",), ("stop",), ("cut_off", "stop"), ("kill", "stop"))),
        upset_every_s=rng.uniform(6, 15),
        skew_ms=5_000,
        token_s=rng.choice((1.0, 2.0)),
        connection_s=rng.choice((5.0, 20.0, 1_000.0)),
        cancels=rng.choice((0.0, 0.3)),
        deletes=0.0,
        tiers=DEFAULTS,
    )


def _about_clocks(plan: Plan, rng: random.Random) -> Plan:
    """One of two workers loses touch in the midst of an answer, while the other has its job too; their
    clocks are as far apart as they may be. Then a moment decides whether both take the run for theirs, and
    nothing else happens that could keep them from it."""
    return replace(
        plan,
        users=1,
        devices=1,
        prompts=1,
        workers=2,
        slots=1,
        storm_s=rng.uniform(60, 90),
        rates=Rates(job_twice=1.0),
        upsets=("cut_off",),
        upset_every_s=rng.uniform(10, 30),
        skew_ms=5_000,
        clocks_apart=True,
        token_s=2.0,
        connection_s=1_000.0,
        watches=0.0,
        cancels=0.0,
        repeats=0.0,
        impatience=0.0,
        deletes=0.0,
        tiers=DEFAULTS,
    )


def _anything(rng: random.Random) -> Plan:
    return Plan(
        users=rng.choice((1, 1, 2, 2, 3)),
        devices=rng.choice((1, 2, 2, 3)),
        prompts=rng.choice((1, 2, 2, 3)),
        workers=rng.choice((1, 2, 2, 3)),
        slots=rng.choice((1, 2, 2)),
        storm_s=rng.uniform(15, 60),
        rates=Rates(
            **{
                rate.name: getattr(WORST, rate.name) * max(0.0, rng.uniform(-1, 1))
                for rate in fields(Rates)
            }
        ),
        upsets=tuple(upset for upset in UPSETS if rng.random() < 0.5),
        upset_every_s=rng.uniform(3, 20),
        skew_ms=rng.choice((0, 500, 5_000, 5_000)),
        token_s=rng.choice((0.05, 0.2, 0.6, 2.0)),
        connection_s=rng.choice((5.0, 20.0, 1_000.0)),
        watches=rng.choice((0.0, 0.5, 0.9)),
        cancels=rng.choice((0.0, 0.3, 0.7)),
        repeats=rng.choice((0.0, 0.4)),
        impatience=rng.choice((0.0, 0.4)),
        deletes=rng.choice((0.0, 0.3, 0.6)),
        tiers={
            **DEFAULTS,
            **{
                tier: replace(DEFAULTS[tier], abandon_grace_s=rng.uniform(1, 10))
                for tier in USER_TIERS
                if rng.random() < 0.4
            },
        },
    )
