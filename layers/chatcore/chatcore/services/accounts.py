"""Accounts: close one, so that nothing new is taken in it, and have all of it removed.

    a send   read the account ───────────────────────── admit it, if the account is as it was read: no
    close                      write the mark ── stop what was admitted before

The mark is in the account itself, which every send reads anyway.
"""

from dataclasses import dataclass

from chatcore.domain import ledger as accounts
from chatcore.domain.errors import Code, Conflict, Refusal
from chatcore.domain.identity import User
from chatcore.domain.run import TERMINAL, Run
from chatcore.domain.tiers import Tier
from chatcore.ports import AccountPurges, Inboxes, Stores
from chatcore.services.cancel import cancel

TRIES = 6
"""An account is written by its user's sends and by the workers of his runs."""


@dataclass(frozen=True, slots=True)
class Closed:
    """ended_runs: those that were ended here, whose viewers are to be told."""

    closed_ms: int
    ended_runs: tuple[Run, ...] = ()


def delete_account(
    stores: Stores,
    inboxes: Inboxes,
    purges: AccountPurges,
    user: User,
    email: str,
    confirmed_email: str,
    now_ms: int,
) -> Closed | Refusal:
    """Start the removal of all that there is of the user, and close his account at once.

    The removal closes it too. So once it has started all goes, whatever dies here; before that nothing
    has happened.
    """
    if not email or confirmed_email.strip().casefold() != email.casefold():
        return Refusal(
            Code.CONFIRMATION_WRONG,
            "To delete the account, give its e-mail address. Nothing has been deleted.",
        )
    purges.start(user.user_id)
    return close(stores, inboxes, user.user_id, now_ms)


def close(stores: Stores, inboxes: Inboxes, user_id: str, now_ms: int) -> Closed:
    """Done again, it does what is left. Raises StoreUnavailable, Conflict."""
    account = mark_closed(stores, user_id, now_ms)
    ended = []
    for run_id in sorted(account.active):
        run = cancel(stores, inboxes, User(user_id, Tier.FREE), run_id, now_ms)
        if isinstance(run, Run) and run.status in TERMINAL:
            ended.append(run)
    return Closed(account.closed_ms, tuple(ended))


def mark_closed(stores: Stores, user_id: str, now_ms: int) -> accounts.Ledger:
    """The account with the mark in it, whoever has put it there."""
    for _ in range(TRIES):
        ledger = stores.ledgers.get(user_id)
        account = accounts.closed(ledger, now_ms)
        if account is ledger:
            return account
        try:
            stores.ledgers.put(account, ledger.version)
        except Conflict:
            continue
        return account
    raise Conflict(user_id)
