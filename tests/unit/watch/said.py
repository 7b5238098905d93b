"""Log lines as workers and functions write them, for a moment and with the fields that a test names."""

import json
from datetime import UTC, datetime
from typing import Any

from local.watch.line import Line, read

NOW_MS = 1_795_838_800_000


def text(name: str, at_ms: int = NOW_MS, **fields: Any) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    written = moment.strftime("%Y-%m-%d %H:%M:%S,") + f"{at_ms % 1000:03d}+0000"
    return json.dumps({"level": "INFO", "message": name, "timestamp": written, **fields})


def by_worker(name: str, at_ms: int = NOW_MS, worker: int = 1, **fields: Any) -> Line:
    told = {"service": "worker", "worker_id": f"vm-{worker}", **fields}
    line = read(text(name, at_ms, **told), f"worker-{worker}")
    assert line is not None
    return line


def by_function(name: str, at_ms: int = NOW_MS, **fields: Any) -> Line:
    line = read(text(name, at_ms, **{"service": "ws_message", **fields}), "ws_message")
    assert line is not None
    return line


def claimed(
    run_id: str, tier: str = "free", at_ms: int = NOW_MS, worker: int = 1, epoch: int = 1
) -> Line:
    queue_ms = {"queue_ms": 40} if epoch == 1 else {}
    return by_worker(
        "run.claimed", at_ms, worker, run_id=run_id, tier=tier, epoch=epoch, offset=7, **queue_ms
    )


def ended(
    run_id: str, tier: str = "free", at_ms: int = NOW_MS, worker: int = 1, **fields: Any
) -> Line:
    told = {
        "kind": "answer",
        "completed": 1,
        "failed": 0,
        "cancelled": 0,
        "rewinds": 0,
        "preemptions": 0,
        "input_tokens": 100,
        "cached_tokens": 60,
        "output_tokens": 30,
        "cached_share": 0.6,
        "prefix_tokens": 0,
        "at_favourite": False,
        "ttft_ms": 120,
        "itl_ms": 20.4,
        **fields,
    }
    return by_worker("run.ended", at_ms, worker, run_id=run_id, tier=tier, **told)
