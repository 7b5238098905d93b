"""Tickets: hard to guess, kept as a hash, good once and not for long."""

import pytest

from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.stores import memory_stores
from chatcore.domain.identity import User
from chatcore.domain.tiers import Tier
from chatcore.services.tickets import LIFETIME_MS, RANDOM_BYTES, issue_ticket, redeem_ticket

ALICE = User("user-alice", Tier.PRO)
NOW_MS = 1_800_000_000_000


def test_a_ticket_is_redeemed_once() -> None:
    database = MemoryDatabase()
    tickets = memory_stores(database).tickets
    issued = issue_ticket(tickets, ALICE, b"\x01" * RANDOM_BYTES, NOW_MS)
    assert issued.expires_ms == NOW_MS + LIFETIME_MS
    assert redeem_ticket(tickets, issued.ticket, NOW_MS + LIFETIME_MS - 1) == ALICE
    assert redeem_ticket(tickets, issued.ticket, NOW_MS) is None


def test_only_its_hash_is_kept_and_it_fits_a_url() -> None:
    database = MemoryDatabase()
    issued = issue_ticket(memory_stores(database).tickets, ALICE, b"\xff" * RANDOM_BYTES, NOW_MS)
    assert issued.ticket not in repr(database.tickets)
    assert all(character.isalnum() or character in "-_" for character in issued.ticket)
    assert len(issued.ticket) >= 43


@pytest.mark.parametrize("ticket", ["", "forged", "é", "\ud800"])
def test_forged_ones_open_nothing(ticket: str) -> None:
    tickets = memory_stores(MemoryDatabase()).tickets
    issue_ticket(tickets, ALICE, b"\x01" * RANDOM_BYTES, NOW_MS)
    assert redeem_ticket(tickets, ticket, NOW_MS) is None


def test_an_expired_one_opens_nothing() -> None:
    tickets = memory_stores(MemoryDatabase()).tickets
    issued = issue_ticket(tickets, ALICE, b"\x01" * RANDOM_BYTES, NOW_MS)
    assert redeem_ticket(tickets, issued.ticket, issued.expires_ms) is None
