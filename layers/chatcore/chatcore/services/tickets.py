"""Tickets: trade a token for a single-use right to open a socket, and redeem it there.

The ticket travels in a URL, which ends up in access logs: so it lives 30 s, works once, and only
its hash is stored.
"""

import base64
import hashlib
from dataclasses import dataclass

from chatcore.domain.identity import User
from chatcore.ports import Ticket, TicketStore

LIFETIME_MS = 30_000
RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Issued:
    ticket: str
    expires_ms: int


def issue_ticket(tickets: TicketStore, user: User, random_bytes: bytes, now_ms: int) -> Issued:
    """random_bytes: RANDOM_BYTES from a secure source."""
    ticket = base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode("ascii")
    expires_ms = now_ms + LIFETIME_MS
    tickets.put(Ticket(_hash(ticket), user.user_id, user.tier, expires_ms))
    return Issued(ticket, expires_ms)


def redeem_ticket(tickets: TicketStore, ticket: str, now_ms: int) -> User | None:
    """The user that it was issued to; None when it is forged, used or expired."""
    taken = tickets.take(_hash(ticket), now_ms)
    return None if taken is None else User(taken.user_id, taken.tier)


def _hash(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).hexdigest()
