"""$connect's authorizer: one ticket, one socket, and who opens it is never the client's word."""

from typing import Any

import pytest

from chatcore.domain.identity import User
from chatcore.domain.tiers import Tier
from chatcore.services.tickets import LIFETIME_MS, RANDOM_BYTES, issue_ticket
from tests.unit.functions.cloud import Cloud
from tests.unit.functions.events import connect_event
from tests.unit.functions.loading import Context, load_function


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    cloud.enter(load_function("ws_authorizer"), monkeypatch)
    return cloud


def ask(ticket: str | None) -> dict[str, Any]:
    event = connect_event(ticket)
    reply: dict[str, Any] = load_function("ws_authorizer").handler(event, Context())
    (statement,) = reply["policyDocument"]["Statement"]
    assert statement["Resource"] == event["methodArn"]
    return {**reply, "effect": statement["Effect"]}


def ticket_of(cloud: Cloud, user: User) -> str:
    return issue_ticket(cloud.stores.tickets, user, b"\x07" * RANDOM_BYTES, cloud.clock()).ticket


def test_a_ticket_lets_its_user_in_once(cloud: Cloud) -> None:
    ticket = ticket_of(cloud, User("user-alice", Tier.PRO))
    reply = ask(ticket)
    assert (reply["effect"], reply["principalId"]) == ("Allow", "user-alice")
    assert reply["context"] == {"user_id": "user-alice", "tier": "pro"}
    again = ask(ticket)
    assert (again["effect"], again["context"]) == ("Deny", {})


def test_one_that_is_too_old_does_not(cloud: Cloud) -> None:
    ticket = ticket_of(cloud, User("user-alice", Tier.PRO))
    cloud.clock.advance(LIFETIME_MS)
    assert ask(ticket)["effect"] == "Deny"


@pytest.mark.parametrize("ticket", [None, "", "forged", "é" * 99, "\ud800", "x" * 9_000])
def test_anything_else_is_refused(cloud: Cloud, ticket: str | None) -> None:
    ticket_of(cloud, User("user-alice", Tier.PRO))
    reply = ask(ticket)
    assert (reply["effect"], reply["principalId"], reply["context"]) == ("Deny", "nobody", {})
