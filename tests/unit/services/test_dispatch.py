"""Dispatch: a user's runs take one place in the lanes, one after the other, and none is forgotten."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chatcore.domain.calendar import LANES, QUANTUM, Calendar, lane_of
from chatcore.domain.errors import Conflict, StoreUnavailable
from chatcore.domain.identity import User
from chatcore.domain.ledger import Ledger, guess, virtual
from chatcore.domain.run import TERMINAL, Ending, Event, FinishReason, Run, Status, Usage
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.ports import Claimed, Over
from chatcore.services.dispatch import TRIES, dispatch
from tests.contract.sends import claimed
from tests.unit.services.orders import Scene, Stepped, in_every_order
from tests.unit.services.test_submit import SEND, Desk

PAULA = User("user-paula", Tier.PRO)
WEIGHT = DEFAULTS[Tier.PRO].weight
CALENDAR = Calendar(Tier.PRO, 10)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def sent(desk: Desk, count: int = 3) -> list[Run]:
    return [
        desk.submitted(replace(SEND, user=PAULA, message_id=f"message-000{number}")).run
        for number in range(count)
    ]


def dispatched(
    desk: Desk, run: Run, stores: Any = None, lanes: Any = None, calendar: Calendar = CALENDAR
) -> int:
    return dispatch(
        stores or desk.stores,
        lanes or desk.lanes,
        calendar,
        run.user_id,
        run.run_id,
        run.weight,
        desk.clock(),
    )


def account(desk: Desk) -> Ledger:
    return desk.stores.ledgers.get(PAULA.user_id)


def taken(desk: Desk) -> list[str]:
    """Whose jobs are in the lanes: they are taken out."""
    run_ids: list[str] = []
    for lane in LANES:
        while (received := desk.lanes.receive(lane, 0)) is not None:
            run_ids.append(received.item.run_id)
            desk.lanes.acknowledge(lane, received.handle)
    return run_ids


def end(desk: Desk, run: Run) -> None:
    """Cancelled while it is queued, completed while it is running."""
    stored = desk.stores.runs.get(run.run_id)
    assert stored is not None
    running = stored.status is Status.RUNNING
    event = Event.COMPLETE if running else Event.CANCEL
    reason = FinishReason.STOP if running else FinishReason.CANCELLED
    usage = Usage(80, 0, 40) if running else Usage()
    assert desk.stores.runs.end(stored, Ending(event, desk.clock(), "", usage, reason))


def played_out(desk: Desk) -> None:
    """As workers would: whatever is in the lanes is made, or passed on where it is over."""
    while run_ids := taken(desk):
        for run_id in run_ids:
            outcome = desk.stores.runs.claim(run_id, "worker-1", "inbox", desk.clock())
            run = desk.database.runs[run_id]
            if isinstance(outcome, Claimed | Over):
                dispatched(desk, run)
            if isinstance(outcome, Claimed):
                end(desk, run)


def test_the_next_run_takes_the_place_of_the_one_that_got_a_slot(desk: Desk) -> None:
    first, second, third = sent(desk)
    assert taken(desk) == [first.run_id]
    charged = dispatched(desk, claimed(desk.stores, first))
    ledger = account(desk)
    assert charged == guess(Ledger(PAULA.user_id), WEIGHT)
    assert dict(ledger.charged) == {first.run_id: charged}
    assert ledger.finish_tag == CALENDAR.virtual_time + charged
    assert ledger.waiting == (second.run_id, third.run_id)
    assert taken(desk) == [second.run_id]


def test_it_waits_in_the_lane_to_which_the_charge_has_moved_its_user(desk: Desk) -> None:
    first, second = sent(desk, 2)
    taken(desk)
    spent = replace(account(desk), served=(10 + 2) * QUANTUM - 1, tagged_tier=Tier.PRO)
    desk.database.ledgers[PAULA.user_id] = spent
    dispatched(desk, claimed(desk.stores, first))
    received = desk.lanes.receive(lane_of(Tier.PRO, 12), 0)
    assert received is not None
    assert received.item.run_id == second.run_id


def test_the_last_one_leaves_no_job(desk: Desk) -> None:
    (only,) = sent(desk, 1)
    taken(desk)
    dispatched(desk, claimed(desk.stores, only))
    assert taken(desk) == []
    assert account(desk).waiting == ()


def test_done_again_it_changes_nothing(desk: Desk) -> None:
    first, second = sent(desk, 2)
    taken(desk)
    charged = dispatched(desk, claimed(desk.stores, first))
    before = account(desk)
    assert taken(desk) == [second.run_id]
    assert dispatched(desk, first) == charged
    assert account(desk) == before
    assert taken(desk) == []


def test_who_is_over_without_a_slot_passes_his_place_on_and_is_charged_nothing(desk: Desk) -> None:
    first, second, _ = sent(desk)
    taken(desk)
    end(desk, first)
    assert dispatched(desk, first) == 0
    assert (dict(account(desk).charged), account(desk).waiting[0]) == ({}, second.run_id)
    assert taken(desk) == [second.run_id]


def test_who_is_over_while_he_waits_behind_another_is_passed_over(desk: Desk) -> None:
    first, second, third = sent(desk)
    taken(desk)
    end(desk, second)
    dispatched(desk, claimed(desk.stores, first))
    assert account(desk).waiting == (third.run_id,)
    assert taken(desk) == [third.run_id]


def test_a_stale_place_of_a_run_that_was_deleted_or_runs_already_is_passed_over(
    desk: Desk,
) -> None:
    first, second, third = sent(desk)
    taken(desk)
    # Taken by a job that was put in for it all the same; its worker has not come to this yet.
    claimed(desk.stores, second)
    dispatched(desk, claimed(desk.stores, first))
    assert account(desk).waiting == (third.run_id,)
    assert taken(desk) == [third.run_id]
    dispatched(desk, second)
    assert set(account(desk).charged) == {first.run_id, second.run_id}
    del desk.database.runs[third.run_id]
    desk.database.ledgers[PAULA.user_id] = replace(
        account(desk), waiting=(second.run_id, third.run_id)
    )
    dispatched(desk, second)
    assert account(desk).waiting == ()
    assert taken(desk) == []


def test_a_job_of_a_user_of_whom_nothing_is_known_is_passed_over(desk: Desk) -> None:
    nobody = desk.stores, desk.lanes, CALENDAR, "user-nobody", "r_gone", 1, desk.clock()
    assert dispatch(*nobody) == 0
    assert desk.database.ledgers == {}


class TestDyingInBetween:
    def test_the_next_ones_job_is_there_before_the_account_says_so(self, desk: Desk) -> None:
        first, second, _ = sent(desk)
        taken(desk)
        desk.plans["put"] = ["before"]
        stores = replace(desk.stores, ledgers=desk.failing(desk.stores.ledgers))
        run = claimed(desk.stores, first)
        with pytest.raises(StoreUnavailable):
            dispatched(desk, run, stores)
        assert taken(desk) == [second.run_id]
        assert account(desk).waiting[0] == first.run_id
        # The first one's own job comes back, and whoever gets it does all of it again.
        dispatched(desk, run, stores)
        assert taken(desk) == [second.run_id]
        assert account(desk).waiting[0] == second.run_id

    def test_an_account_whose_answer_was_lost_is_found_written(self, desk: Desk) -> None:
        first, second, _ = sent(desk)
        taken(desk)
        desk.plans["put"] = ["after"]
        stores = replace(desk.stores, ledgers=desk.failing(desk.stores.ledgers))
        run = claimed(desk.stores, first)
        with pytest.raises(StoreUnavailable):
            dispatched(desk, run, stores)
        before = account(desk)
        assert dispatched(desk, run, stores) == before.charged[first.run_id]
        assert account(desk) == before
        assert taken(desk) == [second.run_id]

    def test_a_lane_that_is_away_leaves_the_account_as_it_was(self, desk: Desk) -> None:
        first, second, _ = sent(desk)
        taken(desk)
        before = account(desk)
        desk.plans["send"] = ["before"]
        run = claimed(desk.stores, first)
        with pytest.raises(StoreUnavailable):
            dispatched(desk, run, lanes=desk.failing_lanes)
        assert account(desk) == before
        dispatched(desk, run, lanes=desk.failing_lanes)
        assert taken(desk) == [second.run_id]

    @pytest.mark.parametrize("call", ["get", "put", "send"])
    def test_whoever_finds_the_job_of_a_run_that_is_over_repairs_it(
        self, desk: Desk, call: str
    ) -> None:
        """The worker died while it passed the place on, and the run ended meanwhile."""
        first, second, third = sent(desk)
        taken(desk)
        run = claimed(desk.stores, first)
        desk.plans[call] = ["before"]
        stores = replace(desk.stores, ledgers=desk.failing(desk.stores.ledgers))
        with pytest.raises(StoreUnavailable):
            dispatched(desk, run, stores, desk.failing_lanes)
        end(desk, first)
        dispatched(desk, first)
        played_out(desk)
        assert {run.status for run in desk.database.runs.values()} == {Status.COMPLETED}
        assert account(desk).waiting == ()
        assert account(desk).served == 3 * virtual(80 + 2 * 40, WEIGHT)
        assert {second.run_id, third.run_id} <= desk.database.runs.keys()


class TestConflicts:
    def test_with_others_of_its_user_are_got_over(self, desk: Desk) -> None:
        first, second = sent(desk, 2)
        taken(desk)
        desk.plans["put"] = ["conflict"] * (TRIES - 1)
        stores = replace(desk.stores, ledgers=desk.failing(desk.stores.ledgers))
        dispatched(desk, claimed(desk.stores, first), stores)
        assert account(desk).waiting == (second.run_id,)

    def test_without_end_are_said_so(self, desk: Desk) -> None:
        first, _ = sent(desk, 2)
        taken(desk)
        desk.plans["put"] = ["conflict"] * TRIES
        stores = replace(desk.stores, ledgers=desk.failing(desk.stores.ledgers))
        with pytest.raises(Conflict):
            dispatched(desk, claimed(desk.stores, first), stores)

    def test_a_send_in_between_is_kept(self, desk: Desk) -> None:
        first, second = sent(desk, 2)
        taken(desk)
        late: list[str] = []

        class SentInBetween:
            def get(self, user_id: str) -> Ledger:
                seen = desk.stores.ledgers.get(user_id)
                if not late:
                    late.append(
                        desk.submitted(
                            replace(SEND, user=PAULA, message_id="message-late")
                        ).run.run_id
                    )
                return seen

            def put(self, ledger: Ledger, former_version: int) -> None:
                desk.stores.ledgers.put(ledger, former_version)

        ledgers: Any = SentInBetween()
        run = claimed(desk.stores, first)
        dispatched(desk, run, replace(desk.stores, ledgers=ledgers))
        assert account(desk).waiting == (second.run_id, *late)
        assert set(account(desk).active) == {first.run_id, second.run_id, *late}


@pytest.mark.parametrize(
    ("first", "second", "ends"),
    [(0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2)],
    ids=["taken over", "its first ends", "its second ends", "its third ends"],
)
def test_two_workers_and_an_end_in_between_in_every_order(
    first: int, second: int, ends: int
) -> None:
    """Two workers that dispatch a user's first run, or one his first and one his second."""

    def make() -> Scene:
        desk = Desk()
        runs = sent(desk)
        taken(desk)
        theirs = [runs[first], runs[second]]
        for number in {first, second}:
            claimed(desk.stores, runs[number])
        stores = replace(desk.stores, ledgers=Stepped(desk.stores.ledgers))
        lanes = Stepped(desk.lanes)

        def in_between() -> None:
            # An end is one transaction, whatever is read before it.
            lanes.depth(LANES[0])
            end(desk, runs[ends])

        pieces: list[Callable[[], object]] = [
            lambda run=run: dispatched(desk, run, stores, lanes)  # type: ignore[misc]
            for run in theirs
        ]
        return Scene(desk, [*pieces, in_between])

    orders = 0
    for desk in in_every_order(make):
        orders += 1
        ledger = account(desk)
        runs = desk.database.runs.values()
        active = {run.run_id for run in runs if run.status not in TERMINAL}
        assert set(ledger.charged) <= set(ledger.active) == active
        assert not set(ledger.charged) & set(ledger.waiting)
        running = [run for run in runs if run.status is Status.RUNNING]
        assert set(ledger.charged) == {run.run_id for run in running}
        for run in running:
            end(desk, run)
        played_out(desk)
        assert {run.status for run in desk.database.runs.values()} <= TERMINAL
    assert orders > 200
