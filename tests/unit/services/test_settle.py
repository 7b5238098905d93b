"""Settle: once, and known to have been once even where the answer to the write was lost."""

from dataclasses import replace
from typing import Any

import pytest

from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.ledger import cost_tokens
from chatcore.domain.run import Ending, Event, FinishReason, Run, Status, Usage
from chatcore.services.settle import settle
from tests.contract.sends import ALICE, claimed
from tests.unit.services.test_submit import Desk, Failing

USAGE = Usage(10, 2, 5)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def running(desk: Desk) -> Run:
    return claimed(desk.stores, desk.submitted().run, now_ms=desk.clock())


def ending_of(desk: Desk) -> Ending:
    return Ending(Event.COMPLETE, desk.clock() + 7, "The answer", USAGE, FinishReason.STOP)


def test_ends_the_run(desk: Desk) -> None:
    stored = settle(desk.stores.runs, running(desk), ending_of(desk))
    assert stored is not None
    assert (stored.status, stored.length) == (Status.COMPLETED, 10)


@pytest.mark.parametrize("step", ["before", "after"])
def test_an_end_that_timed_out_is_settled_by_the_next_try_and_paid_once(
    desk: Desk, step: str
) -> None:
    run = running(desk)
    runs: Any = Failing(desk.stores.runs, {"end": [step]})
    with pytest.raises(StoreUnavailable):
        settle(runs, run, ending_of(desk))
    stored = settle(runs, run, ending_of(desk))
    assert stored is not None
    assert stored.status is Status.COMPLETED
    assert desk.stores.ledgers.get(ALICE.user_id).settled_tokens == cost_tokens(USAGE)
    assert len(desk.database.messages) == 2


def test_an_end_that_somebody_else_made_is_not_ours(desk: Desk) -> None:
    run = running(desk)
    other = replace(ending_of(desk), event=Event.CANCEL, ended_ms=desk.clock() + 3)
    assert desk.stores.runs.end(run, other)
    assert settle(desk.stores.runs, run, ending_of(desk)) is None


def test_a_run_of_a_later_epoch_is_not_ours(desk: Desk) -> None:
    run = running(desk)
    desk.database.runs[run.run_id] = replace(run, epoch=2)
    assert settle(desk.stores.runs, run, ending_of(desk)) is None


def test_a_run_that_is_gone_is_not_ours(desk: Desk) -> None:
    run = running(desk)
    desk.stores.runs.remove([run.run_id])
    assert settle(desk.stores.runs, run, ending_of(desk)) is None
