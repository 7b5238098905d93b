"""Signing in: with one factor or two, and again by what is kept."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import httpx
import pytest

from chat.api import Problem
from chat.identity import Identity, Server, find_server

SERVER = Server("https://api.test", "wss://ws.test", "https://cognito.test", "client-1")

Answer = tuple[int, dict[str, Any]]


def tokens(id_token: str, refresh_token: str | None = None) -> Answer:
    result: dict[str, Any] = {"IdToken": id_token, "ExpiresIn": 3600}
    if refresh_token:
        result["RefreshToken"] = refresh_token
    return 200, {"AuthenticationResult": result}


def refused(exception: str) -> Answer:
    return 400, {"__type": f"com.amazonaws.cognito#{exception}"}


@pytest.fixture
def cognito(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Answers in turn; what it was asked is kept, each with the name of its action."""

    def answering(*answers: Answer) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []
        left = list(answers)

        async def answer(request: httpx.Request) -> httpx.Response:
            # As a network does, it lets others go on meanwhile.
            await asyncio.sleep(0)
            service, action = request.headers["x-amz-target"].split(".")
            assert service == "AWSCognitoIdentityProviderService"
            asked.append({"action": action, **json.loads(request.content)})
            status, body = left.pop(0)
            return httpx.Response(status, json=body)

        transport = httpx.MockTransport(answer)
        real = httpx.AsyncClient
        monkeypatch.setattr(
            httpx, "AsyncClient", lambda **options: real(transport=transport, **options)
        )
        return asked

    return answering


async def test_a_token_is_asked_for_once_and_renewed_when_it_was_refused(
    cognito: Callable[..., list[dict[str, Any]]],
) -> None:
    asked = cognito(tokens("one", "kept"), tokens("two"))
    identity = Identity(SERVER)
    await identity.sign_in("a@example.com", "secret")
    assert [await identity.id_token(), await identity.id_token(False)] == ["one", "one"]
    assert await identity.id_token(renewed=True) == "two"
    assert identity.refresh_token == "kept"
    assert asked == [
        {
            "action": "InitiateAuth",
            "ClientId": "client-1",
            "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": {"USERNAME": "a@example.com", "PASSWORD": "secret"},
        },
        {
            "action": "InitiateAuth",
            "ClientId": "client-1",
            "AuthFlow": "REFRESH_TOKEN_AUTH",
            "AuthParameters": {"REFRESH_TOKEN": "kept"},
        },
    ]


async def test_a_token_is_renewed_a_minute_before_it_ends(
    cognito: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cognito(tokens("one"), tokens("two"))
    now_s = 1_000.0
    monkeypatch.setattr("chat.identity.time.monotonic", lambda: now_s)
    identity = Identity(SERVER, "kept")
    assert await identity.id_token() == "one"
    now_s += 3_539
    assert await identity.id_token() == "one"
    now_s += 1
    assert await identity.id_token() == "two"


async def test_who_asks_together_has_it_renewed_once(
    cognito: Callable[..., list[dict[str, Any]]],
) -> None:
    asked = cognito(tokens("one"), tokens("two"), tokens("three"))
    identity = Identity(SERVER, "kept")
    assert await asyncio.gather(*(identity.id_token() for _ in range(3))) == ["one"] * 3
    assert await asyncio.gather(*(identity.id_token(True) for _ in range(3))) == ["two"] * 3
    assert len(asked) == 2


async def test_a_new_refresh_token_takes_the_place_of_the_old(
    cognito: Callable[..., list[dict[str, Any]]],
) -> None:
    cognito(tokens("one", "newer"))
    identity = Identity(SERVER, "kept")
    await identity.id_token()
    assert identity.refresh_token == "newer"


async def test_a_second_factor_is_asked_for_where_the_account_has_one(
    cognito: Callable[..., list[dict[str, Any]]],
) -> None:
    challenge = (200, {"ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": "session-1"})
    asked = cognito(challenge, tokens("one", "kept"))
    identity = Identity(SERVER)
    await identity.sign_in("a@example.com", "secret", lambda: "123456")
    assert await identity.id_token() == "one"
    assert asked[1] == {
        "action": "RespondToAuthChallenge",
        "ClientId": "client-1",
        "ChallengeName": "SOFTWARE_TOKEN_MFA",
        "Session": "session-1",
        "ChallengeResponses": {
            "USERNAME": "a@example.com",
            "SOFTWARE_TOKEN_MFA_CODE": "123456",
        },
    }


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refused("NotAuthorizedException"), "wrong_credentials"),
        (refused("UserNotFoundException"), "wrong_credentials"),
        (refused("CodeMismatchException"), "code_wrong"),
        (refused("UserNotConfirmedException"), "not_confirmed"),
        (refused("TooManyRequestsException"), "too_many_attempts"),
        (refused("LimitExceededException"), "too_many_attempts"),
        ((400, {"__type": "NotAuthorizedException"}), "wrong_credentials"),
        ((400, {}), "sign_in_failed"),
        (refused("SomethingNew"), "sign_in_failed"),
        ((200, {"ChallengeName": "NEW_PASSWORD_REQUIRED"}), "new_password_required"),
        ((200, {"ChallengeName": "SMS_MFA"}), "sign_in_failed"),
        ((200, {"ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": "s"}), "second_factor_needed"),
    ],
)
async def test_what_is_refused_has_a_stable_code(
    cognito: Callable[..., list[dict[str, Any]]], answer: Answer, code: str
) -> None:
    cognito(answer)
    with pytest.raises(Problem) as caught:
        await Identity(SERVER).sign_in("a@example.com", "secret")
    assert caught.value.code == code


async def test_who_cannot_be_renewed_now_is_still_signed_in(
    cognito: Callable[..., list[dict[str, Any]]],
) -> None:
    cognito(refused("TooManyRequestsException"), tokens("one"))
    identity = Identity(SERVER, "kept")
    with pytest.raises(Problem, match="too_many_attempts"):
        await identity.id_token()
    assert await identity.id_token() == "one"


@pytest.mark.parametrize("answer", [None, httpx.Response(502, text="<html>")])
async def test_no_answer_of_cognito_is_the_networks_fault(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | None
) -> None:
    real, asked = httpx.AsyncClient, list[str]()

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if answer is None:
            raise httpx.ConnectError("no route")
        return answer

    monkeypatch.setattr(
        httpx,
        "AsyncClient",
        lambda **options: real(transport=httpx.MockTransport(handle), **options),
    )
    with pytest.raises(Problem, match="network"):
        await Identity(SERVER, "kept").id_token()
    assert asked == ["https://cognito.test"]


async def test_whoever_was_signed_out_elsewhere_signs_in_again(
    cognito: Callable[..., list[dict[str, Any]]],
) -> None:
    cognito(refused("NotAuthorizedException"))
    with pytest.raises(Problem, match="chat login"):
        await Identity(SERVER, "revoked").id_token()
    with pytest.raises(Problem, match="chat login"):
        await Identity(SERVER).id_token()


@pytest.mark.parametrize("page", ["https://page.test", "https://page.test/"])
async def test_a_page_tells_where_its_server_is(monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    real = httpx.AsyncClient

    def handle(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "https://page.test/config.json"
        return httpx.Response(200, json={**asdict(SERVER), "more": "of a newer page"})

    monkeypatch.setattr(
        httpx,
        "AsyncClient",
        lambda **options: real(transport=httpx.MockTransport(handle), **options),
    )
    assert await find_server(page) == SERVER


async def test_a_place_that_is_no_page_is_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = httpx.AsyncClient
    answers = [
        httpx.Response(200, text="<html>"),
        httpx.Response(404, json=asdict(SERVER)),
        httpx.Response(200, json={}),
    ]
    transport = httpx.MockTransport(lambda request: answers.pop(0))
    monkeypatch.setattr(
        httpx, "AsyncClient", lambda **options: real(transport=transport, **options)
    )
    for code in ("unexpected_reply", "network", "unexpected_reply"):
        with pytest.raises(Problem) as caught:
            await find_server("https://page.test")
        assert caught.value.code == code
