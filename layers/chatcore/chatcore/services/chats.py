"""Chats: make, list, read, rename, delete. A foreign one answers as if it did not exist."""

from dataclasses import dataclass

from chatcore.domain.admission import ACCOUNT_CLOSED_WORDS
from chatcore.domain.chat import Chat, Message, check_title
from chatcore.domain.errors import Code, Conflict, Refusal
from chatcore.domain.identity import User, chat_id_from
from chatcore.domain.run import TERMINAL, Run
from chatcore.ports import Inboxes, Page, Purges, Stores
from chatcore.services.cancel import cancel

TRIES = 4
"""That the account is open is asked in the same transaction, and sends and workers write it."""


@dataclass(frozen=True, slots=True)
class OpenChat:
    """A chat with the run that is active in it."""

    chat: Chat
    active_run: Run | None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A chat that is hidden from now on. ended_run: its run, whose viewers are to be told."""

    chat: Chat
    ended_run: Run | None


def create_chat(
    stores: Stores, user: User, title: str | None, random_bytes: bytes, now_ms: int
) -> Chat | Refusal:
    if title is not None and (refusal := check_title(title)):
        return refusal
    chat = Chat(
        user_id=user.user_id,
        chat_id=chat_id_from(random_bytes),
        title=title,
        created_ms=now_ms,
        last_active_ms=now_ms,
    )
    for _ in range(TRIES):
        try:
            created = stores.chats.create(chat)
        except Conflict:
            continue
        return chat if created else Refusal(Code.ACCOUNT_CLOSED, ACCOUNT_CLOSED_WORDS)
    raise Conflict(user.user_id)


def list_chats(stores: Stores, user: User, limit: int, after: tuple[int, str] | None) -> Page[Chat]:
    return stores.chats.newest(user.user_id, limit, after)


def open_chat(stores: Stores, user: User, chat_id: str) -> OpenChat | Refusal:
    chat = _visible(stores, user, chat_id)
    if isinstance(chat, Refusal):
        return chat
    run = stores.runs.get(chat.active_run_id) if chat.active_run_id else None
    return OpenChat(chat, run)


def list_messages(
    stores: Stores, user: User, chat_id: str, limit: int, before_seq: int | None
) -> Page[Message] | Refusal:
    """Newest first."""
    chat = _visible(stores, user, chat_id)
    if isinstance(chat, Refusal):
        return chat
    return stores.messages.newest(chat_id, limit, before_seq)


def rename_chat(stores: Stores, user: User, chat_id: str, title: str) -> Chat | Refusal:
    if refusal := check_title(title):
        return refusal
    return stores.chats.rename(user.user_id, chat_id, title) or _not_found()


def delete_chat(
    stores: Stores, inboxes: Inboxes, purges: Purges, user: User, chat_id: str, now_ms: int
) -> Deleted | Refusal:
    """Start the chat's purge, hide it, stop its run. Returns the chat, and the run if it was ended here.

    The purge hides it too, and stops its run. So once it has started the chat goes, whatever dies here;
    before that nothing has happened.
    """
    if stores.chats.get(user.user_id, chat_id) is None:
        return _not_found()
    purges.start(user.user_id, chat_id)
    chat = stores.chats.mark_deleted(user.user_id, chat_id, now_ms)
    if chat is None:
        return _not_found()
    if chat.active_run_id is None:
        return Deleted(chat, None)
    # The purge would stop it too; here it frees its slot at once.
    run = cancel(stores, inboxes, user, chat.active_run_id, now_ms)
    return Deleted(chat, run if isinstance(run, Run) and run.status in TERMINAL else None)


def _visible(stores: Stores, user: User, chat_id: str) -> Chat | Refusal:
    chat = stores.chats.get(user.user_id, chat_id)
    return _not_found() if chat is None or chat.deleted_ms is not None else chat


def _not_found() -> Refusal:
    return Refusal(Code.CHAT_NOT_FOUND, "There is no such chat.")
