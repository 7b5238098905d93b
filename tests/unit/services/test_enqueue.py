"""Enqueue: a job that may be lost is put in again, where it belongs now, and no more often than needed."""

from dataclasses import replace

import pytest

from chatcore.domain.calendar import LANES, QUANTUM, lane_of, returns_of
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Run, Usage
from chatcore.domain.tiers import Tier
from chatcore.services.dispatch import dispatch
from chatcore.services.enqueue import PATIENCE_MS, enqueue, enqueue_again
from tests.contract.sends import claimed
from tests.unit.services.test_dispatch import account, end, sent, taken
from tests.unit.services.test_submit import Desk

PRO = Tier.PRO


@pytest.fixture
def desk() -> Desk:
    return Desk()


def looked_at(desk: Desk, run: Run) -> list[str]:
    """Somebody looks at the run: whose jobs are put in."""
    stored = desk.stores.runs.get(run.run_id)
    assert stored is not None
    calendar = desk.stores.calendars.get(PRO)
    enqueue_again(desk.stores, desk.lanes, stored, account(desk), calendar, desk.clock())
    return taken(desk)


def put_again(desk: Desk, run: Run, ledger: Ledger) -> None:
    enqueue(desk.lanes, run, ledger, desk.stores.calendars.get(PRO), desk.clock())


def begun(desk: Desk, run: Run) -> Run:
    """It gets its slot, and its user's next one's job is in the lanes."""
    running = claimed(desk.stores, run, now_ms=desk.clock())
    calendar = desk.stores.calendars.get(PRO)
    now_ms = desk.clock()
    dispatch(desk.stores, desk.lanes, calendar, run.user_id, run.run_id, run.weight, now_ms)
    return running


class TestEnqueue:
    def test_the_first_waits_where_its_user_stands_now(self, desk: Desk) -> None:
        (run,) = sent(desk, 1)
        taken(desk)
        served = replace(account(desk), served=3 * QUANTUM, tagged_tier=PRO)
        put_again(desk, run, served)
        assert desk.lanes.depth(lane_of(PRO, 3)) == 1
        desk.stores.calendars.advance(PRO, 7)
        put_again(desk, run, served)
        assert desk.lanes.depth(lane_of(PRO, 7)) == 1

    def test_one_that_had_a_slot_goes_before_all_others(self, desk: Desk) -> None:
        (run,) = sent(desk, 1)
        taken(desk)
        running = begun(desk, run)
        assert desk.stores.runs.hand_back(run.run_id, running.epoch, Usage())
        put_again(desk, run, account(desk))
        assert desk.lanes.depth(returns_of(PRO)) == 1

    def test_one_behind_another_of_its_user_has_no_job_yet(self, desk: Desk) -> None:
        _, behind = sent(desk, 2)
        taken(desk)
        put_again(desk, behind, account(desk))
        assert taken(desk) == []


class TestAgain:
    def test_when_it_has_waited_for_long_and_no_sooner(self, desk: Desk) -> None:
        (run,) = sent(desk, 1)
        taken(desk)
        desk.clock.advance(PATIENCE_MS)
        assert looked_at(desk, run) == []
        desk.clock.advance(1)
        assert looked_at(desk, run) == [run.run_id]

    def test_not_with_each_look(self, desk: Desk) -> None:
        (run,) = sent(desk, 1)
        taken(desk)
        put: list[str] = []
        for _ in range(100):
            desk.clock.advance(PATIENCE_MS // 25)
            put += looked_at(desk, run)
        assert put == [run.run_id] * 3

    def test_of_two_who_look_at_once_one_does_it(self, desk: Desk) -> None:
        (run,) = sent(desk, 1)
        taken(desk)
        desk.clock.advance(PATIENCE_MS + 1)
        calendar = desk.stores.calendars.get(PRO)
        for _ in range(2):
            # Both have read it as it was.
            enqueue_again(desk.stores, desk.lanes, run, account(desk), calendar, desk.clock())
        assert taken(desk) == [run.run_id]

    def test_for_one_behind_another_it_is_that_ones_job_that_may_be_lost(self, desk: Desk) -> None:
        first, behind = sent(desk, 2)
        taken(desk)
        desk.clock.advance(PATIENCE_MS + 1)
        assert looked_at(desk, behind) == [first.run_id]
        assert looked_at(desk, behind) == looked_at(desk, first) == []

    @pytest.mark.parametrize("between", [False, True], ids=["its next", "one in between"])
    def test_a_first_one_that_is_over_passes_its_place_on_though_its_job_is_lost(
        self, desk: Desk, between: bool
    ) -> None:
        runs = sent(desk, 3 if between else 2)
        taken(desk)
        end(desk, runs[0])
        assert looked_at(desk, runs[-1]) == []
        desk.clock.advance(PATIENCE_MS + 1)
        assert looked_at(desk, runs[-1]) == [runs[1].run_id]
        assert account(desk).waiting == tuple(run.run_id for run in runs[1:])

    def test_a_first_one_that_was_deleted_does_too(self, desk: Desk) -> None:
        first, behind = sent(desk, 2)
        taken(desk)
        end(desk, first)
        desk.stores.runs.remove([first.run_id])
        desk.clock.advance(PATIENCE_MS + 1)
        assert looked_at(desk, behind) == [behind.run_id]

    def test_a_first_one_that_runs_though_its_worker_died_before_it_said_so(
        self, desk: Desk
    ) -> None:
        first, behind = sent(desk, 2)
        taken(desk)
        claimed(desk.stores, first, now_ms=desk.clock())
        desk.clock.advance(PATIENCE_MS + 1)
        assert looked_at(desk, behind) == [behind.run_id]
        ledger = account(desk)
        assert (set(ledger.charged), ledger.waiting) == ({first.run_id}, (behind.run_id,))

    def test_one_that_had_a_slot_goes_on_from_the_returns(self, desk: Desk) -> None:
        first, behind = sent(desk, 2)
        taken(desk)
        running = begun(desk, first)
        assert taken(desk) == [behind.run_id]
        assert desk.stores.runs.hand_back(first.run_id, running.epoch, Usage())
        desk.clock.advance(PATIENCE_MS + 1)
        stored = desk.database.runs[first.run_id]
        calendar = desk.stores.calendars.get(PRO)
        enqueue_again(desk.stores, desk.lanes, stored, account(desk), calendar, desk.clock())
        assert [lane for lane in LANES if desk.lanes.depth(lane)] == [returns_of(PRO)]

    def test_nothing_is_charged_for_a_look(self, desk: Desk) -> None:
        (run,) = sent(desk, 1)
        desk.clock.advance(PATIENCE_MS + 1)
        looked_at(desk, run)
        assert account(desk).finish_tag == Ledger("user-paula").finish_tag == 0
