"""Titles on the whole way: from an answer in a chat without one to the chat's title."""

import asyncio
from dataclasses import replace

import pytest

from chatcore.domain import title
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.run import Kind, Status
from chatcore.protocol.queue import job_for
from chatcore.services.title import ask_for_title
from tests.simulation.engine import Break, Hang, words
from tests.unit.worker.backstage import LOWEST, TITLE, Scripts, chat_of, runs_of, settled
from tests.unit.worker.stage import ALICE, ANSWER, Stage
from virtual_clock.loop import in_virtual_time, now_ms


@in_virtual_time
async def test_a_chat_gets_its_title_from_its_first_turn() -> None:
    stage = Stage(script_for=Scripts())
    stage.start()
    run = stage.send(text="What is it?")
    await settled()
    assert chat_of(stage, run).title == TITLE
    (asked,) = [prompt for prompt in stage.engine.prompts if title.OPENING in prompt]
    assert "What is it?" in asked
    assert ANSWER in asked
    (made,) = runs_of(stage, Kind.TITLE)
    assert made.status is Status.COMPLETED
    assert stage.stores.runs.get(made.run_id) is None
    # Nothing of it is the chat's, the user's account's or his usage's.
    assert len(stage.database.messages) == 2
    assert stage.stores.ledgers.get(ALICE.user_id).settled_runs == 1
    (day,) = stage.database.usage.values()
    assert day.runs == 1
    assert chat_of(stage, run).usage == stage.stored(run).usage
    assert not [each for each in stage.screens.frames() if each["run_id"] == made.run_id]


@in_virtual_time
async def test_it_is_asked_for_once() -> None:
    stage = Stage(script_for=Scripts())
    stage.start()
    run = stage.send()
    await settled()
    stage.send("message-0002", chat_id=run.chat_id)
    await settled()
    assert len(runs_of(stage, Kind.TITLE)) == 1


@in_virtual_time
async def test_a_persons_title_stays() -> None:
    stage = Stage(script_for=Scripts(title=words(TITLE, after_s=1.0)))
    stage.start()
    run = stage.send()
    await asyncio.sleep(2)
    assert runs_of(stage, Kind.TITLE)
    stage.stores.chats.rename(ALICE.user_id, run.chat_id, "Mine")
    await settled()
    (made,) = runs_of(stage, Kind.TITLE)
    assert made.status is Status.COMPLETED
    assert chat_of(stage, run).title == "Mine"


@in_virtual_time
async def test_a_chat_that_has_one_is_not_named() -> None:
    stage = Stage(script_for=Scripts(title=[Hang()]))
    stage.start()
    run = stage.send()
    await asyncio.sleep(1)
    stage.stores.chats.rename(ALICE.user_id, run.chat_id, "Mine")
    await settled()
    stage.send("message-0002", chat_id=run.chat_id)
    await settled()
    assert len(runs_of(stage, Kind.TITLE)) == 1


@pytest.mark.parametrize("answer", ["", '""', "..."])
@in_virtual_time
async def test_where_the_engine_says_none_the_next_answer_asks(answer: str) -> None:
    scripts = Scripts(title=words(answer))
    stage = Stage(script_for=scripts)
    stage.start()
    run = stage.send()
    await settled()
    assert chat_of(stage, run).title is None
    scripts.title = words(TITLE)
    stage.send("message-0002", chat_id=run.chat_id)
    await settled()
    assert chat_of(stage, run).title == TITLE


@in_virtual_time
async def test_no_title_is_asked_for_over_an_answer_that_failed() -> None:
    stage = Stage(script_for=Scripts(answer=[Break(ValueError("broken"))]))
    stage.start()
    run = stage.send()
    await settled(60)
    assert stage.stored(run).status is Status.FAILED
    assert runs_of(stage, Kind.TITLE) == []


@in_virtual_time
async def test_a_title_run_that_is_delivered_after_its_end_is_acknowledged() -> None:
    stage = Stage(script_for=Scripts())
    stage.start()
    stage.send()
    await settled()
    (made,) = runs_of(stage, Kind.TITLE)
    prompts = len(stage.engine.prompts)
    stage.lanes.send(LOWEST, job_for(made))
    await settled()
    assert stage.lanes.waiting(LOWEST) == 0
    await settled(120)
    assert stage.lanes.receive(LOWEST, 0) is None
    assert len(stage.engine.prompts) == prompts


@in_virtual_time
async def test_a_title_that_cannot_be_written_now_is_written_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(script_for=Scripts())
    chats = type(stage.stores.chats)
    entitle, tries = chats.entitle, []

    def failing(self: object, *args: str) -> bool:
        tries.append(now_ms())
        if len(tries) < 3:
            raise StoreUnavailable("throttled")
        return entitle(stage.stores.chats, *args)

    monkeypatch.setattr(chats, "entitle", failing)
    stage.start()
    run = stage.send()
    await settled(300)
    assert chat_of(stage, run).title == TITLE
    (made,) = runs_of(stage, Kind.TITLE)
    assert made.status is Status.COMPLETED


@in_virtual_time
async def test_of_a_chat_that_is_gone_there_is_nothing_to_name() -> None:
    stage = Stage(script_for=Scripts())
    run = stage.send()
    asked = ask_for_title(stage.stores, stage.lanes, replace(run, message_seq=5), now_ms())
    assert asked is not None
    stage.stores.chats.remove(ALICE.user_id, run.chat_id)
    stage.stores.runs.remove([run.run_id])
    stage.start()
    await settled(60)
    assert stage.runs.ever[asked.run_id].status is Status.FAILED
    assert not stage.database.chats
