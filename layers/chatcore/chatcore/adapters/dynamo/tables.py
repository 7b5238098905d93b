"""Owns the binding of items to a deployment's tables, all over one client."""

from dataclasses import dataclass
from typing import TypeVar

from botocore.session import Session
from pynamodb.connection import Connection
from pynamodb.models import Model

from chatcore.adapters.aws import session
from chatcore.adapters.dynamo.items import (
    BeatItem,
    CalendarItem,
    ChatItem,
    CheckpointItem,
    LedgerItem,
    MessageItem,
    RunItem,
    SummaryItem,
    TicketItem,
    UsageItem,
)

_Item = TypeVar("_Item", bound=Model)

CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 3.0
RETRIES = 2
"""Together well below the gateway's 29 s; pynamodb's own defaults (60 s) are above it."""


@dataclass(frozen=True, slots=True)
class TableNames:
    chats: str = ""
    messages: str = ""
    summaries: str = ""
    runs: str = ""
    checkpoints: str = ""
    ledgers: str = ""
    usage: str = ""
    tickets: str = ""
    calendars: str = ""
    workers: str = ""


@dataclass(frozen=True, slots=True)
class Tables:
    """The item classes of one deployment."""

    connection: Connection
    chat: type[ChatItem]
    message: type[MessageItem]
    summary: type[SummaryItem]
    run: type[RunItem]
    checkpoint: type[CheckpointItem]
    ledger: type[LedgerItem]
    usage: type[UsageItem]
    ticket: type[TicketItem]
    calendar: type[CalendarItem]
    beat: type[BeatItem]


class _Connection(Connection):
    """pynamodb's, over this process's session and not over one more for each thread."""

    @property
    def session(self) -> Session:
        return session()


def open_tables(names: TableNames, max_connections: int = 10) -> Tables:
    """A table without a name is one that this process may not touch: using it fails.

    The client is made here: pynamodb would make it at the first request, in a Lambda outside of its
    initialisation.
    """
    connection = _Connection(
        connect_timeout_seconds=CONNECT_TIMEOUT_S,
        read_timeout_seconds=READ_TIMEOUT_S,
        max_retry_attempts=RETRIES,
        max_pool_connections=max_connections,
    )
    # A property that makes it.
    _ = connection.client
    return Tables(
        connection=connection,
        chat=_bound(ChatItem, names.chats, connection),
        message=_bound(MessageItem, names.messages, connection),
        summary=_bound(SummaryItem, names.summaries, connection),
        run=_bound(RunItem, names.runs, connection),
        checkpoint=_bound(CheckpointItem, names.checkpoints, connection),
        ledger=_bound(LedgerItem, names.ledgers, connection),
        usage=_bound(UsageItem, names.usage, connection),
        ticket=_bound(TicketItem, names.tickets, connection),
        calendar=_bound(CalendarItem, names.calendars, connection),
        beat=_bound(BeatItem, names.workers, connection),
    )


def _bound(item: type[_Item], table_name: str, connection: Connection) -> type[_Item]:
    if not table_name:
        return item
    meta = type("Meta", (), {"table_name": table_name})
    bound: type[_Item] = type(item.__name__, (item,), {"Meta": meta, "__module__": item.__module__})
    # pynamodb would open a client for each class, each loading the service's model anew, which a
    # cold start pays for. There is no public way to hand it one.
    table = bound._get_connection()
    connection.add_meta_table(table.get_meta_table())
    table.connection = connection
    return bound
