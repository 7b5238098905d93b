"""Dispatch: note that a run has got its first slot, or is over without one, and put the user's next one's
job into the lanes.

read ──▶ next one's job into its lane ──▶ write the account
                                       ▲
                   died here: the run's own job comes back, and whoever gets it
                   does this again; a job that is there twice is harmless
"""

from dataclasses import replace

from chatcore.domain import ledger as accounts
from chatcore.domain.calendar import Calendar
from chatcore.domain.errors import Conflict
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Status
from chatcore.domain.waiting import lane_for
from chatcore.ports import Lanes, Stores
from chatcore.protocol.queue import job_for

TRIES = 6
"""An account is written by its user's sends and by the workers of his other runs."""


def dispatch(
    stores: Stores,
    lanes: Lanes,
    calendar: Calendar,
    user_id: str,
    run_id: str,
    weight: int,
    now_ms: int,
) -> int:
    """What the run was charged in virtual time; 0 where it is over. Done again, it changes nothing.

    calendar: of the run's tier, as far as is known. Raises StoreUnavailable, Conflict: do it again.
    """
    for _ in range(TRIES):
        ledger = stores.ledgers.get(user_id)
        account = accounts.dispatched(ledger, run_id, calendar.tier, calendar.virtual_time, weight)
        if account is None:
            return ledger.charged.get(run_id, 0)
        if account.waiting[:1] != ledger.waiting[:1]:
            account = _next_put(stores, lanes, calendar, account, now_ms)
        try:
            stores.ledgers.put(account, ledger.version)
        except Conflict:
            continue
        return account.charged.get(run_id, 0)
    raise Conflict(user_id)


def _next_put(
    stores: Stores, lanes: Lanes, calendar: Calendar, account: Ledger, now_ms: int
) -> Ledger:
    """The account whose first waiting run has a job in the lanes."""
    while account.waiting:
        run = stores.runs.get(account.waiting[0])
        if run is not None and run.status is Status.QUEUED:
            lanes.send(lane_for(account, calendar, now_ms - run.created_ms), job_for(run))
            break
        # Over, or running by a job that came to it all the same: the one behind it is the first.
        account = replace(account, waiting=account.waiting[1:])
    return account
