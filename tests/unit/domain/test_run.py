"""The life of a run: every state with every event, and what an end leaves behind."""

import itertools
from dataclasses import replace

import pytest

from chatcore.domain.errors import Code
from chatcore.domain.run import (
    ACTIVE,
    TERMINAL,
    TRANSITIONS,
    Ending,
    Event,
    FinishReason,
    Run,
    Status,
    Usage,
    after,
    ended,
    sources,
)
from chatcore.domain.tiers import Tier

ALLOWED = {
    (Status.QUEUED, Event.CLAIM): Status.RUNNING,
    (Status.QUEUED, Event.CANCEL): Status.CANCELLED,
    (Status.RUNNING, Event.TAKE_OVER): Status.RUNNING,
    (Status.RUNNING, Event.HAND_BACK): Status.QUEUED,
    (Status.RUNNING, Event.COMPLETE): Status.COMPLETED,
    (Status.RUNNING, Event.FAIL): Status.FAILED,
    (Status.RUNNING, Event.CANCEL): Status.CANCELLED,
}

RUN = Run(
    run_id="r_1",
    user_id="user-alice",
    chat_id="c_1",
    tier=Tier.FREE,
    message_id="message-0001",
    message_seq=5,
    digest="",
    created_ms=1,
    status=Status.RUNNING,
    epoch=2,
    worker_id="worker-1",
    inbox="inbox",
    lease_until_ms=99,
    viewers=frozenset({"socket-1"}),
)
ENDINGS = {
    Event.COMPLETE: Status.COMPLETED,
    Event.FAIL: Status.FAILED,
    Event.CANCEL: Status.CANCELLED,
}


@pytest.mark.parametrize(("status", "event"), list(itertools.product(Status, Event)))
def test_every_event_in_every_state(status: Status, event: Event) -> None:
    assert after(status, event) is ALLOWED.get((status, event))


def test_nothing_leads_out_of_a_terminal_state() -> None:
    assert not {status for status, _ in TRANSITIONS} & TERMINAL
    assert frozenset(Status) == ACTIVE | TERMINAL
    assert not ACTIVE & TERMINAL


@pytest.mark.parametrize("event", Event)
def test_the_sources_of_an_event_are_the_states_that_allow_it(event: Event) -> None:
    assert sources(event) == {status for status, known in ALLOWED if known is event}


@pytest.mark.parametrize(("event", "status"), list(ENDINGS.items()))
def test_an_ended_run_belongs_to_nobody_and_knows_its_length(event: Event, status: Status) -> None:
    ending = Ending(event, 7, "ab😀", Usage(3, 1, 2), FinishReason.STOP, Code.ENGINE_ERROR)
    done = ended(RUN, ending)
    assert (done.status, done.ended_ms, done.length, done.usage) == (status, 7, 3, Usage(3, 1, 2))
    assert (done.worker_id, done.inbox, done.lease_until_ms) == (None, None, 0)
    assert done.viewers == frozenset()
    assert done.epoch == RUN.epoch


@pytest.mark.parametrize("status", [Status.QUEUED, *TERMINAL])
def test_an_end_that_the_table_does_not_know_is_an_error(status: Status) -> None:
    ending = Ending(Event.COMPLETE, 7, "", Usage(), FinishReason.STOP)
    with pytest.raises(ValueError, match=status):
        ended(replace(RUN, status=status), ending)


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3) + Usage(10, 20, 30) == Usage(11, 22, 33)
