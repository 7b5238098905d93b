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


def ask(ticket: str | None, **headers: str) -> dict[str, Any]:
    event = connect_event(ticket, **headers)
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


@pytest.mark.parametrize("header", ["Origin", "origin"])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "https://chat.example.com.evil.example",
        "http://chat.example.com",
        "https://chat.example.com:8443",
        "https://chat.example.com/",
        "null",
        "",
    ],
)
def test_a_page_that_is_not_ours_is_refused_and_does_not_use_the_ticket_up(
    cloud: Cloud, header: str, origin: str
) -> None:
    ticket = ticket_of(cloud, User("user-alice", Tier.PRO))
    reply = ask(ticket, **{header: origin})
    assert (reply["effect"], reply["principalId"], reply["context"]) == ("Deny", "nobody", {})
    assert ask(ticket)["effect"] == "Allow"


@pytest.mark.parametrize("header", ["Origin", "origin"])
def test_our_page_is_let_in_with_a_ticket_and_not_without(cloud: Cloud, header: str) -> None:
    ticket = ticket_of(cloud, User("user-alice", Tier.PRO))
    ours = {header: "https://chat.example.com"}
    assert ask(ticket, **ours)["effect"] == "Allow"
    assert ask(ticket, **ours)["effect"] == "Deny"


@pytest.mark.parametrize("place", ["headers", "multiValueHeaders"])
def test_an_origin_counts_wherever_the_event_has_it(cloud: Cloud, place: str) -> None:
    ticket = ticket_of(cloud, User("user-alice", Tier.PRO))
    event = connect_event(ticket, Origin="https://evil.example.com")
    del event[place]
    assert _effect(event) == "Deny"


def test_a_second_origin_does_not_hide_behind_ours(cloud: Cloud) -> None:
    event = connect_event(ticket_of(cloud, User("user-alice", Tier.PRO)))
    event["multiValueHeaders"]["Origin"] = ["https://chat.example.com", "https://evil.example.com"]
    assert _effect(event) == "Deny"


def _effect(event: dict[str, Any]) -> str:
    reply = load_function("ws_authorizer").handler(event, Context())
    effect: str = reply["policyDocument"]["Statement"][0]["Effect"]
    return effect
