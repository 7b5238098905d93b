"""Owns what a worker tells X-Ray of a run: its segment, which hangs on the function's that took the send.

    function  [send]
    worker           [prompt│prefill│       answer       │settle]
               queue ^                                          ^ the run's end is committed

The wait before it is the gap between the two. A run that was handed on has a segment from its last worker.
"""

from chatcore.adapters.xray import Segment, Span
from chatcore.domain.run import Run, Status
from gpu_service.worker.live import LiveRun


def segment_of(live: LiveRun, stored: Run, settled_ms: int) -> Segment | None:
    """None where the run's trace is not sampled."""
    run, timings = live.run, live.timings
    if not run.trace_parent:
        return None
    moments = [
        ("prompt", timings.claimed_ms),
        ("prefill", timings.prompted_ms),
        ("answer", timings.first_token_ms),
        ("settle", timings.released_ms),
    ]
    # One that was never reached has no length: what came next began then.
    reached = [(name, ms) for name, ms in moments if ms]
    ends = [*(ms for _, ms in reached[1:]), settled_ms]
    parts = [Span(name, ms, end) for (name, ms), end in zip(reached, ends, strict=True)]
    return Segment(
        trace_id=run.trace_id,
        parent_id=run.trace_parent,
        whole=Span("worker", timings.claimed_ms, settled_ms),
        parts=parts,
        fault=stored.status is Status.FAILED,
        annotations={
            "run_id": run.run_id,
            "tier": str(run.tier),
            "status": str(stored.status),
            "epoch": run.epoch,
            "queue_ms": timings.claimed_ms - run.created_ms,
        },
    )
