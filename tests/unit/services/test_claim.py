"""Claim: what a later epoch takes over, and that from then on no former one is believed."""

from typing import Any, cast

import pytest

from chatcore.domain import lease
from chatcore.domain.run import Run
from chatcore.domain.stream import Checkpoint, durable_text
from chatcore.ports import Held, Over, RunStore
from chatcore.services.claim import Mine, claim
from tests.unit.services.test_submit import Desk

AFTER_THE_LEASE_MS = lease.LEASE_MS + lease.SKEW_MARGIN_MS + 1


class NoClaims:
    """Runs of which none may be claimed: a claim is a write, even in vain."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs

    def __getattr__(self, name: str) -> Any:
        if name == "claim":
            raise AssertionError("a claim in vain")
        return getattr(self._runs, name)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def taken(desk: Desk, run: Run, worker_id: str = "worker-1") -> Mine:
    outcome = claim(desk.stores.runs, run.run_id, worker_id, "inbox", desk.clock())
    assert isinstance(outcome, Mine)
    return outcome


def write(desk: Desk, run: Run, epoch: int, offset: int, text: str) -> None:
    desk.stores.runs.put_checkpoints([Checkpoint(run.run_id, epoch, offset, text)], desk.clock())


def test_the_first_epoch_begins_empty_and_reads_nothing(desk: Desk) -> None:
    run = desk.submitted().run
    write(desk, run, 1, 0, "not yet")
    assert taken(desk, run).text == ""


@pytest.mark.parametrize("text", ["", "half an answer 😀"])
def test_a_later_one_takes_over_and_fences_what_was_before(desk: Desk, text: str) -> None:
    run = desk.submitted().run
    taken(desk, run)
    if text:
        write(desk, run, 1, 0, text)
    desk.clock.advance(AFTER_THE_LEASE_MS)
    second = taken(desk, run, "worker-2")
    assert (second.text, second.run.epoch) == (text, 2)
    # A zombie's last words, after the claim.
    write(desk, run, 1, len(text), " from the grave")
    assert durable_text(desk.stores.runs.checkpoints(run.run_id)) == text
    desk.clock.advance(AFTER_THE_LEASE_MS)
    assert taken(desk, run, "worker-3").text == text


def test_held_and_over_runs_are_not_taken(desk: Desk) -> None:
    run = desk.submitted().run
    mine = taken(desk, run)
    other = claim(desk.stores.runs, run.run_id, "worker-2", "inbox", desk.clock())
    assert other == Held(mine.run.lease_until_ms)
    assert claim(desk.stores.runs, "r_unknown", "worker-2", "inbox", desk.clock()) == Over()


def test_whoever_looks_first_writes_nothing_in_vain(desk: Desk) -> None:
    run = desk.submitted().run
    mine = taken(desk, run)
    claims = cast(RunStore, NoClaims(desk.stores.runs))
    for run_id, expected in ((run.run_id, Held(mine.run.lease_until_ms)), ("r_unknown", Over())):
        found = claim(claims, run_id, "worker-2", "inbox", desk.clock(), look_first=True)
        assert found == expected
    desk.clock.advance(AFTER_THE_LEASE_MS)
    taken_over = claim(
        desk.stores.runs, run.run_id, "worker-2", "inbox", desk.clock(), look_first=True
    )
    assert isinstance(taken_over, Mine)
    assert taken_over.run.epoch == 2


def test_whoever_looks_first_takes_what_nobody_has(desk: Desk) -> None:
    run = desk.submitted().run
    found = claim(desk.stores.runs, run.run_id, "worker-1", "inbox", desk.clock(), look_first=True)
    assert isinstance(found, Mine)
