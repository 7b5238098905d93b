"""The decision on a send: admitted, a repeat, or refused with the reason that comes first."""

from dataclasses import replace

import pytest

from chatcore.domain.admission import Admission, Repeat, Send, View, decide
from chatcore.domain.calendar import Calendar
from chatcore.domain.chat import Chat, Role
from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import User, digest_of
from chatcore.domain.ledger import Ledger, Window, reservation
from chatcore.domain.run import Run, Status
from chatcore.domain.tiers import DEFAULTS, Tier

NOW_MS = 1_800_000_000_000
ALICE = User("user-alice", Tier.FREE)
FREE = DEFAULTS[Tier.FREE]
SEND = Send(ALICE, None, "message-0001", "Hello", "socket-1", "trace-1")
IN_CHAT = replace(SEND, chat_id="c_1")
CHAT = Chat("user-alice", "c_1", "Title", 1, 2, last_seq=NOW_MS + 50, context_tokens=300)
EMPTY = Ledger("user-alice")
CALENDAR = Calendar(Tier.FREE)
NOTHING = View(chat=None, run=None, ledger=EMPTY, calendar=CALENDAR)


def known_run(send: Send) -> Run:
    return Run(
        run_id=send.run_id,
        user_id=ALICE.user_id,
        chat_id=send.target_chat_id,
        tier=Tier.FREE,
        message_id=send.message_id,
        message_seq=1,
        digest=digest_of(send.text),
        created_ms=1,
        status=Status.COMPLETED,
    )


def admitted(send: Send, view: View) -> Admission:
    decision = decide(send, view, FREE, NOW_MS)
    assert isinstance(decision, Admission)
    return decision


def refused(send: Send, view: View) -> Refusal:
    decision = decide(send, view, FREE, NOW_MS)
    assert isinstance(decision, Refusal)
    assert decision.ref == send.message_id
    return decision


def test_without_a_chat_one_is_made() -> None:
    admission = admitted(SEND, NOTHING)
    assert admission.former_chat is None
    assert admission.chat.chat_id == SEND.target_chat_id == admission.run.chat_id
    assert admission.chat.active_run_id == admission.run.run_id == SEND.run_id
    assert (admission.message.role, admission.message.text) == (Role.USER, "Hello")
    assert admission.message.seq == admission.run.message_seq == NOW_MS
    assert admission.chat.last_seq == NOW_MS + 1
    assert admission.run.viewers == {"socket-1"}
    assert admission.run.trace_id == "trace-1"
    assert (admission.run.status, admission.run.epoch) == (Status.QUEUED, 0)


def test_in_a_chat_it_goes_behind_all_there_is() -> None:
    admission = admitted(IN_CHAT, View(CHAT, None, EMPTY, CALENDAR))
    assert admission.former_chat == CHAT
    assert admission.message.seq == CHAT.last_seq + 1
    assert admission.chat == replace(
        CHAT,
        last_seq=CHAT.last_seq + 2,
        last_active_ms=NOW_MS,
        active_run_id=admission.run.run_id,
        watchers=frozenset({"socket-1"}),
    )


def test_what_it_may_cost_is_reserved() -> None:
    ledger = replace(EMPTY, version=7)
    admission = admitted(IN_CHAT, View(CHAT, None, ledger, CALENDAR))
    tokens = reservation("Hello", CHAT.context_tokens, FREE)
    assert admission.run.reserved_tokens == tokens
    assert admission.ledger.active == {admission.run.run_id: tokens}
    assert (admission.former_ledger_version, admission.ledger.version) == (7, 8)


def test_without_a_viewer_nobody_views() -> None:
    assert admitted(replace(SEND, viewer=None), NOTHING).run.viewers == frozenset()


@pytest.mark.parametrize("status", Status)
def test_a_known_send_is_a_repeat_in_whatever_state(status: Status) -> None:
    run = replace(known_run(SEND), status=status)
    for send in (SEND, replace(SEND, chat_id=run.chat_id)):
        assert decide(send, View(None, run, EMPTY, CALENDAR), FREE, NOW_MS) == Repeat(run)


def test_a_repeat_comes_before_every_other_reason() -> None:
    run = known_run(SEND)
    full = replace(EMPTY, active={"a": 1, "b": 1}, settled_tokens=10**9, windows=(Window(2**50),))
    busy = replace(CHAT, active_run_id=run.run_id, deleted_ms=1)
    assert decide(SEND, View(busy, run, full, CALENDAR), FREE, NOW_MS) == Repeat(run)


@pytest.mark.parametrize("other", [replace(SEND, text="Other"), replace(SEND, chat_id="c_other")])
def test_the_same_id_for_something_else_is_a_conflict(other: Send) -> None:
    run = known_run(SEND)
    outcome = refused(other, View(None, run, EMPTY, CALENDAR))
    assert outcome.code is Code.MESSAGE_CONFLICT


@pytest.mark.parametrize(
    ("send", "chat", "code"),
    [
        (IN_CHAT, None, Code.CHAT_NOT_FOUND),
        (IN_CHAT, replace(CHAT, deleted_ms=5), Code.CHAT_NOT_FOUND),
        (IN_CHAT, replace(CHAT, deleted_ms=5, active_run_id="r_9"), Code.CHAT_NOT_FOUND),
        (SEND, replace(CHAT, deleted_ms=5), Code.CHAT_NOT_FOUND),
        (IN_CHAT, replace(CHAT, active_run_id="r_9"), Code.RUN_ACTIVE),
        (SEND, replace(CHAT, active_run_id="r_9"), Code.RUN_ACTIVE),
    ],
)
def test_chats_that_take_no_message(send: Send, chat: Chat | None, code: Code) -> None:
    assert refused(send, View(chat, None, EMPTY, CALENDAR)).code is code


def test_an_account_that_is_full_or_used_up() -> None:
    full = replace(EMPTY, active=dict.fromkeys(("a", "b"), 1))
    assert refused(SEND, View(None, None, full, CALENDAR)).code is Code.TOO_MANY_ACTIVE_RUNS
    tokens = FREE.budgets[0].tokens
    used_up = replace(EMPTY, settled_tokens=tokens, windows=(Window(NOW_MS + 9),))
    outcome = refused(SEND, View(None, None, used_up, CALENDAR))
    assert (outcome.code, outcome.retry_at_ms) == (Code.BUDGET_EXHAUSTED, NOW_MS + 9)
    over = replace(used_up, windows=(Window(NOW_MS),))
    ledger = admitted(SEND, View(None, None, over, CALENDAR)).ledger
    assert [ledger.used_tokens(window) for window in ledger.windows] == [0, 0]


def test_a_paused_tier_takes_nothing_new_and_still_knows_what_it_took() -> None:
    paused = replace(FREE, paused=True)
    refusal = decide(SEND, NOTHING, paused, NOW_MS)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.ref) == (Code.TIER_PAUSED, SEND.message_id)
    assert refusal.message.endswith(".")
    run = known_run(SEND)
    assert decide(SEND, View(None, run, EMPTY, CALENDAR), paused, NOW_MS) == Repeat(run)
