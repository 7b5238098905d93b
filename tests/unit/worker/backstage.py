"""Owns what the tests of titles and summaries need beside a stage: an engine that knows what it is asked,
long chats, and the steps of the state machine, made by hand."""

import asyncio
from dataclasses import dataclass, field

import msgspec

from chatcore.domain import compaction, title
from chatcore.domain.chat import Chat
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.domain.run import Kind, Run
from chatcore.domain.summary import SummaryAsked
from chatcore.domain.tiers import Tier
from chatcore.protocol.queue import Job
from chatcore.services.compact import commit, plan, release
from tests.simulation.engine import Script, words
from tests.unit.worker.stage import ALICE, ANSWER, Stage
from virtual_clock.loop import now_ms

SUMMARY = "## Facts\n- The parrot is called Coco."
TITLE = "About a parrot"
QUESTION = "Tell me more about the parrot. " * 45
"""About 350 of the stage's tokens: five such turns are past the high mark of Alice's tier."""

TURNS = 5
LOWEST = Lane(Tier.BACKGROUND, RETURNS)
TOKEN = "token-1"


@dataclass
class Scripts:
    """What the engine says to each kind of prompt."""

    answer: Script = field(default_factory=lambda: words(ANSWER))
    summary: Script = field(default_factory=lambda: words(SUMMARY))
    title: Script = field(default_factory=lambda: words(TITLE))

    def __call__(self, prompt: str) -> Script:
        if compaction.OPENING in prompt:
            return self.summary
        return self.title if title.OPENING in prompt else self.answer


async def settled(seconds: float = 8) -> None:
    await asyncio.sleep(seconds)


async def chatted(stage: Stage, turns: int = TURNS, chat_id: str | None = None) -> Run:
    """So many turns, each answered before the next; the last one's run."""
    run = None
    for _ in range(turns):
        number = len(stage.database.messages) // 2
        run = stage.send(f"message-{number:04d}", chat_id=chat_id, text=f"No. {number}. {QUESTION}")
        chat_id = run.chat_id
        await settled()
    assert run is not None
    return run


async def chatted_until_asked(stage: Stage, chat_id: str) -> SummaryAsked:
    """Turn after turn, until another compaction is started."""
    before = len(stage.compactions.started)
    while len(stage.compactions.started) == before:
        await chatted(stage, 1, chat_id)
    return stage.compactions.started[-1]


def made(stage: Stage, job: Job) -> Run:
    """As it was last: with its end it is gone."""
    return stage.runs.ever[job.run_id]


def chat_of(stage: Stage, run: Run) -> Chat:
    chat = stage.stores.chats.get(ALICE.user_id, run.chat_id)
    assert chat is not None
    return chat


def summarise(stage: Stage, asked: SummaryAsked, token: str = TOKEN) -> Job:
    """The machine's first steps: plan, and put the job into the lowest lane, waiting for its end."""
    job = plan(stage.stores, asked, now_ms())
    assert isinstance(job, Job)
    job = msgspec.structs.replace(job, task_token=token)
    stage.waits.waiting.add(token)
    stage.lanes.send(LOWEST, job)
    return job


def went_on(stage: Stage, asked: SummaryAsked, token: str = TOKEN) -> bool:
    """Its last step, by what it was told: whether the chat has the summary."""
    if stage.waits.outcomes[token]:
        release(stage.stores, asked)
        return False
    return commit(stage.stores, asked)


def runs_of(stage: Stage, kind: Kind) -> list[Run]:
    return [run for run in stage.runs.ever.values() if run.kind is kind]
