"""Compactions on the whole way: a chat grows, its older part becomes a summary, and the prompts go on."""

import asyncio
from dataclasses import replace

import pytest

from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.adapters.memory.states import MemoryWaits
from chatcore.domain import compaction
from chatcore.domain.compaction import ASK_AGAIN_MS
from chatcore.domain.context import SUMMARY_OPENING
from chatcore.domain.context_plan import TailFrom
from chatcore.domain.errors import Code, EngineFailed, EngineRefused, StoreUnavailable
from chatcore.domain.run import Status
from chatcore.ports import Claimed
from chatcore.services.compact import NotNeeded, plan
from chatcore.services.purge import PurgeState, purge
from tests.simulation.engine import Break, Hang, Script, words
from tests.unit.worker.backstage import (
    LOWEST,
    QUESTION,
    SUMMARY,
    TOKEN,
    TURNS,
    Scripts,
    chat_of,
    chatted,
    chatted_until_asked,
    made,
    settled,
    summarise,
    went_on,
)
from tests.unit.worker.stage import ALICE, ANSWER, LIMITS, Stage
from virtual_clock.loop import in_virtual_time, now_ms


@in_virtual_time
async def test_the_next_prompt_holds_the_summary_and_begins_with_its_tail() -> None:
    stage = Stage(script_for=Scripts())
    stage.start()
    run = await chatted(stage, TURNS - 1)
    assert stage.compactions.started == []
    run = await chatted(stage, 1, run.chat_id)
    (asked,) = stage.compactions.started
    assert (asked.user_id, asked.chat_id, asked.summary_id) == (ALICE.user_id, run.chat_id, "")
    job = summarise(stage, asked)
    await settled()
    assert stage.waits.outcomes == {TOKEN: ""}
    (prompt,) = [each for each in stage.engine.prompts if compaction.OPENING in each]
    assert prompt.count("No. ") == TURNS - 1
    assert ANSWER in prompt
    assert went_on(stage, asked)
    summary = stage.stores.summaries.get(run.chat_id, job.run_id)
    assert summary is not None
    assert (summary.version, summary.up_to_seq, summary.text) == (1, asked.up_to_seq, SUMMARY)
    assert chat_of(stage, run).summary_id == job.run_id
    later = stage.send("message-9999", chat_id=run.chat_id, text="And now?")
    await settled()
    prompt = stage.engine.prompts[-1]
    assert f"{SUMMARY_OPENING}\n> ## Facts\n> - The parrot is called Coco." in prompt
    # What the tail holds in full: the last turn before this one.
    tail = prompt[prompt.index("Coco.") :]
    assert tail.count(f"<|im_start|>user\nNo. {TURNS - 1}. {QUESTION}") == 1
    made_up = stage.stored(later).context
    assert made_up is not None
    assert made_up.summary is not None
    assert made_up.summary.version == 1
    assert made_up.tail.begins is TailFrom.THE_SUMMARY
    assert made_up.tail.first_seq > asked.up_to_seq
    # The engine had read what it begins with before anybody asked.
    ahead = stage.engine.prompts[-2]
    assert prompt.startswith(ahead)
    assert ahead.count(f"No. {TURNS - 1}. {QUESTION}") == 1
    # None of it cost the user anything.
    assert stage.stores.ledgers.get(ALICE.user_id).settled_runs == TURNS + 1


class _DeafAtFirst(MemoryWaits):
    def succeed(self, token: str) -> None:
        if self.beats.setdefault("deaf", 0):
            MemoryWaits.succeed(self, token)
            return
        self.beats["deaf"] = 1
        raise StoreUnavailable("throttled")


@in_virtual_time
async def test_whoever_finds_its_job_tells_the_execution() -> None:
    stage = Stage(script_for=Scripts())
    stage.waits = _DeafAtFirst()
    stage.start()
    await chatted(stage)
    (asked,) = stage.compactions.started
    job = summarise(stage, asked)
    await settled(1)
    assert made(stage, job).status is Status.COMPLETED
    assert stage.waits.outcomes == {}
    await settled()
    assert stage.waits.outcomes == {TOKEN: ""}
    assert made(stage, job).epoch == 1
    assert went_on(stage, asked)
    assert isinstance(stage.lanes, MemoryLanes)
    assert stage.lanes.depth(LOWEST) == 0


@in_virtual_time
async def test_an_engine_that_does_not_read_ahead_costs_no_summary() -> None:
    scripts = Scripts()
    stage = Stage(script_for=scripts)
    stage.start()
    run = await chatted(stage)
    (asked,) = stage.compactions.started
    # What is read ahead has no question, so it is told to go on as an answer.
    scripts.answer = [Break(EngineFailed("it broke"))]
    summarise(stage, asked)
    await settled()
    assert len([each for each in stage.engine.prompts if each.endswith("<|im_end|>\n")]) == 1
    assert went_on(stage, asked)
    assert chat_of(stage, run).compacting == ""


@in_virtual_time
async def test_a_worker_that_does_not_know_the_chat_reads_nothing_ahead() -> None:
    stage = Stage(script_for=Scripts())
    worker = stage.start()
    await chatted(stage)
    (asked,) = stage.compactions.started
    await stage.stopped(worker)
    stage.start("worker-2")
    summarise(stage, asked)
    await settled(20)
    assert not [each for each in stage.engine.prompts if each.endswith("<|im_end|>\n")]
    assert went_on(stage, asked)


@in_virtual_time
async def test_one_after_the_other_they_speak_for_every_message_once() -> None:
    stage = Stage(script_for=Scripts())
    stage.start()
    run = await chatted(stage, 1)
    spoken_for, former = 0, ""
    for number in range(4):
        asked = await chatted_until_asked(stage, run.chat_id)
        assert asked.up_to_seq > spoken_for
        assert asked.summary_id == former
        job = summarise(stage, asked, f"token-{number}")
        assert job.prior_seq == spoken_for
        await settled()
        assert went_on(stage, asked, f"token-{number}")
        spoken_for, former = asked.up_to_seq, job.run_id
    quoted = "".join(each for each in stage.engine.prompts if compaction.OPENING in each)
    for number in range(len(stage.stores.messages.between(run.chat_id, 0, spoken_for)) // 2):
        assert quoted.count(f"No. {number}. ") == 1
    assert quoted.count("The parrot is called Coco.") == 3
    summary = stage.stores.summaries.get(run.chat_id, former)
    assert summary is not None
    assert summary.version == 4


@in_virtual_time
async def test_one_that_never_comes_is_asked_for_again_after_a_while() -> None:
    stage = Stage(script_for=Scripts())
    stage.start()
    run = await chatted(stage)
    assert len(stage.compactions.started) == 1
    await chatted(stage, 3, run.chat_id)
    assert len(stage.compactions.started) == 1
    await settled(ASK_AGAIN_MS / 1000)
    stage.send("message-later", chat_id=run.chat_id)
    await settled()
    first, second = stage.compactions.started
    assert second.up_to_seq > first.up_to_seq


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (words(""), Code.ENGINE_ERROR),
        (words("I am sorry."), Code.ENGINE_ERROR),
        (words(SUMMARY + " word" * 3_000, after_s=0.001), Code.ENGINE_ERROR),
        ([Break(EngineRefused("no"))], Code.ENGINE_ERROR),
        ([Break(EngineFailed("down"))], Code.ENGINE_ERROR),
    ],
    ids=["empty", "no sections", "too long", "refused", "failing"],
)
@in_virtual_time
async def test_one_that_the_engine_does_not_give_changes_nothing(said: Script, code: Code) -> None:
    stage = Stage(script_for=Scripts(summary=said))
    stage.start()
    run = await chatted(stage)
    (asked,) = stage.compactions.started
    before = chat_of(stage, run)
    job = summarise(stage, asked)
    await settled(60)
    assert stage.waits.outcomes == {TOKEN: str(code)}
    assert made(stage, job).status is Status.FAILED
    assert not went_on(stage, asked)
    assert chat_of(stage, run) == before
    assert stage.database.summaries == {}
    stage.send("message-9999", chat_id=run.chat_id)
    await settled()
    assert SUMMARY_OPENING not in stage.engine.prompts[-1]


@in_virtual_time
async def test_a_worker_that_leaves_midway_leaves_it_to_another() -> None:
    stage = Stage(script_for=Scripts(summary=words(SUMMARY, after_s=3.0)))
    worker = stage.start()
    run = await chatted(stage)
    (asked,) = stage.compactions.started
    job = summarise(stage, asked)
    await settled(4)
    assert made(stage, job).status is Status.RUNNING
    await stage.stopped(worker)
    assert stage.waits.outcomes == {}
    stage.start("worker-2")
    await settled(60)
    assert made(stage, job).epoch == 2
    assert stage.waits.outcomes == {TOKEN: ""}
    assert went_on(stage, asked)
    # Begun anew: nothing of the first try is in it twice.
    summary = stage.stores.summaries.get(run.chat_id, job.run_id)
    assert summary is not None
    assert summary.text == SUMMARY


@in_virtual_time
async def test_one_that_died_with_its_worker_is_made_by_another() -> None:
    stage = Stage(script_for=Scripts())
    worker = stage.start()
    run = await chatted(stage)
    await stage.stopped(worker)
    (asked,) = stage.compactions.started
    job = summarise(stage, asked)
    claim = stage.stores.runs.claim(job.run_id, "worker-dead", "inbox-dead", now_ms())
    assert isinstance(claim, Claimed)
    stage.start("worker-2")
    await settled(10)
    assert made(stage, job).worker_id == "worker-dead"
    await settled(60)
    assert (made(stage, job).epoch, made(stage, job).status) == (2, Status.COMPLETED)
    assert stage.waits.outcomes == {TOKEN: ""}
    assert went_on(stage, asked)
    assert chat_of(stage, run).summary_id == job.run_id


@in_virtual_time
async def test_the_machine_hears_that_it_is_worked_on_and_stops_it_by_not_waiting() -> None:
    patient = replace(LIMITS, next_token_timeout_s=1_000.0)
    stage = Stage(script_for=Scripts(summary=[*words("## Facts", 1.0), Hang()]), limits=patient)
    stage.start()
    await chatted(stage)
    (asked,) = stage.compactions.started
    job = summarise(stage, asked)
    await settled(25)
    assert stage.waits.beats[TOKEN] >= 3
    stage.waits.waiting.clear()
    await settled(10)
    assert made(stage, job).status is Status.CANCELLED
    assert stage.waits.outcomes == {}
    assert stage.database.summaries == {}


@pytest.mark.parametrize("when", ["queued", "running"])
@in_virtual_time
async def test_deleting_the_chat_stops_it(when: str) -> None:
    stage = Stage(script_for=Scripts(summary=[*words("## Facts", 1.0), Hang()]))
    worker = stage.start()
    run = await chatted(stage)
    if when == "queued":
        await stage.stopped(worker)
    (asked,) = stage.compactions.started
    job = summarise(stage, asked)
    await settled(2)

    def purged() -> PurgeState:
        return purge(stage.stores, stage.inboxes, ALICE.user_id, run.chat_id, now_ms()).state

    state = purged()
    assert (state is PurgeState.WAITING) == (when == "running")
    await settled(1)
    while state is not PurgeState.DONE:
        state = purged()
    assert made(stage, job).status is Status.CANCELLED
    if when == "queued":
        stage.start("worker-2")
    await settled(30)
    # Who only finds it gone knows no more than that nothing was made.
    code = "cancelled" if when == "running" else "not_made"
    assert stage.waits.outcomes == {TOKEN: code}
    assert not went_on(stage, asked)
    assert not stage.database.summaries
    assert not stage.database.messages
    assert not stage.database.chats
    assert plan(stage.stores, asked, now_ms()) is NotNeeded.CHAT_GONE


@in_virtual_time
async def test_of_two_at_once_one_is_made() -> None:
    stage = Stage(script_for=Scripts())
    worker = stage.start()
    run = await chatted(stage)
    # Another worker makes the next answer: it does not know that one was asked for.
    await stage.stopped(worker)
    stage.start("worker-2")
    await chatted(stage, 1, run.chat_id)
    first, second = stage.compactions.started
    summarise(stage, first)
    assert plan(stage.stores, second, now_ms()) is NotNeeded.OUTDATED
    await settled()
    assert went_on(stage, first)
    assert plan(stage.stores, second, now_ms()) is NotNeeded.OUTDATED
    assert len(stage.database.summaries) == 1


@in_virtual_time
async def test_an_answer_that_streams_meanwhile_is_not_touched() -> None:
    scripts = Scripts()
    stage = Stage(script_for=scripts)
    stage.start()
    run = await chatted(stage)
    (asked,) = stage.compactions.started
    scripts.answer = words(ANSWER, after_s=2.0)
    streaming = stage.send("message-8888", chat_id=run.chat_id, text="And now?")
    await asyncio.sleep(3)
    summarise(stage, asked)
    await asyncio.sleep(5)
    assert went_on(stage, asked)
    assert stage.stored(streaming).status is Status.RUNNING
    await settled(30)
    assert stage.answer(streaming) == ANSWER
    assert SUMMARY_OPENING not in next(
        each
        for each in stage.engine.prompts
        if each.endswith("And now?<|im_end|>\n<|im_start|>assistant\n")
    )
    scripts.answer = words(ANSWER)
    stage.send("message-9999", chat_id=run.chat_id)
    await settled()
    prompt = stage.engine.prompts[-1]
    assert SUMMARY_OPENING in prompt
    assert "And now?" in prompt


@in_virtual_time
async def test_a_run_that_was_sent_before_the_commit_goes_by_the_summary_of_then() -> None:
    scripts = Scripts()
    stage = Stage(script_for=scripts)
    worker = stage.start()
    run = await chatted(stage)
    first = summarise(stage, stage.compactions.started[0])
    await settled()
    assert went_on(stage, stage.compactions.started[0])
    asked = await chatted_until_asked(stage, run.chat_id)
    scripts.summary = words(SUMMARY.replace("Coco", "Kiki"))
    summarise(stage, asked, "token-2")
    await settled()
    await stage.stopped(worker)
    waiting = stage.send("message-9999", chat_id=run.chat_id, text="Its name?")
    assert waiting.summary_id == first.run_id
    assert went_on(stage, asked, "token-2")
    stage.start("worker-2")
    await settled()
    assert stage.stored(waiting).status is Status.COMPLETED
    assert (
        f"{SUMMARY_OPENING}\n> ## Facts\n> - The parrot is called Coco." in stage.engine.prompts[-1]
    )
    stage.send("message-later", chat_id=run.chat_id, text="Its name?")
    await settled()
    assert "> - The parrot is called Kiki." in stage.engine.prompts[-1]
