"""What a worker measures of its runs and of itself, as its log lines say it to CloudWatch."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chatcore.domain.errors import EngineFailed
from chatcore.ports import Posted
from chatcore.protocol.queue import Attach, Cancel
from chatcore.services.cancel import cancel
from gpu_service.worker.live import Stop
from gpu_service.worker.measures import OF_THE_WORKER, TELL_EVERY_S
from tests.measured import Line, Lines, Measured, measured
from tests.simulation.engine import Break, Hang, Say, Script, words
from tests.unit.worker.stage import ALICE, Calls, Stage
from virtual_clock.loop import in_virtual_time, now_ms

FOUR_WORDS: Script = [Say("one ", 1.0), Say("two ", 0.2), Say("three ", 0.3), Say("four", 0.1)]
POLL_S = 0.2
"""How long a job may lie in its lane until a fake's long poll looks again."""


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> Lines:
    return Lines(request.node.nodeid)


def stage_of(lines: Lines, *scripts: Script, **changes: Any) -> Stage:
    """The engine plays one script after the other, the last again and again; titles do not count."""
    left = list(scripts)

    def script_for(prompt: str) -> Script:
        return left.pop(0) if len(left) > 1 else left[0]

    return Stage(script_for=script_for, logger=lines.logger, **changes)


def of_answers(lines: Lines, message: str) -> list[Line]:
    return [line for line in lines.all(message) if line["tier"] == "free"]


def ended(lines: Lines) -> tuple[Line, Measured]:
    (line,) = of_answers(lines, "run.ended")
    return line, measured(line)


class TestARunsEnd:
    @in_virtual_time
    async def test_tells_how_long_it_took_and_what_it_used(self, lines: Lines) -> None:
        stage = stage_of(lines, FOUR_WORDS)
        stage.start()
        await asyncio.sleep(1)
        run = stage.send()
        await asyncio.sleep(4)
        line, found = ended(lines)
        assert found.dimensions == {"service": "worker", "tier": "free"}
        values = found.values
        assert 1000 <= values["ttft_ms"] <= 1000 + POLL_S * 1000 + 50
        assert values["itl_ms"] == pytest.approx(200, abs=1)
        assert values["total_ms"] == pytest.approx(values["ttft_ms"] + 600, abs=2)
        assert values["slot_s"] == pytest.approx(1.6, abs=0.01)
        usage = stage.stored(run).usage
        assert usage is not None
        assert values["input_tokens"] == usage.input_tokens > 0
        assert (values["cached_tokens"], values["output_tokens"]) == (0, 4)
        statuses = [values[name] for name in ("completed", "failed", "cancelled")]
        assert statuses == [1, 0, 0]
        assert (values["rewinds"], values["preemptions"]) == (0, 0)
        assert "cancel_ms" not in values
        assert (line["kind"], line["finish_reason"], line["epoch"]) == ("answer", "stop", 1)
        assert (line["cached_share"], line["at_favourite"]) == (0.0, False)
        assert line["run_id"] == run.run_id

    @in_virtual_time
    async def test_of_one_word_has_no_time_between_words(self, lines: Lines) -> None:
        stage = stage_of(lines, [Say("Yes.", 1.0)])
        stage.start()
        stage.send()
        await asyncio.sleep(4)
        _, found = ended(lines)
        assert "ttft_ms" in found.values
        assert "itl_ms" not in found.values

    @in_virtual_time
    async def test_of_a_failure_counts_as_one_and_has_no_pace(self, lines: Lines) -> None:
        stage = stage_of(lines, [Say("one ", 0.1), Break(EngineFailed("it broke"), 1.0)])
        stage.start()
        stage.send()
        await asyncio.sleep(30)
        line, found = ended(lines)
        assert (found.values["completed"], found.values["failed"]) == (0, 1)
        assert "itl_ms" not in found.values
        # Four epochs: three times somebody had to go on with it.
        assert (line["epoch"], found.values["rewinds"]) == (4, 3)

    @in_virtual_time
    async def test_of_a_run_in_the_background_is_its_tiers(self, lines: Lines) -> None:
        stage = stage_of(lines, words("A title"))
        stage.start()
        stage.send()
        await asyncio.sleep(5)
        (title,) = [line for line in lines.all("run.ended") if line["kind"] == "title"]
        assert measured(title).dimensions["tier"] == "background"


class TestTheFirstText:
    @in_virtual_time
    async def test_counts_when_it_is_on_its_way_to_somebody(self, lines: Lines) -> None:
        stage = stage_of(lines, FOUR_WORDS)
        stage.screens.outcomes["socket-1"] = [Posted.SENT, Posted.THROTTLED, Posted.THROTTLED]
        stage.start()
        stage.send()
        await asyncio.sleep(4)
        (first,) = of_answers(lines, "run.first_token")
        _, found = ended(lines)
        # After the first and the second pause between failing posts.
        late_ms = found.values["ttft_ms"] - (first["first_token_ms"] - first["created_ms"])
        assert late_ms == pytest.approx(300, abs=5)

    @in_virtual_time
    async def test_counts_when_it_is_there_where_nobody_watches(self, lines: Lines) -> None:
        stage = stage_of(lines, FOUR_WORDS)
        stage.start()
        stage.send(viewer=None)
        await asyncio.sleep(4)
        (first,) = of_answers(lines, "run.first_token")
        _, found = ended(lines)
        assert found.values["ttft_ms"] == first["first_token_ms"] - first["created_ms"]

    @in_virtual_time
    async def test_is_not_late_because_somebody_comes_late(self, lines: Lines) -> None:
        stage = stage_of(lines, words("so it goes on and on and on", 1.0))
        stage.start()
        run = stage.send(viewer=None)
        await asyncio.sleep(5)
        stage.inboxes.send(
            "worker-1", Attach(run_id=run.run_id, connection_id="socket-1", offset=0)
        )
        await asyncio.sleep(10)
        assert stage.screens.text() == "so it goes on and on and on"
        _, found = ended(lines)
        assert found.values["ttft_ms"] <= 1000 + POLL_S * 1000 + 50

    @in_virtual_time
    async def test_is_told_by_the_worker_that_said_it(self, lines: Lines) -> None:
        stage = stage_of(lines, words("so it goes on and on", 1.0), words("and on"))
        worker = stage.start()
        run = stage.send()
        await asyncio.sleep(3)
        worker._live[run.run_id].break_off(Stop.PREEMPT)
        await asyncio.sleep(10)
        (handed_back,) = of_answers(lines, "run.handed_back")
        assert measured(handed_back).values["ttft_ms"] <= 1000 + POLL_S * 1000 + 50
        assert measured(handed_back).values["slot_s"] == pytest.approx(3, abs=POLL_S)
        assert measured(handed_back).dimensions == {"service": "worker", "tier": "free"}
        _, found = ended(lines)
        assert "ttft_ms" not in found.values
        assert (found.values["rewinds"], found.values["preemptions"]) == (1, 1)


class TestACancel:
    @in_virtual_time
    async def test_is_measured_from_the_request_to_the_free_slot(self, lines: Lines) -> None:
        stage = stage_of(lines, [*FOUR_WORDS, Hang()])
        stage.start()
        run = stage.send()
        await asyncio.sleep(2.5)
        asked_ms = now_ms() - 700
        stage.inboxes.send("worker-1", Cancel(run_id=run.run_id, asked_ms=asked_ms))
        await asyncio.sleep(1)
        _, found = ended(lines)
        assert 700 <= found.values["cancel_ms"] <= 700 + POLL_S * 1000 + 5
        statuses = [found.values[name] for name in ("completed", "failed", "cancelled")]
        assert statuses == [0, 0, 1]

    @in_virtual_time
    async def test_before_the_run_has_begun_here_is_measured_too(self, lines: Lines) -> None:
        stage = stage_of(lines, FOUR_WORDS, calls=Calls(delay_s=1.0))
        stage.start()
        await asyncio.sleep(2)
        run = stage.send()
        await asyncio.sleep(0.4)
        stage.inboxes.send("worker-1", Cancel(run_id=run.run_id, asked_ms=now_ms()))
        await asyncio.sleep(5)
        _, found = ended(lines)
        assert 0 < found.values["cancel_ms"] < 2_000

    @in_virtual_time
    async def test_of_which_only_the_note_is_found_is_not_measured(self, lines: Lines) -> None:
        stage = stage_of(lines, words("a very long answer " * 4, 1.0))
        stage.start()
        run = stage.send()
        await asyncio.sleep(2)
        stage.stores.runs.request_cancel(run.run_id)
        await asyncio.sleep(8)
        _, found = ended(lines)
        assert found.values["cancelled"] == 1
        assert "cancel_ms" not in found.values

    @in_virtual_time
    async def test_says_when_it_was_asked_for(self, lines: Lines) -> None:
        stage = stage_of(lines, words("a very long answer " * 4, 1.0))
        stage.start()
        run = stage.send()
        await asyncio.sleep(2)
        cancel(stage.stores, stage.inboxes, ALICE, run.run_id, now_ms() - 50)
        await asyncio.sleep(1)
        _, found = ended(lines)
        assert 50 <= found.values["cancel_ms"] <= 50 + POLL_S * 1000 + 5


class TestAClaim:
    @in_virtual_time
    async def test_tells_how_long_the_run_waited_for_its_first_slot(self, lines: Lines) -> None:
        stage = stage_of(lines, words("so it goes on and on", 1.0), words("and on"))
        run = stage.send()
        await asyncio.sleep(7)
        worker = stage.start()
        await asyncio.sleep(2)
        worker._live[run.run_id].break_off(Stop.PREEMPT)
        await asyncio.sleep(5)
        first, second = of_answers(lines, "run.claimed")
        found = measured(first)
        assert found.units == {"queue_ms": "Milliseconds"}
        assert found.dimensions == {"service": "worker", "tier": "free"}
        assert 7000 <= found.values["queue_ms"] <= 7000 + POLL_S * 1000 + 50
        assert "_aws" not in second


class TestTheWorker:
    @in_virtual_time
    async def test_tells_of_its_slots_every_few_seconds(self, lines: Lines) -> None:
        stage = stage_of(lines, [Hang()])
        stage.start()
        stage.send()
        await asyncio.sleep(8)
        told = lines.all("worker.slots")
        assert len(told) == 8 // TELL_EVERY_S + 1
        found = measured(told[-1])
        assert found.dimensions == {"service": "worker"}
        assert set(found.units.values()) == {"Count"}
        assert found.values == {
            "slots": 2,
            "busy_slots": 1,
            "ready": 1,
            "offers": 0,
            "viewers": 1,
            "posts": 1,
            "post_failures": 0,
            "throttled_posts": 0,
        }
        assert told[-1]["running"] == {"free": 1}

    @in_virtual_time
    async def test_is_not_ready_while_its_engine_is_away(self, lines: Lines) -> None:
        stage = stage_of(lines, [Hang()])
        stage.engine.well = False
        stage.start()
        await asyncio.sleep(6)
        stage.engine.well = True
        await asyncio.sleep(6)
        ready = [measured(line).values["ready"] for line in lines.all("worker.slots")]
        assert (ready[0], ready[-1]) == (0, 1)

    @in_virtual_time
    async def test_tells_of_each_post_once_also_of_the_last_ones(self, lines: Lines) -> None:
        limits = replace(Stage().limits, drain_s=20.0)
        stage = stage_of(lines, words("so it goes on and on and on", 1.0), limits=limits)
        stage.screens.outcomes["socket-1"] = [Posted.THROTTLED, Posted.FAILED, Posted.THROTTLED]
        worker = stage.start()
        stage.send()
        await asyncio.sleep(1)
        # It says the rest while it leaves.
        await stage.stopped(worker)
        told = [measured(line).values for line in lines.all("worker.slots")]
        taken = len(stage.screens.told)
        assert told[-1]["posts"] > 0
        assert sum(each["posts"] for each in told) == taken + 3
        assert sum(each["post_failures"] for each in told) == 1
        assert sum(each["throttled_posts"] for each in told) == 2


def test_no_metric_is_told_in_two_units() -> None:
    units = {(name, unit) for each in OF_THE_WORKER for name, unit in each.units.items()}
    assert len(units) == len({name for name, _ in units})
