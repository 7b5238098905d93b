"""What X-Ray is told of a run: a segment that hangs on the function's, where the trace is sampled."""

import asyncio
import json
import re
from itertools import pairwise

import pytest

from chatcore.domain.errors import EngineFailed
from gpu_service.worker.live import Stop
from tests.simulation.engine import Break, Hang, Say, Script, words
from tests.unit.worker.stage import TRACE_ID, Stage
from virtual_clock.loop import in_virtual_time, now_ms

PARENT = "53995c3f42cd8ad8"


def stage_saying(script: Script) -> Stage:
    return Stage(script_for=lambda prompt: script)


@in_virtual_time
async def test_a_traced_run_is_told_of_once_and_hangs_on_its_send() -> None:
    stage = stage_saying([Say("one ", 1.0), Say("two", 0.5)])
    stage.start()
    began_ms = now_ms()
    run = stage.send(trace_parent=PARENT)
    await asyncio.sleep(5)
    (segment,) = stage.segments
    document = json.loads(segment.document())
    assert (document["trace_id"], document["parent_id"]) == (TRACE_ID, PARENT)
    assert re.fullmatch(r"[0-9a-f]{16}", document["id"])
    assert document["name"] == "worker"
    assert document["fault"] is False
    assert document["annotations"]["run_id"] == run.run_id
    assert document["annotations"]["status"] == "completed"
    parts = document["subsegments"]
    assert [part["name"] for part in parts] == ["prompt", "prefill", "answer", "settle"]
    assert len({document["id"], PARENT, *(part["id"] for part in parts)}) == 6
    # One after the other, in seconds, and all of the whole.
    assert document["start_time"] == parts[0]["start_time"] >= began_ms / 1000
    assert document["end_time"] == parts[-1]["end_time"]
    for former, latter in pairwise(parts):
        assert former["end_time"] == latter["start_time"]
    lengths = [part["end_time"] - part["start_time"] for part in parts]
    assert lengths[1:3] == [pytest.approx(1.0, abs=0.01), pytest.approx(0.5, abs=0.01)]


@in_virtual_time
async def test_a_run_that_is_not_sampled_is_not_told_of() -> None:
    stage = stage_saying(words("so it goes"))
    stage.start()
    stage.send()
    await asyncio.sleep(5)
    assert stage.segments == []


@in_virtual_time
async def test_a_run_that_failed_is_a_fault() -> None:
    stage = stage_saying([Break(EngineFailed("it broke"))])
    stage.start()
    stage.send(trace_parent=PARENT)
    await asyncio.sleep(40)
    (segment,) = stage.segments
    document = json.loads(segment.document())
    assert document["fault"] is True
    assert [part["name"] for part in document["subsegments"]] == [
        "prompt",
        "prefill",
        "settle",
    ] or [part["name"] for part in document["subsegments"]] == ["prompt", "settle"]


@in_virtual_time
async def test_a_run_that_was_handed_on_is_still_part_of_the_trace() -> None:
    stage = stage_saying([Say("one ", 1.0), Hang()])
    worker = stage.start()
    run = stage.send(trace_parent=PARENT)
    await asyncio.sleep(2)
    worker._live[run.run_id].break_off(Stop.PREEMPT)
    await asyncio.sleep(1)
    stage.engine.script_for = lambda prompt: words("and on")
    worker._live[run.run_id].break_off(Stop.PREEMPT)
    await asyncio.sleep(5)
    (segment,) = stage.segments
    assert (segment.trace_id, segment.parent_id) == (TRACE_ID, PARENT)
    assert segment.annotations["epoch"] == 3
