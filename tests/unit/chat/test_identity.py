"""Signing in: with one factor or two, and again by what is kept."""

import json
from collections.abc import Callable
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

        def answer(request: httpx.Request) -> httpx.Response:
            action = request.headers["x-amz-target"].split(".")[-1]
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
    assert [each["AuthFlow"] for each in asked] == ["USER_PASSWORD_AUTH", "REFRESH_TOKEN_AUTH"]


async def test_a_second_factor_is_asked_for_where_the_account_has_one(
    cognito: Callable[..., list[dict[str, Any]]],
) -> None:
    challenge = (200, {"ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": "session-1"})
    asked = cognito(challenge, tokens("one", "kept"))
    identity = Identity(SERVER)
    await identity.sign_in("a@example.com", "secret", lambda: "123456")
    assert await identity.id_token() == "one"
    assert asked[1]["action"] == "RespondToAuthChallenge"
    assert asked[1]["Session"] == "session-1"
    assert asked[1]["ChallengeResponses"]["SOFTWARE_TOKEN_MFA_CODE"] == "123456"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refused("NotAuthorizedException"), "wrong_credentials"),
        (refused("UserNotConfirmedException"), "not_confirmed"),
        (refused("TooManyRequestsException"), "too_many_attempts"),
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


async def test_whoever_was_signed_out_elsewhere_signs_in_again(
    cognito: Callable[..., list[dict[str, Any]]],
) -> None:
    cognito(refused("NotAuthorizedException"))
    with pytest.raises(Problem, match="chat login"):
        await Identity(SERVER, "revoked").id_token()
    with pytest.raises(Problem, match="chat login"):
        await Identity(SERVER).id_token()


async def test_a_place_that_is_no_page_is_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = httpx.AsyncClient
    answers = [
        httpx.Response(200, text="<html>"),
        httpx.Response(404),
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
