"""Every bad input gets a stable code, leaves nothing behind, and leaves the connection usable."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.cloud import Cloud
from tests.person import Person, make_account, new_message_id, sign_in

pytestmark = pytest.mark.integration

PLUS_MAX_TEXT_CHARS = 12_000


@pytest.fixture
def unchanged(alice: Person) -> Iterator[Person]:
    """Alice, of whom the tables hold no more behind the test than before."""
    before = alice.footprint()
    yield alice
    assert alice.footprint() == before


def _send(without: str = "", **changes: Any) -> str:
    """A send's frame with changed fields, and without one of them."""
    fields = {"action": "send", "chat_id": None, "message_id": new_message_id(), "text": "Hello."}
    return json.dumps(
        {name: value for name, value in (fields | changes).items() if name != without}
    )


BAD_FRAMES = {
    "empty": ("", "frame_not_json"),
    "words": ("hello", "frame_not_json"),
    "half an object": ('{"action": "send"', "frame_not_json"),
    "null": ("null", "frame_not_object"),
    "list": ('["send"]', "frame_not_object"),
    "text": ('"send"', "frame_not_object"),
    "no action": ("{}", "action_unknown"),
    "unknown action": ('{"action": "shout"}', "action_unknown"),
    "action of another type": ('{"action": ["send"]}', "action_unknown"),
    "no message id": (_send(without="message_id"), "field_invalid"),
    "message id of another type": (_send(message_id=12345678), "field_invalid"),
    "short message id": (_send(message_id="short"), "field_invalid"),
    "message id with a line end": (_send(message_id="12345678\n"), "field_invalid"),
    "message id in other digits": (_send(message_id="١٢٣٤٥٦٧٨"), "field_invalid"),
    "no text": (_send(without="text"), "field_invalid"),
    "text of another type": (_send(text=["Hello."]), "field_invalid"),
    "chat id of another type": (_send(chat_id=7), "field_invalid"),
    "empty text": (_send(text=""), "text_empty"),
    "white space": (_send(text=" \n\t\u00a0"), "text_empty"),
    "too much text": (_send(text="a" * (PLUS_MAX_TEXT_CHARS + 1)), "text_too_long"),
    "too large a frame": (_send(text="a" * 33_000), "frame_too_large"),
    "too large in bytes only": (
        '{"action": "send", "message_id": "12345678", "text": "' + "漢" * 11_000 + '"}',
        "frame_too_large",
    ),
    "half a surrogate pair": (_send(text="Hello \ud83d."), "text_invalid"),
    "control character": (_send(text="Hello \u0000."), "text_invalid"),
    "escape character": (_send(text="\u001b[31mHello"), "text_invalid"),
    "unknown chat": (_send(chat_id="c_" + "a" * 26), "chat_not_found"),
    "no chat id at all": (_send(chat_id="'; DROP TABLE"), "chat_not_found"),
    "empty chat id": (_send(chat_id=""), "chat_not_found"),
    "longer than any key": (_send(chat_id="c" * 3_000), "chat_not_found"),
    "half a pair as chat id": (_send(chat_id="\ud83d"), "chat_not_found"),
    "cancel of nothing": ('{"action": "cancel"}', "field_invalid"),
    "cancel of an unknown run": ('{"action": "cancel", "run_id": "r_x"}', "run_not_found"),
    "cancel of half a pair": ('{"action": "cancel", "run_id": "\\ud83d"}', "run_not_found"),
    "cancel of an empty id": ('{"action": "cancel", "run_id": ""}', "run_not_found"),
    "attach to an unknown run": ('{"action": "attach", "run_id": "r_x"}', "run_not_found"),
    "attach below 0": ('{"action": "attach", "run_id": "r_x", "offset": -1}', "field_invalid"),
    "attach beyond reason": (
        '{"action": "attach", "run_id": "r_x", "offset": 1e300}',
        "field_invalid",
    ),
    "attach at a text": (
        '{"action": "attach", "run_id": "r_x", "offset": "1"}',
        "field_invalid",
    ),
    "attach of a past epoch": (
        '{"action": "attach", "run_id": "r_x", "epoch": -1}',
        "field_invalid",
    ),
}


def test_bad_frames_are_refused_on_a_connection_that_stays_usable(unchanged: Person) -> None:
    """One connection for all of them: none of them may spoil it for the next."""
    with unchanged.line() as line:
        codes = {name: line.refused(frame)["code"] for name, (frame, _) in BAD_FRAMES.items()}
        assert line.is_alive()
    assert codes == {name: code for name, (_, code) in BAD_FRAMES.items()}


def test_a_refusal_names_the_frame_it_answers(unchanged: Person) -> None:
    with unchanged.line() as line:
        refused = line.refused(_send(message_id="my-message-1", text=""))
        assert refused["ref"] == "my-message-1"
        assert line.refused('{"action": "cancel", "run_id": "r_x"}')["ref"] == "r_x"


def test_a_connection_that_was_refused_often_still_answers(alice: Person) -> None:
    with alice.line() as line:
        line.refused("no JSON")
        line.refused(_send(text=""))
        line.finish(line.ask("My dog is called Biscuit."))


BAD_BODIES: dict[str, tuple[Any, str]] = {
    "not JSON": ("{", "body_not_json"),
    "no fields": ({}, "field_invalid"),
    "a list": ([], "field_invalid"),
    "number as text": ({"message_id": "12345678", "text": 5}, "field_invalid"),
    "short message id": ({"message_id": "short", "text": "Hello."}, "field_invalid"),
    "empty text": ({"message_id": "12345678", "text": " "}, "text_empty"),
    "too much text": (
        {"message_id": "12345678", "text": "a" * (PLUS_MAX_TEXT_CHARS + 1)},
        "text_too_long",
    ),
    "control character": ({"message_id": "12345678", "text": "\u0007"}, "text_invalid"),
    "half a surrogate pair": ('{"message_id": "12345678", "text": "\\ud83d."}', "text_invalid"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies_are_refused(alice: Person, name: str) -> None:
    body, code = BAD_BODIES[name]
    chat_id = alice.post("/chats", {})["chat_id"]
    before = alice.footprint()
    content = body if isinstance(body, str) else json.dumps(body)
    assert alice.refused(
        "POST",
        f"/chats/{chat_id}/messages",
        content=content,
        headers={"content-type": "application/json"},
    ) == (400, code)
    assert alice.footprint() == before


def test_a_body_over_the_limit_is_refused(unchanged: Person) -> None:
    body = {"title": "x" * 140_000}
    assert unchanged.refused("POST", "/chats", json=body) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "request_", "code"),
    [
        ("GET", "/chats", {"params": {"limit": 0}}, "field_invalid"),
        ("GET", "/chats", {"params": {"limit": "many"}}, "field_invalid"),
        ("GET", "/chats", {"params": {"cursor": "forged"}}, "cursor_invalid"),
        ("GET", "/chats", {"params": {"cursor": "WzEsMl0"}}, "cursor_invalid"),
        ("GET", "/chats", {"params": {"cursor": "a" * 5000}}, "cursor_invalid"),
        ("POST", "/chats", {"json": {"title": ""}}, "text_empty"),
        ("POST", "/chats", {"json": {"title": "x" * 201}}, "text_too_long"),
        ("POST", "/chats", {"json": {"title": "\u0000"}}, "text_invalid"),
        ("POST", "/chats", {"json": {"title": 5}}, "field_invalid"),
    ],
)
def test_bad_requests_are_refused(
    unchanged: Person, method: str, path: str, request_: dict[str, Any], code: str
) -> None:
    assert unchanged.refused(method, path, **request_) == (400, code)


@pytest.mark.parametrize("ending", ["x" * 3_000, "%F0%9F%8E%AB", "%00"])
def test_what_cannot_be_an_id_is_not_found(unchanged: Person, ending: str) -> None:
    assert unchanged.refused("GET", f"/chats/{ending}") == (404, "chat_not_found")
    assert unchanged.refused("DELETE", f"/chats/{ending}") == (404, "chat_not_found")
    assert unchanged.refused("GET", f"/runs/{ending}") == (404, "run_not_found")


def test_what_is_not_mine_does_not_exist(person: Callable[[str], Person]) -> None:
    """Answers about a foreign chat or run are those about one that never was."""
    owner, stranger = person("plus"), person("plus")
    run = owner.ended_run(owner.send("My dog is called Biscuit.")["run_id"])
    chat_id, run_id = run["chat_id"], run["run_id"]
    kept = (owner.footprint(), owner.messages(chat_id))
    chat, gone_chat = f"/chats/{chat_id}", (404, "chat_not_found")
    new_message = {"message_id": new_message_id(), "text": "What is my dog called?"}
    assert stranger.refused("GET", chat) == gone_chat
    assert stranger.refused("PATCH", chat, json={"title": "Mine"}) == gone_chat
    assert stranger.refused("DELETE", chat) == gone_chat
    assert stranger.refused("GET", f"{chat}/messages") == gone_chat
    assert stranger.refused("POST", f"{chat}/messages", json=new_message) == gone_chat
    assert stranger.refused("GET", f"/runs/{run_id}") == (404, "run_not_found")
    assert stranger.refused("POST", f"/runs/{run_id}/cancel") == (404, "run_not_found")
    with stranger.line() as line:
        assert line.refused(_send(chat_id=chat_id))["code"] == "chat_not_found"
        for action in ("attach", "cancel"):
            frame = json.dumps({"action": action, "run_id": run_id})
            assert line.refused(frame)["code"] == "run_not_found"
    assert stranger.get("/chats")["chats"] == []
    assert stranger.footprint() == (0, 0, 0, {})
    assert (owner.footprint(), owner.messages(chat_id)) == kept


def test_the_same_message_id_of_two_users_is_two_messages(
    person: Callable[[str], Person],
) -> None:
    message_id = new_message_id()
    runs = []
    for who in (person("free"), person("free")):
        with who.line() as line:
            answer = line.ask("My dog is called Biscuit.", message_id=message_id)
            line.finish(answer)
        runs.append(answer.run_id)
    assert len(set(runs)) == 2


def test_a_message_id_with_another_text_is_a_conflict(alice: Person) -> None:
    message_id = new_message_id()
    with alice.line() as line:
        line.finish(line.ask("My dog is called Biscuit.", message_id=message_id))
        before = alice.footprint()
        other = _send(message_id=message_id, text="My dog is called Rex.")
        assert line.refused(other)["code"] == "message_conflict"
        assert line.is_alive()
    chat_id = alice.get("/chats")["chats"][0]["chat_id"]
    body = {"message_id": message_id, "text": "My dog is called Rex."}
    assert alice.refused("POST", f"/chats/{chat_id}/messages", json=body) == (
        409,
        "message_conflict",
    )
    assert alice.footprint() == before


def test_a_send_while_the_chat_is_answered_is_refused(alice: Person) -> None:
    with alice.line() as line:
        answer = line.ask("Please count to 300.")
        line.until_length(answer, 40)
        chat_id = alice.get(f"/runs/{answer.run_id}")["chat_id"]
        before = alice.footprint()
        line.say_raw(_send(chat_id=chat_id, message_id="too-early"))
        line.hear_until(lambda frame: frame.get("ref") == "too-early", "a refusal")
        assert line.errors[-1]["code"] == "run_active"
        body = {"message_id": new_message_id(), "text": "And now?"}
        assert alice.refused("POST", f"/chats/{chat_id}/messages", json=body) == (
            409,
            "run_active",
        )
        assert alice.footprint() == before
        line.say("cancel", run_id=answer.run_id)
        line.finish(answer)


def test_more_active_runs_than_the_tier_allows_are_refused(
    person: Callable[[str], Person],
) -> None:
    free = person("free")
    allowed = free.get("/me")["limits"]["max_active_runs"]
    runs = [free.send("Please count to 300.")["run_id"] for _ in range(allowed)]
    with free.line() as line:
        assert line.refused(_send())["code"] == "too_many_active_runs"
    assert free.footprint()[:3] == (allowed, allowed, allowed)
    for run_id in runs:
        free.http.post(f"/runs/{run_id}/cancel")
        free.ended_run(run_id)


def test_over_budget_is_refused_with_the_time_when_it_frees(alice: Person, cloud: Cloud) -> None:
    alice.ended_run(alice.send("My dog is called Biscuit.")["run_id"])
    me = alice.get("/me")["usage"]
    cloud.table("ledgers").update_item(
        Key={"user_id": alice.user_id},
        UpdateExpression="SET settled_tokens = :all",
        ExpressionAttributeValues={":all": me["budget_tokens"]},
    )
    before = alice.footprint()
    with alice.line() as line:
        refused = line.refused(_send())
        assert refused["code"] == "budget_exhausted"
        assert refused["retry_at"] == me["window_ends_at"]
        assert line.is_alive()
    chat_id = alice.get("/chats")["chats"][0]["chat_id"]
    response = alice.http.post(
        f"/chats/{chat_id}/messages", json={"message_id": new_message_id(), "text": "Hello."}
    )
    assert (response.status_code, response.json()["code"]) == (429, "budget_exhausted")
    assert int(response.headers["retry-after"]) > 0
    assert alice.footprint() == before


def test_a_deleted_chat_takes_no_more_messages(alice: Person) -> None:
    chat_id = alice.post("/chats", {})["chat_id"]
    alice.delete(f"/chats/{chat_id}")
    with alice.line() as line:
        assert line.refused(_send(chat_id=chat_id))["code"] == "chat_not_found"


def _handshake_status(url: str, origin: str | None = None) -> int:
    page = None if origin is None else Origin(origin)
    with pytest.raises(InvalidStatus) as refused, connect(url, origin=page):
        pass
    return refused.value.response.status_code


def test_a_ticket_opens_one_socket_only(alice: Person) -> None:
    url = alice.ws_url()
    with connect(url) as connection:
        connection.send('{"action": "ping"}')
        assert json.loads(connection.recv(10)) == {"type": "pong"}
        assert _handshake_status(url) in {401, 403}
    assert _handshake_status(url) in {401, 403}


def test_no_forged_or_expired_ticket_opens_a_socket(alice: Person, cloud: Cloud) -> None:
    expired = "expired-ticket"
    cloud.table("tickets").put_item(
        Item={
            "ticket_hash": hashlib.sha256(expired.encode()).hexdigest(),
            "user_id": alice.user_id,
            "tier": "pro",
            # The table's TTL is late by nature: what counts is the moment of use.
            "expires_ms": int(time.time() * 1000) - 1,
            "expires_at": int(time.time()) + 3600,
        }
    )
    for ticket in (expired, "forged", "%F0%9F%8E%AB", "x" * 4000):
        assert _handshake_status(alice.ws_url(ticket)) in {401, 403}, ticket
    for url in (cloud.endpoints.ws_url, f"{cloud.endpoints.ws_url}?ticket="):
        assert _handshake_status(url) in {401, 403}


def test_a_socket_is_opened_from_our_page_or_from_none(alice: Person, cloud: Cloud) -> None:
    url = alice.ws_url()
    for origin in ("https://evil.example.com", f"{cloud.endpoints.web_url}.evil.example", "null"):
        assert _handshake_status(url, origin) in {401, 403}, origin
    # Nor has anybody used the ticket up.
    with connect(url, origin=Origin(cloud.endpoints.web_url)) as connection:
        connection.send('{"action": "ping"}')
        assert json.loads(connection.recv(10)) == {"type": "pong"}


def test_only_this_pools_id_tokens_are_taken(alice: Person, cloud: Cloud) -> None:
    header, payload, signature = alice.id_token.split(".")
    forged = f"{header}.{payload}.{'A' * len(signature)}"
    pool_id = cloud.cognito.create_user_pool(PoolName="another")["UserPool"]["Id"]
    client_id = cloud.cognito.create_user_pool_client(
        UserPoolId=pool_id, ClientName="web", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    make_account(cloud, pool_id, alice.email)
    foreign = sign_in(cloud, client_id, alice.email)["IdToken"]
    for token in (forged, foreign, alice.access_token, "no token"):
        for path in ("/me", "/chats"):
            response = httpx.get(
                cloud.endpoints.http_url + path, headers={"authorization": f"Bearer {token}"}
            )
            assert response.status_code == 401, token
        response = httpx.post(
            cloud.endpoints.http_url + "/tickets", headers={"authorization": f"Bearer {token}"}
        )
        assert response.status_code == 401, token
    assert httpx.get(cloud.endpoints.http_url + "/me").status_code == 401
    cloud.cognito.delete_user_pool(UserPoolId=pool_id)
