"""Signing in with Amazon Cognito, by its public JSON API.

Owns ID tokens, which live in memory only, and when they are renewed. Where the refresh token is kept is
its caller's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from chat.api import TIMEOUT_S, Problem

_MARGIN_S = 60.0
"""A token is renewed this long before it ends."""

_SECOND_FACTOR = "SOFTWARE_TOKEN_MFA"

_CODES = {
    "CodeMismatchException": "code_wrong",
    "NotAuthorizedException": "wrong_credentials",
    "UserNotFoundException": "wrong_credentials",
    "UserNotConfirmedException": "not_confirmed",
    "TooManyRequestsException": "too_many_attempts",
    "LimitExceededException": "too_many_attempts",
}
_WORDS = {
    "code_wrong": "That code is not the right one.",
    "wrong_credentials": "There is no account with this address and password.",
    "not_confirmed": "The account's address is not confirmed yet: open the web page to do so.",
    "too_many_attempts": "Too many attempts. Please wait a while.",
    "new_password_required": "The account needs a new password: open the web page to set it.",
    "second_factor_needed": "The account wants the code of an authenticator app.",
    "sign_in_failed": "Signing in did not work.",
}
_SIGN_IN_AGAIN = "Please sign in: chat login"


@dataclass(frozen=True, slots=True)
class Server:
    """What a deployment's /config.json tells."""

    http_url: str
    ws_url: str
    cognito_url: str
    user_pool_client_id: str

    @classmethod
    def of(cls, config: dict[str, Any]) -> Server:
        """Raises KeyError where something is missing."""
        return cls(
            str(config["http_url"]),
            str(config["ws_url"]),
            str(config["cognito_url"]),
            str(config["user_pool_client_id"]),
        )


async def find_server(url: str) -> Server:
    """The deployment whose web page is at `url`. Raises Problem."""
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            reply = await client.get(f"{url.rstrip('/')}/config.json")
            reply.raise_for_status()
            return Server.of(reply.json())
    except httpx.HTTPError:
        raise Problem("network", 0, f"There is no server at {url}.") from None
    except (ValueError, KeyError):
        raise Problem("unexpected_reply", 0, f"What is at {url} is not chatcore's page.") from None


@dataclass
class Identity:
    """refresh_token: of who is signed in, empty without anybody."""

    server: Server
    refresh_token: str = ""
    _id_token: str = ""
    _stale_at_s: float = 0.0
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def sign_in(
        self, email: str, password: str, ask_code: Callable[[], str] | None = None
    ) -> None:
        """ask_code: for the code of an authenticator app, where the account wants one. Raises Problem."""
        answer = await self._initiate(
            "USER_PASSWORD_AUTH", {"USERNAME": email, "PASSWORD": password}
        )
        if answer.get("ChallengeName") == _SECOND_FACTOR:
            if ask_code is None:
                raise Problem("second_factor_needed", 0, _WORDS["second_factor_needed"])
            proof = {"USERNAME": email, "SOFTWARE_TOKEN_MFA_CODE": ask_code()}
            answer = await self._call(
                "RespondToAuthChallenge",
                {
                    "ChallengeName": _SECOND_FACTOR,
                    "Session": answer["Session"],
                    "ChallengeResponses": proof,
                },
            )
        self._keep(_result_of(answer))

    async def id_token(self, renewed: bool = False) -> str:
        """One that is good for a while. Raises Problem `unauthorized` where one has to sign in."""
        known = self._id_token
        if known and not renewed and time.monotonic() < self._stale_at_s:
            return known
        async with self._renewing:
            # Another may have renewed it meanwhile.
            if self._id_token == known:
                await self._renew()
        return self._id_token

    async def _renew(self) -> None:
        if not self.refresh_token:
            raise Problem("unauthorized", 0, _SIGN_IN_AGAIN)
        try:
            answer = await self._initiate(
                "REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": self.refresh_token}
            )
        except Problem as problem:
            if problem.code == "wrong_credentials":
                raise Problem("unauthorized", problem.status, _SIGN_IN_AGAIN) from None
            raise
        self._keep(_result_of(answer))

    def _keep(self, result: dict[str, Any]) -> None:
        self.refresh_token = result.get("RefreshToken", self.refresh_token)
        self._id_token = result["IdToken"]
        self._stale_at_s = time.monotonic() + result["ExpiresIn"] - _MARGIN_S

    async def _initiate(self, flow: str, parameters: dict[str, str]) -> dict[str, Any]:
        return await self._call("InitiateAuth", {"AuthFlow": flow, "AuthParameters": parameters})

    async def _call(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        body = {"ClientId": self.server.user_pool_client_id, **body}
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"AWSCognitoIdentityProviderService.{action}",
        }
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                reply = await client.post(self.server.cognito_url, json=body, headers=headers)
            answer: dict[str, Any] = reply.json()
        except (httpx.TransportError, ValueError):
            raise Problem("network", 0, "Cognito cannot be reached.") from None
        if reply.is_success:
            return answer
        # Cognito may put a namespace before the name of an exception.
        code = _CODES.get(str(answer.get("__type", "")).split("#")[-1], "sign_in_failed")
        raise Problem(code, reply.status_code, _WORDS[code])


def _result_of(answer: dict[str, Any]) -> dict[str, Any]:
    if "AuthenticationResult" in answer:
        result: dict[str, Any] = answer["AuthenticationResult"]
        return result
    is_password = answer.get("ChallengeName") == "NEW_PASSWORD_REQUIRED"
    code = "new_password_required" if is_password else "sign_in_failed"
    raise Problem(code, 0, _WORDS[code])
