"""Purge: remove all of a deleted chat, a batch a call, so that any step may be repeated.

What it used stays in the user's days: that is what he has to pay for, whatever he deletes."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chatcore.domain.chat import Chat, Message, Role
from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import User, background_id_for
from chatcore.domain.run import TERMINAL, Kind
from chatcore.domain.tiers import Tier
from chatcore.ports import Inboxes, Stores
from chatcore.services.cancel import cancel

BATCH = 50


class PurgeState(StrEnum):
    WAITING = "waiting"
    """A run of the chat is still ending."""
    MORE = "more"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Purged:
    state: PurgeState
    removed: int


def purge(stores: Stores, inboxes: Inboxes, user_id: str, chat_id: str, now_ms: int) -> Purged:
    """Messages go last of a batch, since they name the runs; the chat goes last of all."""
    # Hidden here too: whoever started the purge may have died before he came to it.
    chat = stores.chats.mark_deleted(user_id, chat_id, now_ms)
    if chat is None:
        return Purged(PurgeState.DONE, 0)
    for run_id in (chat.active_run_id, chat.compacting):
        if run_id and not _is_over(stores, inboxes, user_id, run_id, now_ms):
            return Purged(PurgeState.WAITING, 0)
    messages = stores.messages.newest(chat_id, BATCH, before_seq=None).items
    if not messages:
        # Whose run has ended writes no more of them.
        stores.summaries.remove(chat_id)
        stores.chats.remove(user_id, chat_id)
        return Purged(PurgeState.DONE, 1)
    stores.runs.remove(
        sorted({message.run_id for message in messages} | _of_titles(chat, messages))
    )
    stores.messages.remove(chat_id, messages)
    return Purged(PurgeState.MORE, len(messages))


def _of_titles(chat: Chat, messages: Sequence[Message]) -> set[str]:
    """The runs that may still wait to make a title of these, if they ever existed: they hold ids too."""
    if chat.title is not None:
        return set()
    return {
        background_id_for(Kind.TITLE, chat.chat_id, message.seq)
        for message in messages
        if message.role is Role.USER
    }


def _is_over(stores: Stores, inboxes: Inboxes, user_id: str, run_id: str, now_ms: int) -> bool:
    """Whether the run has ended, being told to if it has not."""
    outcome = cancel(stores, inboxes, User(user_id, Tier.FREE), run_id, now_ms)
    if isinstance(outcome, Refusal):
        return outcome.code is Code.RUN_NOT_FOUND
    return outcome.status in TERMINAL
