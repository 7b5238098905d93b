"""What accounts, calendars and beats promise, whichever side they are on."""

from dataclasses import replace

import pytest

from chatcore.domain import lease
from chatcore.domain.beat import Beat
from chatcore.domain.calendar import Backlog, Calendar
from chatcore.domain.errors import Conflict
from chatcore.domain.lanes import RETURNS
from chatcore.domain.ledger import Ledger, Window, cost_tokens, dispatched, virtual
from chatcore.domain.run import Ending, Event, FinishReason, Run, Usage
from chatcore.domain.tiers import Tier
from chatcore.ports import Stores
from tests.contract.sends import ALICE, NOW_MS, admitted, claimed, send_of

USAGE = Usage(input_tokens=40, cached_tokens=16, output_tokens=10)
COST = cost_tokens(USAGE)
FULL = Ledger(
    ALICE.user_id,
    version=1,
    active={"r_1": 30, "r_2": 40},
    windows=(Window(NOW_MS + 1, 5), Window(NOW_MS + 2, 0)),
    settled_tokens=900,
    settled_runs=7,
    served=800,
    charged={"r_1": 600},
    lift=-50,
    tagged_tier=Tier.FREE,
    waiting=("r_2",),
)


def ending(event: Event = Event.COMPLETE, usage: Usage = USAGE) -> Ending:
    reason = FinishReason.STOP if event is Event.COMPLETE else FinishReason.CANCELLED
    return Ending(event, NOW_MS + 500, "", usage, reason)


def begun(stores: Stores, message_id: str = "message-0001", chat_id: str | None = None) -> Run:
    """A run with a slot, as its user's account has it."""
    run = claimed(stores, admitted(stores, send_of(message_id, chat_id=chat_id)))
    ledger = stores.ledgers.get(run.user_id)
    account = dispatched(ledger, run.run_id, run.tier, 0, run.weight)
    assert account is not None
    stores.ledgers.put(account, ledger.version)
    return run


class TestLedgers:
    def test_an_account_comes_back_as_it_was_put(self, stores: Stores) -> None:
        stores.ledgers.put(FULL, 0)
        assert stores.ledgers.get(ALICE.user_id) == FULL
        bare = Ledger(ALICE.user_id, version=2)
        stores.ledgers.put(bare, 1)
        assert stores.ledgers.get(ALICE.user_id) == bare

    def test_one_that_was_written_meanwhile_is_not_put_over(self, stores: Stores) -> None:
        stores.ledgers.put(FULL, 0)
        for former_version in (0, 2):
            with pytest.raises(Conflict):
                stores.ledgers.put(replace(FULL, served=0, version=3), former_version)
        assert stores.ledgers.get(ALICE.user_id) == FULL

    def test_a_charge_is_noted_for_a_run_that_has_a_slot_and_counts_as_a_write(
        self, stores: Stores
    ) -> None:
        stores.ledgers.put(FULL, 0)
        stores.ledgers.charge(ALICE.user_id, "r_1", 777)
        charged = replace(FULL, version=2, charged={"r_1": 777})
        assert stores.ledgers.get(ALICE.user_id) == charged
        with pytest.raises(Conflict):
            stores.ledgers.put(FULL, 1)

    def test_a_charge_for_any_other_run_is_passed_over(self, stores: Stores) -> None:
        stores.ledgers.charge(ALICE.user_id, "r_1", 777)
        assert stores.ledgers.get(ALICE.user_id) == Ledger(ALICE.user_id)
        stores.ledgers.put(FULL, 0)
        for run_id in ("r_2", "r_unknown"):
            stores.ledgers.charge(ALICE.user_id, run_id, 777)
        assert stores.ledgers.get(ALICE.user_id) == FULL

    def test_a_late_charge_does_not_bring_back_what_was_settled(self, stores: Stores) -> None:
        run = begun(stores)
        assert stores.runs.end(run, ending())
        settled = stores.ledgers.get(ALICE.user_id)
        stores.ledgers.charge(ALICE.user_id, run.run_id, 777)
        assert stores.ledgers.get(ALICE.user_id) == settled


class TestSettling:
    def test_takes_what_was_charged_away_and_adds_what_was_served(self, stores: Stores) -> None:
        run = begun(stores)
        before = stores.ledgers.get(ALICE.user_id)
        assert set(before.charged) == {run.run_id}
        assert stores.runs.end(run, ending())
        over = stores.ledgers.get(ALICE.user_id)
        assert (over.charged, over.active) == ({}, {})
        assert (over.settled_tokens, over.settled_runs) == (COST, 1)
        assert over.served == virtual(COST, run.weight)
        assert over.version == before.version + 1

    def test_is_by_the_weight_that_the_run_was_admitted_with(self, stores: Stores) -> None:
        run = begun(stores)
        assert stores.runs.end(replace(run, weight=7), ending())
        assert stores.ledgers.get(ALICE.user_id).served == virtual(COST, 7)

    def test_of_a_run_that_cost_nothing_counts_no_run(self, stores: Stores) -> None:
        run = admitted(stores, send_of())
        assert stores.runs.end(run, ending(Event.CANCEL, Usage()))
        over = stores.ledgers.get(ALICE.user_id)
        assert (over.settled_runs, over.served) == (0, 0)
        # Its place is its user's until somebody finds its job.
        assert over.waiting == (run.run_id,)

    def test_leaves_the_users_other_runs_alone(self, stores: Stores) -> None:
        first, second = begun(stores), begun(stores, "message-0002")
        charged = stores.ledgers.get(ALICE.user_id).charged[second.run_id]
        assert stores.runs.end(first, ending())
        over = stores.ledgers.get(ALICE.user_id)
        assert dict(over.charged) == {second.run_id: charged}
        assert set(over.active) == {second.run_id}

    def test_notes_who_made_the_chats_answer(self, stores: Stores) -> None:
        run = begun(stores)
        assert stores.runs.end(run, ending())
        chat = stores.chats.get(ALICE.user_id, run.chat_id)
        assert chat is not None
        assert chat.worker_id == "worker-1"
        second = admitted(stores, send_of("message-0002", chat_id=run.chat_id))
        assert (second.favourite, second.prior_seq) == ("worker-1", run.message_seq + 1)
        assert stores.runs.get(second.run_id) == second
        # Who cancels it while it is queued has made nothing.
        assert stores.runs.end(second, ending(Event.CANCEL, Usage()))
        chat = stores.chats.get(ALICE.user_id, run.chat_id)
        assert chat is not None
        assert chat.worker_id == "worker-1"


def test_what_a_worker_did_before_it_died_is_service_that_nobody_is_billed_for(
    stores: Stores,
) -> None:
    run = begun(stores)
    renewed = stores.runs.renew(run.run_id, run.epoch, run.lease_until_ms + 1, 500)
    assert renewed is not None
    assert (renewed.charged, renewed.lost) == (500, 0)
    late_ms = renewed.lease_until_ms + lease.SKEW_MARGIN_MS + 1
    taken = claimed(stores, run, "worker-2", late_ms)
    assert (taken.epoch, taken.charged, taken.lost) == (2, 0, 500)
    assert stores.runs.end(taken, ending())
    over = stores.ledgers.get(ALICE.user_id)
    assert (over.settled_tokens, over.served) == (COST, virtual(COST, run.weight) + 500)


def test_a_hand_back_counts_what_it_was_for(stores: Stores) -> None:
    run = begun(stores)
    assert stores.runs.hand_back(run.run_id, run.epoch, USAGE, fault=False, preempted=True)
    stored = stores.runs.get(run.run_id)
    assert stored is not None
    assert (stored.attempts, stored.preemptions) == (0, 1)
    # It has had a slot: its account goes on holding what it was charged.
    assert set(stores.ledgers.get(ALICE.user_id).charged) == {run.run_id}


class TestCalendars:
    def test_one_of_which_nothing_is_known_is_at_its_beginning(self, stores: Stores) -> None:
        assert stores.calendars.get(Tier.FREE) == Calendar(Tier.FREE)

    def test_a_front_moves_on_and_never_back(self, stores: Stores) -> None:
        assert stores.calendars.advance(Tier.FREE, 7) == 7
        assert stores.calendars.advance(Tier.FREE, 7) == 7
        assert stores.calendars.advance(Tier.FREE, 3) == 7
        assert stores.calendars.advance(Tier.FREE, 9) == 9
        assert stores.calendars.get(Tier.FREE).front == 9
        assert stores.calendars.get(Tier.PRO).front == 0

    def test_a_backlog_comes_back_as_it_was_published(self, stores: Stores) -> None:
        told = Calendar(
            Tier.PRO, backlog=Backlog(NOW_MS, {RETURNS: 2, 0: 5, 8: 1}, 0.75), entry=4, entry_ms=9
        )
        assert stores.calendars.publish(told, 0)
        assert stores.calendars.get(Tier.PRO) == told
        assert stores.runs.view(send_of(user=replace(ALICE, tier=Tier.PRO))).calendar == told

    def test_of_several_who_publish_at_once_one_does(self, stores: Stores) -> None:
        first = Calendar(Tier.FREE, backlog=Backlog(NOW_MS, {0: 1}, 0.5))
        second = Calendar(Tier.FREE, backlog=Backlog(NOW_MS + 5, {0: 2}, 0.5))
        assert stores.calendars.publish(first, 0)
        assert not stores.calendars.publish(second, 0)
        assert stores.calendars.publish(second, NOW_MS)
        assert not stores.calendars.publish(first, NOW_MS)
        assert stores.calendars.get(Tier.FREE) == second

    def test_front_and_backlog_do_not_take_each_other_back(self, stores: Stores) -> None:
        stores.calendars.advance(Tier.FREE, 7)
        old = Calendar(Tier.FREE, 3, Backlog(NOW_MS, {}, 0.0), entry=5, entry_ms=NOW_MS)
        assert stores.calendars.publish(old, 0)
        assert stores.calendars.get(Tier.FREE) == replace(old, front=7)
        assert stores.calendars.advance(Tier.FREE, 8) == 8
        assert stores.calendars.get(Tier.FREE) == replace(old, front=8)


class TestBeats:
    def test_a_beat_comes_back_and_takes_the_place_of_the_last(self, stores: Stores) -> None:
        beat = Beat(
            "worker-1",
            "inbox",
            NOW_MS,
            slots=8,
            free_slots=3,
            offers=1,
            starts_per_s={Tier.FREE: 0.25, Tier.PRO: 0.0},
            slot_s={Tier.FREE: 10.5},
        )
        stores.beats.put(beat)
        assert stores.beats.get("worker-1") == beat
        later = replace(beat, beat_ms=NOW_MS + 2_000, free_slots=0, slot_s={})
        stores.beats.put(later)
        assert stores.beats.get("worker-1") == later
        assert list(stores.beats.all()) == [later]

    def test_all_are_those_of_the_whole_fleet_old_ones_too(self, stores: Stores) -> None:
        beats = [Beat(f"worker-{n}", "i", NOW_MS - 10_000 * n, 1, 0) for n in range(3)]
        for beat in beats:
            stores.beats.put(beat)
        assert sorted(stores.beats.all(), key=lambda beat: beat.worker_id) == beats

    def test_who_has_left_is_forgotten(self, stores: Stores) -> None:
        stores.beats.put(Beat("worker-1", "i", NOW_MS, 1, 0))
        for _ in range(2):
            stores.beats.remove("worker-1")
            assert stores.beats.get("worker-1") is None
        assert list(stores.beats.all()) == []
