"""Asking for a title: once for an answer, and never twice."""

from dataclasses import replace

import pytest

from chatcore.adapters.memory.queues import MemoryLanes
from chatcore.domain.calendar import returns_of
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.run import Kind, Run
from chatcore.domain.tiers import Tier
from chatcore.protocol.queue import job_for
from chatcore.services.title import ask_for_title
from tests.unit.services.test_submit import ALICE, SEND, Desk

LANE = returns_of(Tier.BACKGROUND)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def answered(desk: Desk) -> Run:
    run = desk.submitted(replace(SEND, trace_id="t_1")).run
    desk.complete(run.run_id)
    return run


def test_a_run_in_the_lowest_lane_over_the_answers_turn(desk: Desk) -> None:
    answer = answered(desk)
    run = ask_for_title(desk.stores, desk.lanes, answer, desk.clock())
    assert run.kind is Kind.TITLE
    assert run.tier is Tier.BACKGROUND
    assert (run.user_id, run.chat_id) == (ALICE.user_id, answer.chat_id)
    assert run.message_seq == answer.message_seq
    assert run.trace_id == "t_1"
    assert run.created_ms == desk.clock()
    assert desk.stores.runs.get(run.run_id) == run
    received = desk.lanes.receive(LANE, 0)
    assert received is not None
    assert received.item == job_for(run)


def test_it_takes_neither_the_chats_turn_nor_the_users_tokens(desk: Desk) -> None:
    answer = answered(desk)
    before = (desk.stores.chats.get(ALICE.user_id, answer.chat_id), dict(desk.database.ledgers))
    ask_for_title(desk.stores, desk.lanes, answer, desk.clock())
    after = (desk.stores.chats.get(ALICE.user_id, answer.chat_id), dict(desk.database.ledgers))
    assert after == before


def test_asked_again_for_the_same_answer_it_is_one_run_as_it_was(desk: Desk) -> None:
    answer = answered(desk)
    run = ask_for_title(desk.stores, desk.lanes, answer, desk.clock())
    desk.clock.advance(1_000)
    assert ask_for_title(desk.stores, desk.lanes, answer, desk.clock()).run_id == run.run_id
    assert desk.stores.runs.get(run.run_id) == run


def test_a_run_that_is_there_without_its_job_gets_it(desk: Desk) -> None:
    """Stored, and the answer was lost: the repeat finds it there. Its job has not been sent."""
    answer = answered(desk)
    ask_for_title(desk.stores, MemoryLanes(desk.clock), answer, desk.clock())
    ask_for_title(desk.stores, desk.lanes, answer, desk.clock())
    assert desk.lanes.depth(LANE) == 1


def test_asked_for_the_next_answer_it_is_another(desk: Desk) -> None:
    answer = answered(desk)
    first = ask_for_title(desk.stores, desk.lanes, answer, desk.clock())
    later = replace(answer, message_seq=answer.message_seq + 2)
    second = ask_for_title(desk.stores, desk.lanes, later, desk.clock())
    assert first.run_id != second.run_id


@pytest.mark.parametrize("failure", [("put", "before"), ("put", "after"), ("send", "before")])
def test_where_it_fails_the_next_answer_asks(desk: Desk, failure: tuple[str, str]) -> None:
    answer = answered(desk)
    method, when = failure
    desk.plans[method] = [when]
    with pytest.raises(StoreUnavailable):
        ask_for_title(desk.failing_stores, desk.failing_lanes, answer, desk.clock())
    assert desk.lanes.depth(LANE) == 0
    later = replace(answer, message_seq=answer.message_seq + 2)
    ask_for_title(desk.failing_stores, desk.failing_lanes, later, desk.clock())
    assert desk.lanes.depth(LANE) == 1
