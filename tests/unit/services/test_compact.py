"""The steps of a compaction: each may be repeated or be late, and no step leaves half of something."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chatcore.domain.chat import STALE_COMPACTION_MS, Chat
from chatcore.domain.errors import Conflict, StoreUnavailable
from chatcore.domain.run import Kind, Run
from chatcore.domain.summary import Summary, SummaryAsked
from chatcore.domain.tiers import Tier
from chatcore.ports import Stores
from chatcore.protocol.queue import Job, job_for
from chatcore.services.compact import NotNeeded, commit, plan, release
from tests.unit.services.test_submit import ALICE, Desk

CHAT = Chat(ALICE.user_id, "c_1", None, 1, 1, last_seq=90)
FIRST = SummaryAsked(ALICE.user_id, "c_1", "", up_to_seq=20, summary_tokens=300, asked_ms=1_000)


@dataclass
class Execution(Desk):
    """Its stores fail as planned."""

    chat: Chat = field(default=CHAT)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.stores.chats.create(self.chat)
        self.failing_stores = replace(
            self.failing_stores,
            chats=self.failing(self.stores.chats),
            summaries=self.failing(self.stores.summaries),
        )

    @property
    def stored(self) -> Chat:
        found = self.stores.chats.get(ALICE.user_id, "c_1")
        assert found is not None
        return found

    def planned(self, asked: SummaryAsked = FIRST) -> Job:
        job = plan(self.stores, asked, self.clock())
        assert isinstance(job, Job)
        return job

    def written(self, asked: SummaryAsked = FIRST) -> Summary:
        """Planned, and made by a worker."""
        job = self.planned(asked)
        former = self.stores.summaries.get("c_1", asked.summary_id)
        summary = Summary(
            "c_1", job.run_id, 1 + (former.version if former else 0), asked.up_to_seq, "…", 1
        )
        self.stores.summaries.put(summary)
        return summary

    def committed(self, asked: SummaryAsked = FIRST) -> Summary:
        summary = self.written(asked)
        assert commit(self.stores, asked)
        return summary

    def delete(self) -> None:
        self.stores.chats.mark_deleted(ALICE.user_id, "c_1", self.clock())


@pytest.fixture
def execution() -> Execution:
    return Execution()


def next_after(summary: Summary, up_to_seq: int = 40) -> SummaryAsked:
    return replace(FIRST, summary_id=summary.summary_id, up_to_seq=up_to_seq, asked_ms=2_000)


def test_planned_it_is_a_run_that_the_chat_knows_of(execution: Execution) -> None:
    job = plan(execution.stores, FIRST, execution.clock(), trace_id="t_1")
    assert isinstance(job, Job)
    run = execution.stores.runs.get(job.run_id)
    assert run == Run(
        run_id=job.run_id,
        user_id=ALICE.user_id,
        chat_id="c_1",
        tier=Tier.BACKGROUND,
        message_id="",
        message_seq=20,
        digest="",
        created_ms=execution.clock(),
        trace_id="t_1",
        kind=Kind.SUMMARY,
        summary_tokens=300,
    )
    assert job == job_for(run)
    assert execution.stored.compacting == job.run_id
    assert execution.stored.compacting_ms == execution.clock()
    assert execution.stored.summary_id == ""


def test_the_next_one_begins_where_the_former_ends(execution: Execution) -> None:
    former = execution.committed()
    job = execution.planned(next_after(former))
    assert (job.prior_seq, job.message_seq, job.summary_id) == (20, 40, former.summary_id)


def test_planned_again_it_is_the_same_job(execution: Execution) -> None:
    job = execution.planned()
    before = execution.stored
    assert execution.planned() == job
    execution.clock.advance(5_000)
    assert execution.planned().run_id == job.run_id
    assert execution.stored == before
    assert len(execution.database.runs) == 1


@pytest.mark.parametrize("gone", ["deleted", "removed", "never"])
def test_a_chat_that_is_gone_is_not_compacted(execution: Execution, gone: str) -> None:
    asked = FIRST
    if gone == "deleted":
        execution.delete()
    elif gone == "removed":
        execution.stores.chats.remove(ALICE.user_id, "c_1")
    else:
        asked = replace(FIRST, chat_id="c_2")
    assert plan(execution.stores, asked, execution.clock()) is NotNeeded.CHAT_GONE
    assert not execution.database.runs


def test_nor_is_one_that_has_another_summary_by_now(execution: Execution) -> None:
    former = execution.committed()
    late = replace(FIRST, up_to_seq=30, asked_ms=1_500)
    assert plan(execution.stores, late, execution.clock()) is NotNeeded.OUTDATED
    unknown = replace(late, summary_id="b_other")
    assert plan(execution.stores, unknown, execution.clock()) is NotNeeded.OUTDATED
    no_further = next_after(former, up_to_seq=20)
    assert plan(execution.stores, no_further, execution.clock()) is NotNeeded.OUTDATED
    assert execution.stored.compacting == ""
    assert len(execution.database.runs) == 1


def test_of_two_at_once_only_one_is_planned_until_it_is_stale(execution: Execution) -> None:
    first = execution.planned()
    other = replace(FIRST, up_to_seq=30, asked_ms=1_500)
    execution.clock.advance(STALE_COMPACTION_MS)
    assert plan(execution.stores, other, execution.clock()) is NotNeeded.OUTDATED
    assert execution.stored.compacting == first.run_id
    execution.clock.advance(1)
    second = execution.planned(other)
    assert execution.stored.compacting == second.run_id != first.run_id


def test_committed_it_is_the_chats_and_the_next_may_begin(execution: Execution) -> None:
    summary = execution.committed()
    assert execution.stored.summary_id == summary.summary_id
    assert execution.stored.compacting == ""
    assert execution.committed(next_after(summary)).version == 2


def test_a_former_summary_stays_until_the_next_is_planned(execution: Execution) -> None:
    """A run that was sent before the commit, and waits, is still answered with it."""
    first = execution.committed()
    second = execution.committed(next_after(first))
    assert execution.stores.summaries.get("c_1", first.summary_id) == first
    third = execution.written(next_after(second, up_to_seq=60))
    kept = {summary_id for _, summary_id in execution.database.summaries}
    assert kept == {second.summary_id, third.summary_id}


def test_committing_again_changes_nothing(execution: Execution) -> None:
    execution.committed()
    before, summaries = execution.stored, dict(execution.database.summaries)
    assert commit(execution.stores, FIRST)
    assert (execution.stored, execution.database.summaries) == (before, summaries)


def test_a_late_one_changes_nothing(execution: Execution) -> None:
    """It was passed over as stale; then it comes, before, while and after the other is committed."""
    late = execution.written()
    execution.clock.advance(STALE_COMPACTION_MS + 1)
    other = replace(FIRST, up_to_seq=30, asked_ms=1_500)
    made = execution.written(other)
    # Planning it has taken away what was not the chat's.
    assert execution.stores.summaries.get("c_1", late.summary_id) is None
    execution.stores.summaries.put(late)
    before = execution.stored
    assert not commit(execution.stores, FIRST)
    assert execution.stored == before
    assert commit(execution.stores, other)
    before = execution.stored
    assert not commit(execution.stores, FIRST)
    assert execution.stored == before
    assert execution.stores.summaries.get("c_1", made.summary_id) == made


def test_committing_the_former_again_takes_nothing_from_the_next(execution: Execution) -> None:
    first = execution.committed()
    second = execution.written(next_after(first))
    assert commit(execution.stores, FIRST)
    assert execution.stored.compacting == second.summary_id
    assert commit(execution.stores, next_after(first))
    assert execution.stored.summary_id == second.summary_id
    assert not commit(execution.stores, FIRST)


@pytest.mark.parametrize("gone", ["deleted", "removed"])
def test_not_after_the_chat_was_deleted(execution: Execution, gone: str) -> None:
    execution.written()
    execution.delete()
    if gone == "removed":
        execution.stores.chats.remove(ALICE.user_id, "c_1")
    assert not commit(execution.stores, FIRST)
    chat = execution.stores.chats.get(ALICE.user_id, "c_1")
    assert chat is None or (chat.summary_id, chat.compacting) == ("", "")


def test_without_its_summary_the_chat_is_released(execution: Execution) -> None:
    execution.written()
    execution.stores.summaries.remove("c_1")
    assert not commit(execution.stores, FIRST)
    assert (execution.stored.summary_id, execution.stored.compacting) == ("", "")


def test_released_the_chat_may_be_compacted_anew_even_up_to_the_same_place(
    execution: Execution,
) -> None:
    failed = execution.planned()
    release(execution.stores, FIRST)
    release(execution.stores, FIRST)
    assert execution.stored.compacting == ""
    # The same try is over for good, and its execution too.
    assert plan(execution.stores, FIRST, execution.clock()) is NotNeeded.OUTDATED
    again = replace(FIRST, asked_ms=1_500)
    assert execution.planned(again).run_id != failed.run_id
    release(execution.stores, FIRST)
    assert execution.stored.compacting != ""
    execution.stores.chats.remove(ALICE.user_id, "c_1")
    release(execution.stores, again)


def outcome_of(step: str, stores: Stores, execution: Execution, asked: SummaryAsked) -> Any:
    if step == "plan":
        return plan(stores, asked, execution.clock())
    if step == "commit":
        return commit(stores, asked)
    return release(stores, asked)


@pytest.mark.parametrize(
    "method", ["begin_compaction", "commit_summary", "end_compaction", "remove"]
)
@pytest.mark.parametrize("failure", ["before", "after", "conflict"])
def test_a_step_that_fails_at_a_write_is_made_good_by_doing_it_again(
    method: str, failure: str
) -> None:
    """Against an execution in which nothing fails."""
    well, failing = Execution(), Execution()
    second = None
    for execution in (well, failing):
        former = execution.committed()
        second = next_after(former)
    assert second is not None
    steps = {"begin_compaction": "plan", "commit_summary": "commit", "remove": "plan"}
    step = steps.get(method, "release")
    if step == "commit":
        for execution in (well, failing):
            execution.written(second)
    if step == "release":
        for execution in (well, failing):
            execution.planned(second)
    expected = outcome_of(step, well.stores, well, second)
    failing.plans[method] = [failure]
    with pytest.raises((StoreUnavailable, Conflict)):
        outcome_of(step, failing.failing_stores, failing, second)
    assert outcome_of(step, failing.failing_stores, failing, second) == expected
    assert failing.database.chats == well.database.chats
    assert failing.database.runs == well.database.runs
    assert failing.database.summaries == well.database.summaries
