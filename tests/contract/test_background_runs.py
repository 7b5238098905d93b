"""Runs in the background: they are worked on as all are, and touch nothing but themselves."""

from dataclasses import replace

import pytest

from chatcore.domain import lease
from chatcore.domain.context_plan import (
    ContextPlan,
    RecalledPart,
    SummaryPart,
    TailFrom,
    TailPart,
)
from chatcore.domain.errors import Code
from chatcore.domain.identity import background_id_for
from chatcore.domain.run import Ending, Event, FinishReason, Kind, Run, Status, Usage
from chatcore.domain.tiers import Tier
from chatcore.ports import Over, Stores
from tests.contract.sends import NOW_MS, admitted, claimed, send_of

USAGE = Usage(input_tokens=40, cached_tokens=16, output_tokens=10)
ALL_DAYS = ("0000-01-01", "9999-12-31")
PLAN = ContextPlan(
    budget_tokens=3_072,
    tokens=2_345,
    prefix_tokens=2_001,
    system_tokens=40,
    summary=SummaryPart(version=3, up_to_seq=NOW_MS, tokens=500),
    tail=TailPart(TailFrom.THE_SUMMARY, first_seq=NOW_MS + 1, messages=7, clipped=1, tokens=1_200),
    recalled=(
        RecalledPart(seq=NOW_MS - 9, message_id="message-ü", rank=1, tokens=90),
        RecalledPart(seq=NOW_MS - 5, message_id="message-2", rank=0, tokens=30),
    ),
    recalled_tokens=130,
    newest_tokens=60,
    continuation_tokens=15,
    left_out=211,
)
BARE_PLAN = replace(PLAN, summary=None, tail=TailPart(TailFrom.THE_START, 0, 0, 0, 0), recalled=())


def ending(event: Event = Event.COMPLETE, context: ContextPlan | None = PLAN) -> Ending:
    reasons = {
        Event.COMPLETE: FinishReason.STOP,
        Event.CANCEL: FinishReason.CANCELLED,
        Event.FAIL: FinishReason.FAILED,
    }
    failure = Code.ENGINE_ERROR if event is Event.FAIL else None
    return Ending(event, NOW_MS + 500, "A title", USAGE, reasons[event], failure, 50, context)


def title_run(answered: Run) -> Run:
    return Run(
        run_id=background_id_for(Kind.TITLE, answered.chat_id, answered.message_seq),
        user_id=answered.user_id,
        chat_id=answered.chat_id,
        tier=Tier.BACKGROUND,
        message_id="",
        message_seq=answered.message_seq,
        digest="",
        created_ms=NOW_MS,
        trace_id="Root=1",
        kind=Kind.TITLE,
    )


@pytest.fixture
def run(stores: Stores) -> Run:
    """Stored, in the chat of an answer that has ended."""
    answered = claimed(stores, admitted(stores, send_of()))
    assert stores.runs.end(answered, ending())
    run = title_run(answered)
    stores.runs.put(run)
    return run


def beside(stores: Stores, run: Run) -> tuple[object, ...]:
    """All that an answer's run would have changed."""
    return (
        stores.chats.get(run.user_id, run.chat_id),
        stores.ledgers.get(run.user_id),
        list(stores.usage.days(run.user_id, *ALL_DAYS)),
        stores.messages.newest(run.chat_id, 99, None).items,
    )


class TestStoring:
    def test_it_comes_back_as_it_was_put_once(self, stores: Stores, run: Run) -> None:
        assert stores.runs.get(run.run_id) == run
        stores.runs.put(replace(run, trace_id="another"))
        assert stores.runs.get(run.run_id) == run

    def test_a_removed_one_is_not_put_again(self, stores: Stores, run: Run) -> None:
        for _ in range(2):
            stores.runs.remove([run.run_id])
            assert stores.runs.get(run.run_id) is None
            stores.runs.put(run)
            assert stores.runs.get(run.run_id) is None
        assert stores.runs.claim(run.run_id, "worker-1", "i", NOW_MS) == Over()

    @pytest.mark.parametrize(
        "changes",
        [
            {"kind": Kind.SUMMARY, "summary_id": "b_former", "summary_tokens": 512},
            {"kind": Kind.SUMMARY, "summary_tokens": 1},
            {"kind": Kind.ANSWER, "summary_id": "b_one", "untitled": True, "tier": Tier.PRO},
            {"context": PLAN},
            {"context": BARE_PLAN},
        ],
        ids=["next_summary", "first_summary", "answer", "prompt", "bare_prompt"],
    )
    def test_what_only_some_have_comes_back_too(
        self, stores: Stores, run: Run, changes: dict[str, object]
    ) -> None:
        other = replace(run, run_id="b_other", **changes)  # type: ignore[arg-type]
        stores.runs.put(other)
        assert stores.runs.get("b_other") == other


class TestWorking:
    def test_it_is_claimed_renewed_handed_back_and_claimed_again(
        self, stores: Stores, run: Run
    ) -> None:
        before = beside(stores, run)
        first = claimed(stores, run)
        assert (first.status, first.epoch, first.kind) == (Status.RUNNING, 1, Kind.TITLE)
        renewed = stores.runs.renew(run.run_id, 1, first.lease_until_ms + 5, charged=70)
        assert renewed == replace(first, lease_until_ms=first.lease_until_ms + 5, charged=70)
        assert stores.runs.hand_back(run.run_id, 1, USAGE, fault=True)
        again = claimed(stores, run, "worker-2")
        assert (again.epoch, again.attempts, again.spent) == (2, 1, USAGE)
        assert stores.runs.renew(run.run_id, 1, again.lease_until_ms + 9) is None
        assert not stores.runs.end(first, ending())
        assert beside(stores, run) == before

    def test_one_whose_worker_died_is_taken_over(self, stores: Stores, run: Run) -> None:
        first = claimed(stores, run)
        late_ms = first.lease_until_ms + lease.SKEW_MARGIN_MS + 1
        second = claimed(stores, run, "worker-2", late_ms)
        assert (second.epoch, second.attempts) == (2, 1)
        assert not stores.runs.end(first, ending())
        assert stores.runs.end(second, ending())

    @pytest.mark.parametrize("event", [Event.COMPLETE, Event.FAIL, Event.CANCEL])
    def test_with_its_end_it_is_gone(self, stores: Stores, run: Run, event: Event) -> None:
        running = claimed(stores, run)
        before = beside(stores, run)
        assert stores.runs.end(running, ending(event))
        assert stores.runs.get(run.run_id) is None
        assert not stores.runs.end(running, ending(Event.CANCEL))
        assert stores.runs.claim(run.run_id, "worker-2", "i", NOW_MS) == Over()
        assert beside(stores, run) == before

    def test_a_queued_one_can_only_be_cancelled(self, stores: Stores, run: Run) -> None:
        before = beside(stores, run)
        assert not stores.runs.end(run, ending())
        assert stores.runs.end(run, ending(Event.CANCEL, context=None))
        assert stores.runs.get(run.run_id) is None
        assert beside(stores, run) == before

    def test_a_cancel_is_noted_while_it_runs(self, stores: Stores, run: Run) -> None:
        assert stores.runs.request_cancel(run.run_id) is None
        running = claimed(stores, run)
        assert stores.runs.request_cancel(run.run_id) == replace(running, cancel_requested=True)

    def test_a_chat_goes_on_beside_it(self, stores: Stores, run: Run) -> None:
        running = claimed(stores, run)
        answer = claimed(stores, admitted(stores, send_of("message-0002", chat_id=run.chat_id)))
        assert stores.runs.end(running, ending())
        chat = stores.chats.get(run.user_id, run.chat_id)
        assert chat is not None
        assert chat.active_run_id == answer.run_id
        assert stores.runs.end(answer, ending())

    def test_it_ends_though_its_chat_is_gone(self, stores: Stores, run: Run) -> None:
        running = claimed(stores, run)
        stores.chats.remove(run.user_id, run.chat_id)
        assert stores.runs.end(running, ending())
        assert stores.chats.get(run.user_id, run.chat_id) is None


class TestAnswers:
    def test_an_answer_says_how_its_prompt_was_made_up(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert (run.kind, run.untitled, run.context) == (Kind.ANSWER, True, None)
        assert stores.runs.end(run, ending())
        stored = stores.runs.get(run.run_id)
        assert stored is not None
        assert stored.context == PLAN
