"""Purge an account: the steps of removing all of a user, each of which may be repeated at any point.

shut ──▶ chats, until none is left ──▶ rest ──▶ (until nobody can speak for him) ──▶ forget
  ▲                                                                                    │
  └───────────────── the mark was lost, or a chat has come after all ◀─────────────────┘

Until `forget` the mark of `accounts.close` stands in the account and nothing else does: an ID token is
good for an hour after its user was locked out, and a socket that it opened for two more.
"""

from dataclasses import dataclass
from enum import StrEnum

from chatcore.domain import ledger as accounts
from chatcore.domain.errors import Conflict
from chatcore.ports import ExportFiles, Inboxes, Stores, UserPool
from chatcore.services.accounts import TRIES, close, mark_closed
from chatcore.services.purge import Purged, PurgeState, purge

BATCHES = 12
"""Of chats' purges, in one step."""

CHATS = 50
"""More than a user can have runs in: so among as many there is one that waits for no worker, or all do."""

TICKETS = 1_000
"""Looked at in one step."""


class Forgotten(StrEnum):
    MORE = "more"
    REOPENED = "reopened"
    """The mark is gone, or there is a chat: all begins anew."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Forgetting:
    """after_hash: what the next step is to be told where there is more."""

    state: Forgotten
    after_hash: str = ""


def shut(stores: Stores, inboxes: Inboxes, pool: UserPool, user_id: str, now_ms: int) -> None:
    """The mark first: locking somebody out does not take the tokens away that he has."""
    close(stores, inboxes, user_id, now_ms)
    pool.lock_out(user_id)


def remove_chats(stores: Stores, inboxes: Inboxes, user_id: str, now_ms: int) -> Purged:
    """A chat whose run a worker still holds is passed over until no other is left."""
    # Again each time: a worker of a release that does not know the mark would write the account without.
    mark_closed(stores, user_id, now_ms)
    chats = stores.chats.all(user_id, CHATS, "")
    batches, removed = 0, 0
    for chat in chats:
        while batches < BATCHES:
            batches += 1
            purged = purge(stores, inboxes, user_id, chat.chat_id, now_ms)
            removed += purged.removed
            if purged.state is not PurgeState.MORE:
                break
    if not chats:
        return Purged(PurgeState.DONE, 0)
    return Purged(PurgeState.MORE if removed else PurgeState.WAITING, removed)


def remove_rest(
    stores: Stores, files: ExportFiles, pool: UserPool, user_id: str, now_ms: int
) -> PurgeState:
    """What hangs on no chat; who signs in as this user last of all, so that a step that is repeated still
    finds him."""
    stores.usage.remove(user_id)
    if not files.remove(user_id):
        return PurgeState.MORE
    _lay_bare(stores, user_id, now_ms)
    pool.remove(user_id)
    return PurgeState.DONE


def forget(stores: Stores, files: ExportFiles, user_id: str, after_hash: str) -> Forgetting:
    """When nobody can speak for the user any more."""
    # An export that was under way when the account was closed has written its last file meanwhile.
    if not files.remove(user_id):
        return Forgetting(Forgotten.MORE, after_hash)
    swept = stores.tickets.remove_of(user_id, TICKETS, after_hash)
    if swept.next_id:
        return Forgetting(Forgotten.MORE, swept.next_id)
    if stores.chats.all(user_id, 1, "") or not stores.ledgers.forget(user_id):
        return Forgetting(Forgotten.REOPENED)
    return Forgetting(Forgotten.DONE)


def _lay_bare(stores: Stores, user_id: str, now_ms: int) -> None:
    for _ in range(TRIES):
        account = mark_closed(stores, user_id, now_ms)
        if accounts.is_bare(account):
            return
        try:
            stores.ledgers.put(accounts.bare(account), account.version)
        except Conflict:
            continue
        return
    raise Conflict(user_id)
