"""What every store promises, whichever side it is on."""

import dataclasses
from typing import Any

import pytest

from chatcore.domain import lease
from chatcore.domain import ledger as accounts
from chatcore.domain.admission import Admission, decide
from chatcore.domain.chat import MAX_WATCHERS, Chat, Message, Role
from chatcore.domain.errors import Code, Conflict, Refusal
from chatcore.domain.identity import User
from chatcore.domain.ledger import Ledger, virtual
from chatcore.domain.run import Ending, Event, FinishReason, Kind, Run, Status, Usage
from chatcore.domain.stream import Checkpoint
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.ports import Claimed, Held, Over, Stores, Ticket
from tests.contract.sends import ALICE, NOW_MS, admitted, claimed, send_of

USAGE = Usage(input_tokens=40, cached_tokens=16, output_tokens=10)
COST = (40 - 16) + 2 * 10


def ending(event: Event = Event.COMPLETE, text: str = "Hi there", **changes: Any) -> Ending:
    reasons = {
        Event.COMPLETE: FinishReason.STOP,
        Event.CANCEL: FinishReason.CANCELLED,
        Event.FAIL: FinishReason.FAILED,
    }
    made = Ending(event, NOW_MS + 500, text, USAGE, reasons[event], context_tokens=50)
    return dataclasses.replace(made, **changes)


HOUR_MS = 3_600_000


def chat_of(chat_id: str, last_active_ms: int = NOW_MS) -> Chat:
    return Chat(ALICE.user_id, chat_id, None, NOW_MS, last_active_ms)


class TestChats:
    def test_a_chat_comes_back_as_it_was_made(self, stores: Stores) -> None:
        chat = dataclasses.replace(chat_of("c_one"), title="Größe 😀")
        stores.chats.create(chat)
        assert stores.chats.get(ALICE.user_id, "c_one") == chat

    def test_another_users_chat_is_not_there(self, stores: Stores) -> None:
        stores.chats.create(chat_of("c_one"))
        assert stores.chats.get("user-bob", "c_one") is None
        assert stores.chats.rename("user-bob", "c_one", "mine") is None
        assert stores.chats.mark_deleted("user-bob", "c_one", NOW_MS) is None

    def test_pages_go_from_latest_activity_without_gap_or_repeat(self, stores: Stores) -> None:
        for number in range(7):
            # Two of each time: a page may end between them.
            stores.chats.create(chat_of(f"c_{number}", NOW_MS + number // 2))
        seen: list[str] = []
        after = None
        while True:
            page = stores.chats.newest(ALICE.user_id, 2, after)
            seen += [chat.chat_id for chat in page.items]
            after = page.next_key
            if after is None:
                break
        assert seen == ["c_6", "c_5", "c_4", "c_3", "c_2", "c_1", "c_0"]

    def test_the_order_is_exact_within_an_hour_and_across_hours(self, stores: Stores) -> None:
        # On DynamoDB the index knows the hour alone: ids that sort against the times, pages that end
        # within an hour and between two.
        times_ms = [0, 1, 2, HOUR_MS - 1, HOUR_MS, HOUR_MS + 1, 3 * HOUR_MS]
        begin_ms = NOW_MS // HOUR_MS * HOUR_MS
        for number, time_ms in enumerate(times_ms):
            stores.chats.create(chat_of(f"c_{9 - number}", begin_ms + time_ms))
        expected = [f"c_{9 - number}" for number in reversed(range(len(times_ms)))]
        for limit in range(1, len(times_ms) + 1):
            seen: list[str] = []
            after = None
            while True:
                page = stores.chats.newest(ALICE.user_id, limit, after)
                assert len(page.items) <= limit
                seen += [chat.chat_id for chat in page.items]
                after = page.next_key
                if after is None:
                    break
            assert seen == expected, limit

    def test_deleted_chats_leave_the_list_at_once(self, stores: Stores) -> None:
        for name in ("c_1", "c_2", "c_3"):
            stores.chats.create(chat_of(name))
        stores.chats.mark_deleted(ALICE.user_id, "c_2", NOW_MS)
        page = stores.chats.newest(ALICE.user_id, 10, None)
        assert {chat.chat_id for chat in page.items} == {"c_1", "c_3"}

    def test_deleting_again_keeps_the_first_time(self, stores: Stores) -> None:
        stores.chats.create(chat_of("c_1"))
        stores.chats.mark_deleted(ALICE.user_id, "c_1", NOW_MS)
        again = stores.chats.mark_deleted(ALICE.user_id, "c_1", NOW_MS + 9)
        assert again is not None
        assert again.deleted_ms == NOW_MS

    def test_a_deleted_chat_takes_no_title(self, stores: Stores) -> None:
        stores.chats.create(chat_of("c_1"))
        stores.chats.mark_deleted(ALICE.user_id, "c_1", NOW_MS)
        assert stores.chats.rename(ALICE.user_id, "c_1", "late") is None

    def test_renaming_a_chat_that_is_not_there_makes_none(self, stores: Stores) -> None:
        assert stores.chats.rename(ALICE.user_id, "c_1", "ghost") is None
        assert stores.chats.get(ALICE.user_id, "c_1") is None

    def test_removing_twice_is_no_error(self, stores: Stores) -> None:
        stores.chats.create(chat_of("c_1"))
        stores.chats.remove(ALICE.user_id, "c_1")
        stores.chats.remove(ALICE.user_id, "c_1")
        assert stores.chats.get(ALICE.user_id, "c_1") is None


class TestWatchers:
    def watchers(self, stores: Stores, chat_id: str) -> frozenset[str]:
        chat = stores.chats.get(ALICE.user_id, chat_id)
        assert chat is not None
        return chat.watchers

    def test_whoever_watches_views_each_run_that_comes(self, stores: Stores) -> None:
        run = admitted(stores, send_of())
        assert run.viewers == {"socket-1"}
        assert stores.runs.end(claimed(stores, run), ending())
        for _ in range(2):
            assert stores.chats.watch(ALICE.user_id, run.chat_id, "socket-2")
        second = admitted(stores, send_of("message-0002", chat_id=run.chat_id))
        stored = stores.runs.get(second.run_id)
        assert stored is not None
        assert stored.viewers == self.watchers(stores, run.chat_id) == {"socket-1", "socket-2"}

    def test_who_comes_while_a_send_is_decided_is_not_forgotten(self, stores: Stores) -> None:
        run = admitted(stores, send_of())
        assert stores.runs.end(claimed(stores, run), ending())
        send = dataclasses.replace(send_of("message-0002", chat_id=run.chat_id), viewer="socket-3")
        decision = decide(send, stores.runs.view(send), DEFAULTS[Tier.FREE], NOW_MS)
        assert isinstance(decision, Admission)
        assert stores.chats.watch(ALICE.user_id, run.chat_id, "socket-2")
        stores.runs.admit(decision)
        assert self.watchers(stores, run.chat_id) == {"socket-1", "socket-2", "socket-3"}

    def test_who_is_gone_is_forgotten_with_the_end(self, stores: Stores) -> None:
        run = admitted(stores, send_of())
        stores.chats.watch(ALICE.user_id, run.chat_id, "socket-2")
        gone = frozenset({"socket-1", "never-noted"})
        assert stores.runs.end(claimed(stores, run), ending(gone=gone))
        assert self.watchers(stores, run.chat_id) == {"socket-2"}
        second = admitted(stores, send_of("message-0002", chat_id=run.chat_id))
        gone = frozenset({"socket-1", "socket-2"})
        assert stores.runs.end(claimed(stores, second), ending(gone=gone))
        assert self.watchers(stores, run.chat_id) == frozenset()

    def test_too_many_begin_anew(self, stores: Stores) -> None:
        stores.chats.create(chat_of("c_1"))
        for number in range(MAX_WATCHERS):
            stores.chats.watch(ALICE.user_id, "c_1", f"socket-{number}")
        assert len(self.watchers(stores, "c_1")) == MAX_WATCHERS
        stores.chats.watch(ALICE.user_id, "c_1", "one-more")
        assert self.watchers(stores, "c_1") == {"one-more"}
        for number in range(MAX_WATCHERS - 1):
            stores.chats.watch(ALICE.user_id, "c_1", f"socket-{number}")
        run = admitted(stores, dataclasses.replace(send_of(chat_id="c_1"), viewer="sender"))
        assert run.viewers == self.watchers(stores, "c_1") == {"sender"}

    def test_only_ones_own_chat_that_is_there(self, stores: Stores) -> None:
        stores.chats.create(chat_of("c_1"))
        assert not stores.chats.watch("user-bob", "c_1", "socket-9")
        assert not stores.chats.watch(ALICE.user_id, "c_2", "socket-9")
        stores.chats.mark_deleted(ALICE.user_id, "c_1", NOW_MS)
        assert not stores.chats.watch(ALICE.user_id, "c_1", "socket-9")
        assert stores.chats.get(ALICE.user_id, "c_2") is None


class TestAdmission:
    def test_writes_run_message_chat_and_ledger(self, stores: Stores) -> None:
        run = admitted(stores, send_of(text="Hello 😀"))
        assert stores.runs.get(run.run_id) == run
        chat = stores.chats.get(ALICE.user_id, run.chat_id)
        assert chat is not None
        assert chat.active_run_id == run.run_id
        (message,) = stores.messages.newest(run.chat_id, 10, None).items
        assert (message.text, message.role) == ("Hello 😀", Role.USER)
        assert stores.ledgers.get(ALICE.user_id).active == {run.run_id: run.reserved_tokens}

    def test_the_view_finds_what_was_written(self, stores: Stores) -> None:
        send = send_of()
        run = admitted(stores, send)
        view = stores.runs.view(send)
        assert view.run == run
        assert view.chat == stores.chats.get(ALICE.user_id, run.chat_id)
        assert view.ledger == stores.ledgers.get(ALICE.user_id)

    def test_the_same_decision_cannot_be_written_twice(self, stores: Stores) -> None:
        send = send_of()
        decision = decide(send, stores.runs.view(send), DEFAULTS[Tier.FREE], NOW_MS)
        assert isinstance(decision, Admission)
        stores.runs.admit(decision)
        with pytest.raises(Conflict):
            stores.runs.admit(decision)

    @pytest.mark.parametrize("meanwhile", ["other_chat", "same_chat", "deleted"])
    def test_what_changed_after_the_view_is_noticed(self, stores: Stores, meanwhile: str) -> None:
        chat = chat_of("c_1")
        stores.chats.create(chat)
        send = send_of("message-late", chat_id="c_1")
        decision = decide(send, stores.runs.view(send), DEFAULTS[Tier.FREE], NOW_MS)
        assert isinstance(decision, Admission)
        if meanwhile == "deleted":
            stores.chats.mark_deleted(ALICE.user_id, "c_1", NOW_MS)
        else:
            target = "c_1" if meanwhile == "same_chat" else None
            admitted(stores, send_of("message-first", chat_id=target))
        with pytest.raises(Conflict):
            stores.runs.admit(decision)
        assert stores.runs.get(decision.run.run_id) is None

    def test_a_title_set_meanwhile_stays(self, stores: Stores) -> None:
        stores.chats.create(chat_of("c_1"))
        send = send_of(chat_id="c_1")
        decision = decide(send, stores.runs.view(send), DEFAULTS[Tier.FREE], NOW_MS)
        assert isinstance(decision, Admission)
        stores.chats.rename(ALICE.user_id, "c_1", "Chosen")
        stores.runs.admit(decision)
        chat = stores.chats.get(ALICE.user_id, "c_1")
        assert chat is not None
        assert chat.title == "Chosen"


class TestClaim:
    def test_gives_the_run_under_the_next_epoch(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert (run.status, run.epoch, run.worker_id) == (Status.RUNNING, 1, "worker-1")
        assert run.lease_until_ms == lease.until(NOW_MS)
        assert run.viewers == {"socket-1"}
        assert stores.runs.get(run.run_id) == run

    def test_a_held_run_is_not_given_twice(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert stores.runs.claim(run.run_id, "worker-2", "i", NOW_MS + 1) == Held(
            run.lease_until_ms
        )

    def test_what_a_holder_told_before_it_died_is_lost_once(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert stores.runs.renew(run.run_id, run.epoch, run.lease_until_ms, charged=70) is not None
        late_ms = run.lease_until_ms + lease.SKEW_MARGIN_MS + 1
        second = claimed(stores, run, "worker-2", late_ms)
        assert (second.lost, second.charged) == (70, 0)
        # One that hands back in good order has told all that it spent.
        until_ms = second.lease_until_ms
        assert stores.runs.renew(run.run_id, second.epoch, until_ms, charged=150) is not None
        assert stores.runs.hand_back(run.run_id, second.epoch, USAGE)
        third = claimed(stores, run, "worker-3", late_ms)
        assert (third.lost, third.charged) == (70, 0)
        assert stores.runs.end(third, ending())
        ledger = stores.ledgers.get(ALICE.user_id)
        assert ledger.served == virtual(COST, third.weight) + 70
        assert ledger.settled_tokens == COST

    def test_after_the_lease_another_worker_takes_over(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        late_ms = run.lease_until_ms + lease.SKEW_MARGIN_MS
        assert isinstance(stores.runs.claim(run.run_id, "worker-2", "i", late_ms), Held)
        taken = stores.runs.claim(run.run_id, "worker-2", "i", late_ms + 1)
        assert isinstance(taken, Claimed)
        assert (taken.run.epoch, taken.run.attempts, taken.run.worker_id) == (2, 1, "worker-2")
        assert taken.run.started_ms == run.started_ms

    def test_a_run_that_is_over_or_unknown_is_not_given(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert stores.runs.end(run, ending())
        assert stores.runs.claim(run.run_id, "worker-2", "i", NOW_MS) == Over()
        assert stores.runs.claim("r_unknown", "worker-2", "i", NOW_MS) == Over()


class TestLease:
    def test_renewing_moves_its_end(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        renewed = stores.runs.renew(run.run_id, run.epoch, NOW_MS + 99_000)
        assert renewed is not None
        assert renewed.lease_until_ms == NOW_MS + 99_000

    def test_a_late_renewal_does_not_make_it_shorter(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        for until_ms in (NOW_MS + 99_000, NOW_MS + 99_000):
            assert stores.runs.renew(run.run_id, run.epoch, until_ms) is not None
        assert stores.runs.renew(run.run_id, run.epoch, NOW_MS + 98_000) is None
        stored = stores.runs.get(run.run_id)
        assert stored is not None
        assert stored.lease_until_ms == NOW_MS + 99_000

    def test_an_older_epoch_writes_nothing(self, stores: Stores) -> None:
        old = claimed(stores, admitted(stores, send_of()))
        late_ms = old.lease_until_ms + lease.SKEW_MARGIN_MS + 1
        new = stores.runs.claim(old.run_id, "worker-2", "i", late_ms)
        assert isinstance(new, Claimed)
        assert stores.runs.renew(old.run_id, old.epoch, NOW_MS + 99_000) is None
        assert not stores.runs.hand_back(old.run_id, old.epoch, Usage(), fault=False)
        assert not stores.runs.end(old, ending(text="from the grave"))
        assert stores.runs.get(old.run_id) == new.run
        assert stores.messages.newest(old.chat_id, 9, old.message_seq + 9).items[0].text == "Hello"

    def test_handing_back_queues_the_run_with_what_it_spent(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert stores.runs.hand_back(run.run_id, run.epoch, USAGE, fault=True)
        queued = stores.runs.get(run.run_id)
        assert queued is not None
        assert (queued.status, queued.spent, queued.attempts) == (Status.QUEUED, USAGE, 1)
        assert (queued.worker_id, queued.inbox, queued.lease_until_ms) == (None, None, 0)
        again = claimed(stores, run, "worker-2")
        assert (again.epoch, again.spent) == (2, USAGE)


class TestEnd:
    def test_stores_the_answer_settles_and_frees_the_chat(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert stores.runs.end(run, ending(text="Hi 😀"))
        stored = stores.runs.get(run.run_id)
        assert stored is not None
        assert (stored.status, stored.usage, stored.length) == (Status.COMPLETED, USAGE, 4)
        assert stored.viewers == frozenset()
        answer, question = stores.messages.newest(run.chat_id, 10, None).items
        assert answer == Message(
            chat_id=run.chat_id,
            seq=question.seq + 1,
            message_id=run.answer_message_id,
            role=Role.ASSISTANT,
            text="Hi 😀",
            run_id=run.run_id,
            created_ms=NOW_MS + 500,
            finish_reason=FinishReason.STOP,
            usage=USAGE,
        )
        chat = stores.chats.get(ALICE.user_id, run.chat_id)
        assert chat is not None
        assert (chat.active_run_id, chat.context_tokens) == (None, 50)
        ledger = stores.ledgers.get(ALICE.user_id)
        assert (ledger.active, ledger.settled_tokens) == ({}, COST)
        assert [ledger.used_tokens(window) for window in ledger.windows] == [COST, COST]

    def test_happens_once(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert stores.runs.end(run, ending())
        assert not stores.runs.end(run, ending(Event.CANCEL))
        assert stores.ledgers.get(ALICE.user_id).settled_tokens == COST

    def test_a_queued_run_can_only_be_cancelled(self, stores: Stores) -> None:
        run = admitted(stores, send_of())
        assert not stores.runs.end(run, ending())
        assert stores.runs.end(run, ending(Event.CANCEL, text="", usage=Usage()))
        stored = stores.runs.get(run.run_id)
        assert stored is not None
        assert stored.status is Status.CANCELLED
        assert len(stores.messages.newest(run.chat_id, 10, None).items) == 1
        assert stores.ledgers.get(ALICE.user_id).settled_tokens == 0

    def test_a_claim_in_between_beats_the_cancel_of_a_queued_run(self, stores: Stores) -> None:
        seen = admitted(stores, send_of())
        claimed(stores, seen)
        assert not stores.runs.end(seen, ending(Event.CANCEL, text=""))

    def test_a_failure_keeps_the_text_and_its_code(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert stores.runs.end(
            run, ending(Event.FAIL, text="Half an", failure=Code.ENGINE_UNAVAILABLE)
        )
        stored = stores.runs.get(run.run_id)
        assert stored is not None
        assert (stored.status, stored.failure) == (Status.FAILED, Code.ENGINE_UNAVAILABLE)
        assert stores.messages.newest(run.chat_id, 1, None).items[0].text == "Half an"

    def test_an_empty_answer_is_an_answer(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert stores.runs.end(run, ending(text=""))
        assert stores.messages.newest(run.chat_id, 1, None).items[0].text == ""

    def test_an_unknown_context_size_leaves_the_former_one(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        stores.runs.end(run, ending())
        second = claimed(stores, admitted(stores, send_of("message-0002", chat_id=run.chat_id)))
        stores.runs.end(second, ending(Event.CANCEL, text="", context_tokens=None))
        chat = stores.chats.get(ALICE.user_id, run.chat_id)
        assert chat is not None
        assert chat.context_tokens == 50


class TestNotes:
    def test_viewers_gather_while_the_run_is_active(self, stores: Stores) -> None:
        run = admitted(stores, send_of())
        queued = stores.runs.add_viewer(run.run_id, "socket-2")
        assert queued is not None
        running = claimed(stores, run)
        assert running.viewers == {"socket-1", "socket-2"}
        assert stores.runs.end(running, ending())
        assert stores.runs.add_viewer(run.run_id, "socket-3") is None
        assert stores.runs.add_viewer("r_unknown", "socket-3") is None
        assert stores.runs.get("r_unknown") is None

    def test_of_several_who_put_a_job_in_anew_one_does(self, stores: Stores) -> None:
        run = admitted(stores, send_of())
        assert stores.runs.note_requeued(run, NOW_MS + 1)
        assert not stores.runs.note_requeued(run, NOW_MS + 2)
        noted = stores.runs.get(run.run_id)
        assert noted is not None
        assert noted.requeued_ms == NOW_MS + 1
        running = claimed(stores, noted)
        assert not stores.runs.note_requeued(noted, NOW_MS + 3)
        # Of one that nobody makes any more it is noted too.
        assert stores.runs.note_requeued(running, NOW_MS + 4)
        assert not stores.runs.note_requeued(running, NOW_MS + 5)
        assert not stores.runs.note_requeued(
            dataclasses.replace(run, run_id="r_unknown"), NOW_MS + 3
        )
        assert stores.runs.get("r_unknown") is None

    def test_a_cancel_is_noted_on_a_running_run_only(self, stores: Stores) -> None:
        run = admitted(stores, send_of())
        assert stores.runs.request_cancel(run.run_id) is None
        running = claimed(stores, run)
        noted = stores.runs.request_cancel(run.run_id)
        assert noted == dataclasses.replace(running, cancel_requested=True)


class TestClosedAccounts:
    def closed(self, stores: Stores, user_id: str = ALICE.user_id) -> Ledger:
        before = stores.ledgers.get(user_id)
        account = accounts.closed(before, NOW_MS)
        stores.ledgers.put(account, before.version)
        return account

    def test_the_mark_comes_back_and_outlives_what_is_written_of_runs(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        account = self.closed(stores)
        assert stores.ledgers.get(ALICE.user_id) == account
        assert account.closed_ms == NOW_MS
        stores.ledgers.charge(ALICE.user_id, run.run_id, 9)
        assert stores.runs.end(run, ending())
        after = stores.ledgers.get(ALICE.user_id)
        assert (after.closed_ms, dict(after.active)) == (NOW_MS, {})
        assert stores.runs.view(send_of("message-0002")).ledger.is_closed

    def test_no_chat_is_made_in_one(self, stores: Stores) -> None:
        assert stores.chats.create(chat_of("c_before"))
        self.closed(stores)
        assert not stores.chats.create(chat_of("c_after"))
        assert stores.chats.get(ALICE.user_id, "c_after") is None
        assert stores.chats.create(dataclasses.replace(chat_of("c_bob"), user_id="user-bob"))

    def test_nothing_that_was_decided_before_is_admitted_after(self, stores: Stores) -> None:
        send = send_of()
        decision = decide(send, stores.runs.view(send), DEFAULTS[Tier.FREE], NOW_MS)
        assert isinstance(decision, Admission)
        self.closed(stores)
        with pytest.raises(Conflict):
            stores.runs.admit(decision)
        refused = decide(send, stores.runs.view(send), DEFAULTS[Tier.FREE], NOW_MS)
        assert isinstance(refused, Refusal)
        assert (refused.code, refused.ref) == (Code.ACCOUNT_CLOSED, send.message_id)

    def test_only_one_that_is_closed_is_forgotten(self, stores: Stores) -> None:
        admitted(stores, send_of())
        assert not stores.ledgers.forget(ALICE.user_id)
        assert stores.ledgers.get(ALICE.user_id).version == 1
        self.closed(stores)
        assert stores.ledgers.forget(ALICE.user_id)
        assert stores.ledgers.get(ALICE.user_id) == Ledger(ALICE.user_id)
        assert stores.ledgers.forget(ALICE.user_id)

    def test_laid_bare_it_says_that_it_is_closed_and_no_more(self, stores: Stores) -> None:
        admitted(stores, send_of())
        account = self.closed(stores)
        stores.ledgers.put(accounts.bare(account), account.version)
        after = stores.ledgers.get(ALICE.user_id)
        assert accounts.is_bare(after)
        assert not accounts.is_bare(account)
        assert (after.closed_ms, after.version) == (NOW_MS, account.version + 1)


class TestWalks:
    """Through all of a user's chats, and through whole tables."""

    def test_all_chats_come_in_the_order_of_their_ids(self, stores: Stores) -> None:
        for number in range(5):
            stores.chats.create(chat_of(f"c_{number}", NOW_MS - number))
        stores.chats.create(dataclasses.replace(chat_of("c_bob"), user_id="user-bob"))
        stores.chats.mark_deleted(ALICE.user_id, "c_2", NOW_MS)
        seen: list[str] = []
        while page := stores.chats.all(ALICE.user_id, 2, seen[-1] if seen else ""):
            assert len(page) <= 2
            seen += [chat.chat_id for chat in page]
        assert seen == [f"c_{number}" for number in range(5)]

    def test_messages_come_oldest_first(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        assert stores.runs.end(run, ending())
        first, second = stores.messages.oldest(run.chat_id, 10, 0)
        assert (first.role, second.role) == (Role.USER, Role.ASSISTANT)
        assert stores.messages.oldest(run.chat_id, 1, 0) == [first]
        assert stores.messages.oldest(run.chat_id, 10, first.seq) == [second]
        assert stores.messages.oldest(run.chat_id, 10, second.seq) == []

    def test_active_answers_are_found_among_all_runs(self, stores: Stores) -> None:
        runs = [
            admitted(
                stores, send_of(f"message-{number:04d}", user=User(f"user-{number}", Tier.FREE))
            )
            for number in range(7)
        ]
        running = claimed(stores, runs[1])
        assert stores.runs.end(claimed(stores, runs[2]), ending())
        stores.runs.remove([runs[2].run_id])
        assert stores.runs.end(claimed(stores, runs[3]), ending())
        background = dataclasses.replace(
            runs[0], run_id="b_title", kind=Kind.TITLE, tier=Tier.BACKGROUND
        )
        stores.runs.put(background)
        found: dict[str, Run] = {}
        after_id, looked_at, pages = "", 0, 0
        while True:
            page = stores.runs.active(3, after_id)
            assert page.looked_at <= 3
            found |= {run.run_id: run for run in page.runs}
            looked_at += page.looked_at
            pages += 1
            after_id = page.next_id
            if not after_id:
                break
        assert found == {run.run_id: run for run in (runs[0], running, *runs[4:])}
        assert looked_at >= 7
        assert pages >= 3

    def test_a_users_tickets_go_and_no_others(self, stores: Stores) -> None:
        for number in range(7):
            owner = "user-bob" if number % 3 else ALICE.user_id
            stores.tickets.put(Ticket(f"hash-{number}", owner, Tier.FREE, NOW_MS + 30_000))
        after_hash, looked_at = "", 0
        while True:
            swept = stores.tickets.remove_of(ALICE.user_id, 2, after_hash)
            looked_at += swept.looked_at
            after_hash = swept.next_id
            if not after_hash:
                break
        assert looked_at == 7
        taken = [stores.tickets.take(f"hash-{number}", NOW_MS) for number in range(7)]
        assert [number for number, ticket in enumerate(taken) if ticket] == [1, 2, 4, 5]

    def test_a_users_days_go_and_no_others(self, stores: Stores) -> None:
        bob = User("user-bob", Tier.FREE)
        for user in (ALICE, bob):
            for day in range(30):
                send = send_of(f"message-{user.user_id}-{day}", user=user)
                run = claimed(stores, admitted(stores, send, NOW_MS + day * 86_400_000))
                end = dataclasses.replace(ending(), ended_ms=NOW_MS + day * 86_400_000)
                assert stores.runs.end(run, end)
        for _ in range(2):
            stores.usage.remove(ALICE.user_id)
            assert stores.usage.days(ALICE.user_id, "0000-00-00", "9999-99-99") == []
        assert len(stores.usage.days(bob.user_id, "0000-00-00", "9999-99-99")) == 30


class TestMessages:
    def test_pages_go_from_the_newest_without_gap_or_repeat(self, stores: Stores) -> None:
        chat_id = _three_turns(stores).chat_id
        texts: list[str] = []
        before = None
        while True:
            page = stores.messages.newest(chat_id, 2, before)
            texts += [message.text for message in page.items]
            if page.next_key is None:
                break
            before = page.next_key[0]
        assert texts == ["answer 2", "text 2", "answer 1", "text 1", "answer 0", "text 0"]

    def test_removing_takes_what_is_there(self, stores: Stores) -> None:
        chat_id = _three_turns(stores).chat_id
        newest = stores.messages.newest(chat_id, 2, None).items
        stores.messages.remove(chat_id, newest)
        stores.messages.remove(chat_id, newest)
        assert len(stores.messages.newest(chat_id, 10, None).items) == 4


class TestCheckpoints:
    def test_all_pieces_of_a_run_come_back(self, stores: Stores) -> None:
        pieces = [
            Checkpoint("r_1", 1, 0, "Hello"),
            Checkpoint("r_1", 1, 5, " wörld"),
            Checkpoint("r_1", 2, 0, "Hello"),
        ]
        for piece in [*pieces, Checkpoint("r_2", 1, 0, "other")]:
            stores.runs.put_checkpoints([piece], NOW_MS)
        found = stores.runs.checkpoints("r_1")
        assert sorted(found, key=lambda c: (c.epoch, c.offset)) == pieces

    def test_they_go_with_their_run(self, stores: Stores) -> None:
        run = admitted(stores, send_of())
        for offset in range(30):
            stores.runs.put_checkpoints([Checkpoint(run.run_id, 1, offset, "x")], NOW_MS)
        stores.runs.remove([run.run_id, "r_unknown"])
        assert stores.runs.get(run.run_id) is None
        assert stores.runs.checkpoints(run.run_id) == []


class TestRemovedRuns:
    def test_a_late_repeat_of_the_send_finds_that_it_is_gone(self, stores: Stores) -> None:
        run = claimed(stores, admitted(stores, send_of()))
        first = stores.runs.view(send_of())
        assert (first.run is not None, first.run_is_gone) == (True, False)
        assert stores.runs.end(run, ending())
        for _ in range(2):
            stores.runs.remove([run.run_id])
            assert stores.runs.get(run.run_id) is None
            view = stores.runs.view(send_of())
            assert (view.run, view.run_is_gone) == (None, True)
        refusal = decide(send_of(), view, DEFAULTS[Tier.FREE], NOW_MS)
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.CHAT_NOT_FOUND

    def test_nothing_brings_it_back(self, stores: Stores) -> None:
        send = send_of()
        late = decide(send, stores.runs.view(send), DEFAULTS[Tier.FREE], NOW_MS)
        run = claimed(stores, admitted(stores, send))
        assert stores.runs.end(run, ending())
        stores.runs.remove([run.run_id])
        assert isinstance(late, Admission)
        with pytest.raises(Conflict):
            stores.runs.admit(late)
        assert stores.runs.claim(run.run_id, "worker-1", "i", NOW_MS) == Over()
        assert stores.runs.add_viewer(run.run_id, "socket-1") is None
        assert stores.runs.request_cancel(run.run_id) is None
        assert not stores.runs.end(run, ending())
        assert stores.runs.get(run.run_id) is None


class TestTickets:
    def test_a_ticket_works_once_and_in_time(self, stores: Stores) -> None:
        ticket = Ticket("hash-1", "user-alice", Tier.PRO, NOW_MS + 30_000)
        stores.tickets.put(ticket)
        taken = stores.tickets.take("hash-1", NOW_MS)
        assert taken is not None
        assert (taken.user_id, taken.tier) == ("user-alice", Tier.PRO)
        assert stores.tickets.take("hash-1", NOW_MS) is None

    def test_an_expired_or_unknown_one_does_not(self, stores: Stores) -> None:
        stores.tickets.put(Ticket("hash-1", "user-alice", Tier.PRO, NOW_MS))
        assert stores.tickets.take("hash-1", NOW_MS) is None
        assert stores.tickets.take("hash-2", NOW_MS) is None


def _three_turns(stores: Stores) -> Run:
    run: Run | None = None
    for number in range(3):
        chat_id = run.chat_id if run else None
        send = send_of(f"message-{number:04d}", f"text {number}", chat_id=chat_id)
        run = claimed(stores, admitted(stores, send, NOW_MS + number))
        assert stores.runs.end(run, ending(text=f"answer {number}"))
    assert run is not None
    return run
