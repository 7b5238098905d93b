"""Owns the decision on a send: admit it, recognise it as a repeat, or refuse it and say why.

Pure: it sees what was read, and returns what is to be written in one transaction.
"""

from dataclasses import dataclass, replace

from chatcore.domain import ledger as accounts
from chatcore.domain.calendar import Calendar
from chatcore.domain.chat import Chat, Message, Role, check_text, next_seq, with_watcher
from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import User, chat_id_for, digest_of, run_id_for
from chatcore.domain.lanes import Lane
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Run
from chatcore.domain.tiers import TierLimits
from chatcore.domain.waiting import lane_for, too_old, wait_of

ACCOUNT_CLOSED_WORDS = "This account is being deleted. Nothing new can be started in it."


@dataclass(frozen=True, slots=True)
class Send:
    """What a user asks for. chat_id None: make a chat for it. viewer: the connection to stream to;
    trace_parent: as a run has it."""

    user: User
    chat_id: str | None
    message_id: str
    text: str
    viewer: str | None = None
    trace_id: str = ""
    trace_parent: str = ""

    @property
    def run_id(self) -> str:
        return run_id_for(self.user.user_id, self.message_id)

    @property
    def target_chat_id(self) -> str:
        return self.chat_id or chat_id_for(self.user.user_id, self.message_id)


@dataclass(frozen=True, slots=True)
class View:
    """What has been read before deciding; None where there is no such item. run_is_gone: there was such
    a run, and it was deleted with its chat."""

    chat: Chat | None
    run: Run | None
    ledger: Ledger
    calendar: Calendar
    run_is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """What one transaction writes. former_*: the state that it must still find. lane: where the run's job
    is to be put then; None where another run of the user waits before it (see `ledger`)."""

    run: Run
    message: Message
    chat: Chat
    former_chat: Chat | None
    ledger: Ledger
    former_ledger_version: int
    lane: Lane | None


@dataclass(frozen=True, slots=True)
class Repeat:
    """The send is known: its run, as it stands."""

    run: Run


def check_send(send: Send, limits: TierLimits) -> Refusal | None:
    """Why this text is refused whatever the state of chat and account, or None."""
    refusal = check_text(send.text, limits.max_text_chars, send.message_id)
    if refusal is not None:
        return refusal
    # By a guess, since counting takes a vocabulary; the worker, which has one, counts again.
    if accounts.estimate_tokens(send.text) > accounts.prompt_tokens(limits):
        return Refusal(
            Code.TEXT_TOO_LONG,
            "The message is longer than the model can read at once. Please shorten it.",
            send.message_id,
        )
    return None


def decide(send: Send, view: View, limits: TierLimits, now_ms: int) -> Admission | Repeat | Refusal:
    """The text has been checked before (see `check_send`)."""
    if view.ledger.is_closed:
        return Refusal(Code.ACCOUNT_CLOSED, ACCOUNT_CLOSED_WORDS, send.message_id)
    if view.run is not None:
        same_chat = send.chat_id in (None, view.run.chat_id)
        if same_chat and view.run.digest == digest_of(send.text):
            return Repeat(view.run)
        return Refusal(
            Code.MESSAGE_CONFLICT,
            "This message id was already used for another message.",
            send.message_id,
        )
    if view.run_is_gone:
        return Refusal(Code.CHAT_NOT_FOUND, "This chat has been deleted.", send.message_id)
    chat = view.chat
    if send.chat_id is not None and (chat is None or chat.deleted_ms is not None):
        return Refusal(Code.CHAT_NOT_FOUND, "There is no such chat.", send.message_id)
    if chat is not None and chat.deleted_ms is not None:
        return Refusal(Code.CHAT_NOT_FOUND, "This chat has been deleted.", send.message_id)
    if chat is not None and chat.active_run_id is not None:
        return Refusal(
            Code.RUN_ACTIVE,
            "An answer is still being written in this chat. Wait for it, or stop it.",
            send.message_id,
        )
    if limits.paused:
        return Refusal(
            Code.TIER_PAUSED,
            "No new messages are taken on your plan for now. Please try again later.",
            send.message_id,
        )
    return _admit(send, chat, view, limits, now_ms)


def _admit(
    send: Send, former_chat: Chat | None, view: View, limits: TierLimits, now_ms: int
) -> Admission | Refusal:
    ledger, tier = view.ledger, send.user.tier
    chat = former_chat or Chat(
        user_id=send.user.user_id,
        chat_id=send.target_chat_id,
        title=None,
        created_ms=now_ms,
        last_active_ms=now_ms,
    )
    tokens = accounts.reservation(send.text, chat.context_tokens, limits)
    reserved = accounts.reserve(ledger, send.run_id, tokens, limits, now_ms)
    if isinstance(reserved, Refusal):
        return replace(reserved, ref=send.message_id)
    seq = next_seq(chat.last_seq, now_ms)
    # Whoever sends has the chat open.
    watchers = with_watcher(chat.watchers, send.viewer) if send.viewer else chat.watchers
    run = Run(
        run_id=send.run_id,
        user_id=send.user.user_id,
        chat_id=chat.chat_id,
        tier=tier,
        message_id=send.message_id,
        message_seq=seq,
        digest=digest_of(send.text),
        created_ms=now_ms,
        reserved_tokens=tokens,
        weight=limits.weight,
        favourite=chat.worker_id or "",
        prefix_tokens=chat.context_tokens if chat.worker_id else 0,
        prior_seq=chat.last_seq,
        viewers=watchers,
        trace_id=send.trace_id,
        trace_parent=send.trace_parent,
        summary_id=chat.summary_id,
        untitled=chat.title is None,
    )
    wait = wait_of(run, reserved, view.calendar, now_ms)
    refusal = too_old(wait, limits.max_wait_s, now_ms, send.message_id)
    if refusal is not None:
        return refusal
    message = Message(
        chat_id=chat.chat_id,
        seq=seq,
        message_id=send.message_id,
        role=Role.USER,
        text=send.text,
        run_id=run.run_id,
        created_ms=now_ms,
    )
    return Admission(
        run=run,
        message=message,
        chat=replace(
            chat,
            last_seq=seq + 1,
            last_active_ms=now_ms,
            active_run_id=run.run_id,
            watchers=watchers,
        ),
        former_chat=former_chat,
        ledger=reserved,
        former_ledger_version=ledger.version,
        lane=None if ledger.waiting else lane_for(ledger, view.calendar),
    )
