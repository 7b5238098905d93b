"""What the stores promise of long chats: one summary at a time, and none by a run that came too late."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chatcore.domain.admission import Admission, decide
from chatcore.domain.chat import STALE_COMPACTION_MS, Chat, Message
from chatcore.domain.errors import Conflict
from chatcore.domain.identity import background_id_for
from chatcore.domain.run import Ending, Event, FinishReason, Kind, Run, Usage
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.ports import Stores
from tests.contract.sends import ALICE, NOW_MS, admitted, claimed, send_of
from tests.contract.test_races import ROUNDS, THREADS, race

CHAT = Chat(ALICE.user_id, "c_long", None, NOW_MS, NOW_MS, last_seq=40)
STALE_MS = NOW_MS + STALE_COMPACTION_MS + 1
KEY = (CHAT.user_id, CHAT.chat_id)


def run_of(up_to_seq: int = 8, former: str = "", chat_id: str = CHAT.chat_id) -> Run:
    """The run that makes the chat's summary up to there, in place of the former."""
    return Run(
        run_id=background_id_for(Kind.SUMMARY, chat_id, up_to_seq),
        user_id=ALICE.user_id,
        chat_id=chat_id,
        tier=Tier.BACKGROUND,
        message_id="",
        message_seq=up_to_seq,
        digest="",
        created_ms=NOW_MS,
        kind=Kind.SUMMARY,
        summary_id=former,
        summary_tokens=500,
    )


def chat_of(stores: Stores) -> Chat:
    chat = stores.chats.get(*KEY)
    assert chat is not None
    return chat


@pytest.fixture
def long(stores: Stores) -> Stores:
    """With a long chat in it."""
    stores.chats.create(CHAT)
    return stores


class TestTitles:
    def test_a_chat_without_a_title_gets_one_once(self, long: Stores) -> None:
        assert long.chats.entitle(*KEY, "Größe 😀")
        assert not long.chats.entitle(*KEY, "Another")
        assert chat_of(long) == replace(CHAT, title="Größe 😀")

    def test_one_that_a_person_set_stays(self, long: Stores) -> None:
        assert long.chats.rename(*KEY, "Mine") is not None
        assert not long.chats.entitle(*KEY, "Theirs")
        assert chat_of(long).title == "Mine"

    def test_a_deleted_chat_and_none_get_none(self, long: Stores) -> None:
        assert not long.chats.entitle(ALICE.user_id, "c_other", "Ghost")
        assert not long.chats.entitle("user-bob", CHAT.chat_id, "Ghost")
        assert long.chats.get(ALICE.user_id, "c_other") is None
        long.chats.mark_deleted(*KEY, NOW_MS)
        assert not long.chats.entitle(*KEY, "Late")
        assert chat_of(long).title is None


class TestBeginning:
    def test_is_noted_with_its_run(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(), NOW_MS + 5)
        assert long.runs.get(run_of().run_id) == run_of()
        assert chat_of(long) == replace(CHAT, compacting=run_of().run_id, compacting_ms=NOW_MS + 5)

    def test_repeating_it_changes_nothing(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(), NOW_MS)
        running = claimed(long, run_of())
        before = chat_of(long)
        assert long.chats.begin_compaction(run_of(), NOW_MS + 9)
        assert long.runs.get(running.run_id) == running
        assert chat_of(long) == before

    @pytest.mark.parametrize("repeated", [False, True])
    def test_a_deleted_chat_has_none(self, long: Stores, repeated: bool) -> None:
        if repeated:
            assert long.chats.begin_compaction(run_of(), NOW_MS)
        long.chats.mark_deleted(*KEY, NOW_MS)
        before = chat_of(long)
        assert not long.chats.begin_compaction(run_of(), NOW_MS)
        assert chat_of(long) == before
        assert (long.runs.get(run_of().run_id) is not None) == repeated

    def test_a_chat_that_is_gone_has_none(self, stores: Stores) -> None:
        assert not stores.chats.begin_compaction(run_of(), NOW_MS)
        assert stores.runs.get(run_of().run_id) is None
        assert stores.chats.get(*KEY) is None

    @pytest.mark.parametrize(("has", "thought"), [("b_one", ""), ("", "b_one"), ("b_two", "b_one")])
    def test_another_summary_than_thought_refuses_it(
        self, stores: Stores, has: str, thought: str
    ) -> None:
        stores.chats.create(replace(CHAT, summary_id=has))
        assert not stores.chats.begin_compaction(run_of(former=thought), NOW_MS)
        assert stores.runs.get(run_of().run_id) is None
        assert chat_of(stores) == replace(CHAT, summary_id=has)

    def test_one_under_way_refuses_others_until_it_is_stale(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(8), NOW_MS)
        assert not long.chats.begin_compaction(run_of(12), STALE_MS - 1)
        assert long.runs.get(run_of(12).run_id) is None
        assert chat_of(long).compacting == run_of(8).run_id
        assert long.chats.begin_compaction(run_of(12), STALE_MS)
        assert chat_of(long) == replace(CHAT, compacting=run_of(12).run_id, compacting_ms=STALE_MS)

    def test_what_has_ended_is_not_begun_again(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(8), NOW_MS)
        long.chats.end_compaction(*KEY, run_of(8).run_id)
        assert chat_of(long) == CHAT
        # Its run is there, and may have ended: it would never be worked on.
        assert not long.chats.begin_compaction(run_of(8), NOW_MS)
        assert chat_of(long) == CHAT
        assert long.chats.begin_compaction(run_of(12), NOW_MS)

    def test_a_removed_run_does_not_come_back(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(), NOW_MS)
        long.chats.end_compaction(*KEY, run_of().run_id)
        long.runs.remove([run_of().run_id])
        assert not long.chats.begin_compaction(run_of(), NOW_MS)
        assert long.runs.get(run_of().run_id) is None


class TestCommitting:
    def test_the_summary_is_the_chats_and_the_next_may_begin(self, long: Stores) -> None:
        first = run_of(8)
        assert long.chats.begin_compaction(first, NOW_MS)
        for _ in range(2):
            assert long.chats.commit_summary(first)
            assert chat_of(long) == replace(CHAT, summary_id=first.run_id)
        second = run_of(12, former=first.run_id)
        assert long.chats.begin_compaction(second, NOW_MS)
        assert long.chats.commit_summary(second)
        assert chat_of(long) == replace(CHAT, summary_id=second.run_id)

    def test_without_a_beginning_there_is_none(self, long: Stores) -> None:
        assert not long.chats.commit_summary(run_of())
        assert chat_of(long) == CHAT
        assert not long.chats.commit_summary(run_of(chat_id="c_other"))
        assert long.chats.get(ALICE.user_id, "c_other") is None

    def test_a_deleted_chat_takes_none(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(), NOW_MS)
        long.chats.mark_deleted(*KEY, NOW_MS)
        before = chat_of(long)
        assert not long.chats.commit_summary(run_of())
        assert chat_of(long) == before

    def test_nor_does_one_that_was_deleted_after_it(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(), NOW_MS)
        assert long.chats.commit_summary(run_of())
        long.chats.mark_deleted(*KEY, NOW_MS)
        assert not long.chats.commit_summary(run_of())

    def test_an_older_run_comes_too_late(self, long: Stores) -> None:
        old, new = run_of(8), run_of(12)
        assert long.chats.begin_compaction(old, NOW_MS)
        assert long.chats.begin_compaction(new, STALE_MS)
        assert not long.chats.commit_summary(old)
        assert chat_of(long).compacting == new.run_id
        assert long.chats.commit_summary(new)
        assert not long.chats.commit_summary(old)
        assert chat_of(long) == replace(CHAT, summary_id=new.run_id)

    def test_a_released_one_comes_too_late(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(), NOW_MS)
        long.chats.end_compaction(*KEY, run_of().run_id)
        assert not long.chats.commit_summary(run_of())
        assert chat_of(long) == CHAT

    def test_a_former_that_is_not_the_chats_any_more_refuses_it(self, stores: Stores) -> None:
        run = run_of(former="b_one")
        stores.chats.create(replace(CHAT, summary_id="b_two", compacting=run.run_id))
        assert not stores.chats.commit_summary(run)
        assert chat_of(stores).summary_id == "b_two"


class TestEnding:
    def test_ends_its_own_only(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(8), NOW_MS)
        long.chats.end_compaction(*KEY, run_of(12).run_id)
        assert chat_of(long).compacting == run_of(8).run_id
        for _ in range(2):
            long.chats.end_compaction(*KEY, run_of(8).run_id)
            assert chat_of(long) == CHAT

    def test_of_a_deleted_chat_too(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(), NOW_MS)
        long.chats.mark_deleted(*KEY, NOW_MS)
        long.chats.end_compaction(*KEY, run_of().run_id)
        assert chat_of(long).compacting == ""

    def test_makes_no_chat(self, stores: Stores) -> None:
        stores.chats.end_compaction(*KEY, run_of().run_id)
        assert stores.chats.get(*KEY) is None

    def test_leaves_the_summary_that_came_of_it(self, long: Stores) -> None:
        assert long.chats.begin_compaction(run_of(), NOW_MS)
        assert long.chats.commit_summary(run_of())
        long.chats.end_compaction(*KEY, run_of().run_id)
        assert chat_of(long) == replace(CHAT, summary_id=run_of().run_id)


class TestBesideAnswers:
    """A chat is compacted while its answers go on: neither writes over the other."""

    @pytest.mark.parametrize("committed", [False, True])
    def test_a_send_keeps_what_came_after_its_view(self, long: Stores, committed: bool) -> None:
        send = send_of(chat_id=CHAT.chat_id)
        decision = decide(send, long.runs.view(send), DEFAULTS[Tier.FREE], NOW_MS)
        assert isinstance(decision, Admission)
        assert long.chats.begin_compaction(run_of(), NOW_MS)
        if committed:
            assert long.chats.commit_summary(run_of())
        before = chat_of(long)
        long.runs.admit(decision)
        after = chat_of(long)
        assert after.active_run_id == decision.run.run_id
        assert (after.summary_id, after.compacting, after.compacting_ms) == (
            before.summary_id,
            before.compacting,
            before.compacting_ms,
        )

    def test_an_answer_ends_and_begins_beside_it(self, long: Stores) -> None:
        answer = claimed(long, admitted(long, send_of(chat_id=CHAT.chat_id)))
        assert long.chats.begin_compaction(run_of(), NOW_MS)
        assert chat_of(long).active_run_id == answer.run_id
        ending = Ending(Event.COMPLETE, NOW_MS, "Hi", Usage(4, 0, 1), FinishReason.STOP)
        assert long.runs.end(answer, ending)
        assert chat_of(long).compacting == run_of().run_id
        assert long.chats.commit_summary(run_of())
        assert chat_of(long).summary_id == run_of().run_id
        # The next send knows of the summary.
        assert admitted(long, send_of("message-0002", chat_id=CHAT.chat_id)).summary_id == (
            run_of().run_id
        )

    def test_a_chat_comes_back_as_it_was_made(self, stores: Stores) -> None:
        chat = replace(CHAT, summary_id="b_one", compacting="b_two", compacting_ms=NOW_MS + 7)
        stores.chats.create(chat)
        assert chat_of(stores) == chat
        assert stores.chats.newest(ALICE.user_id, 9, None).items == [chat]


class TestSummaries:
    def test_they_come_back_as_they_were_put(self, stores: Stores) -> None:
        summary = Summary("c_1", "b_1", 3, 2_000, "## Facts\nGröße 😀\n", NOW_MS)
        stores.summaries.put(summary)
        assert stores.summaries.get("c_1", "b_1") == summary
        assert stores.summaries.get("c_1", "b_2") is None
        assert stores.summaries.get("c_2", "b_1") is None

    def test_what_a_run_puts_again_is_in_place_of_the_first(self, stores: Stores) -> None:
        first = Summary("c_1", "b_1", 1, 8, "## Facts", NOW_MS)
        second = replace(first, text="## Names", made_ms=NOW_MS + 1)
        for summary in (first, second):
            stores.summaries.put(summary)
        assert stores.summaries.get("c_1", "b_1") == second

    def test_all_but_the_kept_one_of_a_chat_go(self, stores: Stores) -> None:
        others = Summary("c_2", "b_1", 1, 8, "## Facts", NOW_MS)
        stores.summaries.put(others)
        made = [Summary("c_1", f"b_{number}", number, 8, "x", NOW_MS) for number in range(1, 4)]
        for summary in made:
            stores.summaries.put(summary)
        for _ in range(2):
            stores.summaries.remove("c_1", kept_id="b_3")
            found = [stores.summaries.get("c_1", summary.summary_id) for summary in made]
            assert found == [None, None, made[2]]
        stores.summaries.remove("c_1")
        assert stores.summaries.get("c_1", "b_3") is None
        stores.summaries.remove("c_1")
        assert stores.summaries.get("c_2", "b_1") == others


class TestBetween:
    def test_gives_the_places_in_between_in_reading_order(self, stores: Stores) -> None:
        whole, seqs = _turns(stores, 3)
        chat_id = whole[0].chat_id
        assert len(seqs) == 6
        assert list(stores.messages.between(chat_id, 0, seqs[5])) == whole
        assert list(stores.messages.between(chat_id, seqs[1], seqs[3])) == whole[2:4]
        assert list(stores.messages.between(chat_id, seqs[4], seqs[5] + 9)) == whole[5:]

    def test_of_no_places_there_are_none(self, stores: Stores) -> None:
        whole, (first, last) = _turns(stores, 1)
        chat_id = whole[0].chat_id
        assert list(stores.messages.between(chat_id, first, first)) == []
        assert list(stores.messages.between(chat_id, last, first)) == []
        assert list(stores.messages.between(chat_id, last, last + 9)) == []
        assert list(stores.messages.between("c_other", 0, last)) == []


class TestRaces:
    """One winner, whatever the timing."""

    def test_one_of_several_compactions_begins(self, racing_stores: Stores) -> None:
        stores = racing_stores
        stores.chats.create(CHAT)
        former = ""
        for number in range(ROUNDS):
            runs = [run_of(100 * number + place + 1, former) for place in range(THREADS)]
            assert race([_begins(stores, run) for run in runs]) == 1
            stored = [run for run in runs if stores.runs.get(run.run_id) is not None]
            assert [run.run_id for run in stored] == [chat_of(stores).compacting]
            assert stores.chats.commit_summary(stored[0])
            former = stored[0].run_id

    def test_the_same_begun_at_once_is_one(self, racing_stores: Stores) -> None:
        racing_stores.chats.create(CHAT)
        assert race([_begins(racing_stores, run_of())] * THREADS) == THREADS
        assert racing_stores.runs.get(run_of().run_id) == run_of()

    def test_a_commit_and_a_newer_beginning_leave_one_of_both(self, racing_stores: Stores) -> None:
        stores = racing_stores
        for number in range(ROUNDS):
            stores.chats.create(CHAT)
            old, new = run_of(100 * number + 1), run_of(100 * number + 2)
            assert stores.chats.begin_compaction(old, NOW_MS)
            commits: list[Callable[[], bool]] = [lambda run=old: stores.chats.commit_summary(run)]  # type: ignore[misc]
            assert race([*commits, _begins(stores, new, STALE_MS)]) == 1
            chat = chat_of(stores)
            assert (chat.summary_id, chat.compacting) in [(old.run_id, ""), ("", new.run_id)]
            assert (stores.runs.get(new.run_id) is not None) == (chat.summary_id == "")

    def test_a_title_is_given_once(self, racing_stores: Stores) -> None:
        racing_stores.chats.create(CHAT)

        def entitles(number: int) -> bool:
            return racing_stores.chats.entitle(*KEY, f"Title {number}")

        assert race([lambda n=n: entitles(n) for n in range(THREADS)]) == 1  # type: ignore[misc]


def _begins(stores: Stores, run: Run, now_ms: int = NOW_MS) -> Callable[[], bool]:
    def begins() -> bool:
        while True:
            try:
                return stores.chats.begin_compaction(run, now_ms)
            except Conflict:
                continue

    return begins


def _turns(stores: Stores, count: int) -> tuple[list[Message], list[int]]:
    """A chat of so many, in reading order, with their places."""
    chat_id: str | None = None
    ending = Ending(Event.COMPLETE, NOW_MS, "Hi", Usage(4, 0, 1), FinishReason.STOP)
    for number in range(count):
        run = claimed(stores, admitted(stores, send_of(f"message-{number:04d}", chat_id=chat_id)))
        assert stores.runs.end(run, ending)
        chat_id = run.chat_id
    assert chat_id is not None
    messages = list(reversed(stores.messages.newest(chat_id, 2 * count, None).items))
    return messages, [message.seq for message in messages]
