"""Owns a worker's metrics: what is measured of runs, of the backlog, and of the worker itself.

They ride on log lines that are written anyway, and what a run's end tells is put together after it. The
one line that is there for them alone comes every 5 s.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit

from chatcore.adapters.measures import Measures
from chatcore.domain.run import FinishReason, Run, Status
from chatcore.domain.tiers import Tier
from chatcore.ports import Posted
from gpu_service.worker.broadcast import Broadcast
from gpu_service.worker.live import LiveRun
from gpu_service.worker.pull import Puller

SERVICE = "worker"

TELL_EVERY_S = 5.0

CLAIMS = Measures(("run.claimed",), {"queue_ms": MetricUnit.Milliseconds})

ANSWERS = Measures(
    ("run.ended",),
    {
        "ttft_ms": MetricUnit.Milliseconds,
        "itl_ms": MetricUnit.Milliseconds,
        "total_ms": MetricUnit.Milliseconds,
        "cancel_ms": MetricUnit.Milliseconds,
        "slot_s": MetricUnit.Seconds,
        "input_tokens": MetricUnit.Count,
        "cached_tokens": MetricUnit.Count,
        "output_tokens": MetricUnit.Count,
        "completed": MetricUnit.Count,
        "failed": MetricUnit.Count,
        "cancelled": MetricUnit.Count,
        "rewinds": MetricUnit.Count,
        "preemptions": MetricUnit.Count,
    },
)

HAND_BACKS = Measures(
    ("run.handed_back",), {"ttft_ms": MetricUnit.Milliseconds, "slot_s": MetricUnit.Seconds}
)

BACKLOGS = Measures(
    ("tier.backlog",),
    {
        "waiting": MetricUnit.Count,
        "backlog_slot_s": MetricUnit.Seconds,
        "starts_per_s": MetricUnit.CountPerSecond,
        "stalled": MetricUnit.Count,
    },
)

SLOTS = Measures(
    ("worker.slots",),
    dict.fromkeys(
        (
            "slots",
            "busy_slots",
            "ready",
            "offers",
            "viewers",
            "posts",
            "post_failures",
            "throttled_posts",
        ),
        MetricUnit.Count,
    ),
    by_tier=False,
)

OF_THE_WORKER = (CLAIMS, ANSWERS, HAND_BACKS, BACKLOGS, SLOTS)


def of_claim(live: LiveRun) -> dict[str, object]:
    """Only of its first slot: what goes on has not waited for all of its life."""
    run = live.run
    waited_ms = live.timings.claimed_ms - run.created_ms if run.epoch == 1 else None
    return CLAIMS.of(SERVICE, {"queue_ms": waited_ms}, run.tier)


def of_hand_back(live: LiveRun) -> dict[str, object]:
    values = {"ttft_ms": _ttft_ms(live), "slot_s": live.timings.slot_s}
    return HAND_BACKS.of(SERVICE, values, live.run.tier)


def of_end(live: LiveRun, stored: Run) -> dict[str, object]:
    """stored: the run as it ended. Beside the metrics: what tells cold prompts from warm ones."""
    run, usage = live.run, stored.usage
    assert usage is not None
    assert stored.ended_ms is not None
    values = {
        "ttft_ms": _ttft_ms(live),
        "itl_ms": _itl_ms(live),
        "total_ms": stored.ended_ms - stored.created_ms,
        "cancel_ms": _cancel_ms(live, stored),
        "slot_s": live.timings.slot_s,
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "completed": int(stored.status is Status.COMPLETED),
        "failed": int(stored.status is Status.FAILED),
        "cancelled": int(stored.status is Status.CANCELLED),
        "rewinds": run.epoch - 1,
        "preemptions": run.preemptions,
    }
    share = usage.cached_tokens / usage.input_tokens if usage.input_tokens else 0.0
    return {
        "epoch": run.epoch,
        "kind": str(run.kind),
        "finish_reason": str(stored.finish_reason),
        "cached_share": round(share, 3),
        "prefix_tokens": run.prefix_tokens,
        "at_favourite": run.favourite == run.worker_id,
        **ANSWERS.of(SERVICE, values, run.tier),
    }


def of_backlog(
    tier: Tier, waiting: int, slot_s: float, starts_per_s: float, paused: bool
) -> dict[str, object]:
    """slot_s: for how long a run of the tier keeps a slot; starts_per_s: how many get one, fleet-wide;
    paused: none is to get one."""
    values = {
        "waiting": waiting,
        "backlog_slot_s": waiting * slot_s,
        "starts_per_s": starts_per_s,
        "stalled": int(waiting > 0 and not starts_per_s and not paused),
    }
    return BACKLOGS.of(SERVICE, values, tier)


@dataclass(slots=True)
class SlotMeasures:
    """Tells of the worker as a whole. ready: nothing else says so where the database cannot be reached."""

    puller: Puller
    broadcast: Broadcast
    logger: Logger
    slots: int
    _told: Counter[Posted] = field(default_factory=Counter)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.tell()
            await asyncio.sleep(TELL_EVERY_S)

    def tell(self) -> None:
        """Posts are those since it was told last."""
        running = self.puller.running
        outcomes = Counter(self.broadcast.outcomes)
        posts = outcomes - self._told
        self._told = outcomes
        values = {
            "slots": self.slots,
            "busy_slots": sum(running.values()),
            "ready": int(not self.puller.paused),
            "offers": self.puller.offers,
            "viewers": self.broadcast.viewers,
            "posts": posts.total(),
            "post_failures": posts[Posted.FAILED],
            "throttled_posts": posts[Posted.THROTTLED],
        }
        by_tier = {str(tier): count for tier, count in running.items() if count}
        self.logger.info("worker.slots", extra={"running": by_tier, **SLOTS.of(SERVICE, values)})


def _ttft_ms(live: LiveRun) -> int | None:
    """From the admission until the first text was on its way to somebody who watched; where nobody did,
    until it was there. None where an earlier epoch said it, or nobody did."""
    timings = live.timings
    if live.base or not timings.first_token_ms:
        return None
    return (timings.shown_ms or timings.first_token_ms) - live.run.created_ms


def _itl_ms(live: LiveRun) -> float | None:
    """The mean time between tokens after the engine's first piece, of what it said to the end."""
    timings = live.timings
    tokens = live.usage.output_tokens - timings.first_tokens
    if not timings.last_token_ms or tokens < 1:
        return None
    return (timings.last_token_ms - timings.first_token_ms) / tokens


def _cancel_ms(live: LiveRun, stored: Run) -> int | None:
    """Not of those that we broke off, nor where only the note on the run told of it."""
    timings = live.timings
    if stored.finish_reason is not FinishReason.CANCELLED or not timings.cancel_asked_ms:
        return None
    return timings.released_ms - timings.cancel_asked_ms
