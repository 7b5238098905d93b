"""Owns the questions to the logs that an operator asks again and again, ready to be run."""

QUERIES = {
    "one run": """\
fields @timestamp, message, service, worker_id, epoch, offset, status, why, code, reason, @log
| filter run_id = "r_PUT-ITS-ID-HERE" or trace_id = "OR-THE-TRACE"
| sort @timestamp asc
| limit 500""",
    "refusals by code": """\
filter message in ["frame.refused", "action.refused", "request.refused"]
| stats count(*) as refusals by code, tier, service
| sort refusals desc""",
    "slowest first texts": """\
filter message in ["run.ended", "run.handed_back"] and ispresent(ttft_ms)
| fields @timestamp, run_id, tier, ttft_ms, input_tokens, cached_share, worker_id, trace_id
| sort ttft_ms desc
| limit 50""",
    "cache misses": """\
filter message = "run.ended" and kind = "answer" and prefix_tokens > 0
| fields @timestamp, run_id, tier, prefix_tokens, cached_tokens, at_favourite, ttft_ms, worker_id
| filter cached_tokens < prefix_tokens / 2
| sort prefix_tokens desc
| limit 100""",
    "longest waits": """\
filter message = "run.claimed" and ispresent(queue_ms)
| fields @timestamp, run_id, tier, queue_ms, worker_id
| sort queue_ms desc
| limit 50""",
    "answers that failed": """\
filter message in ["engine.fault", "run.left"] or (message = "run.ended" and status = "failed")
| fields @timestamp, message, run_id, tier, worker_id, reason, epoch, trace_id
| sort @timestamp desc
| limit 100""",
    "faults and trouble": """\
filter message in ["action.failed", "request.failed", "action.busy", "request.busy"]
| fields @timestamp, service, message, reason, exception_name, trace_id
| sort @timestamp desc
| limit 100""",
    "workers": """\
filter message = "worker.slots"
| stats latest(busy_slots) as busy, latest(slots) as has, latest(ready) as engine,
    latest(viewers) as watching, max(@timestamp) as last_heard by worker_id
| sort last_heard desc""",
}
"""By name. Fields are those of the lines in docs/operations.md."""
