"""Signing in at a pool and a client of the template's settings: second factors, and ends of sessions.

MiniStack does not hold a user to the client's WriteAttributes; that is left to the template's own test.
"""

import base64
import hashlib
import hmac
import struct
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError

from deploy.template import properties

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_cognito_idp.type_defs import InitiateAuthResponseTypeDef

PASSWORD = "A passw0rd of enough characters!"
STEP_S = 30


@dataclass(frozen=True)
class Pool:
    cognito: "CognitoIdentityProviderClient"
    pool_id: str
    client_id: str

    def new_user(self) -> str:
        email = f"{uuid.uuid4().hex}@example.com"
        self.cognito.sign_up(
            ClientId=self.client_id,
            Username=email,
            Password=PASSWORD,
            UserAttributes=[{"Name": "email", "Value": email}],
        )
        self.cognito.admin_confirm_sign_up(UserPoolId=self.pool_id, Username=email)
        return email

    def sign_in(self, email: str) -> "InitiateAuthResponseTypeDef":
        return self.cognito.initiate_auth(
            ClientId=self.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": email, "PASSWORD": PASSWORD},
        )

    def renew(self, refresh_token: str) -> "InitiateAuthResponseTypeDef":
        return self.cognito.initiate_auth(
            ClientId=self.client_id,
            AuthFlow="REFRESH_TOKEN_AUTH",
            AuthParameters={"REFRESH_TOKEN": refresh_token},
        )


@pytest.fixture
def pool(ministack_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    for name, value in ministack_environment.items():
        monkeypatch.setenv(name, value)
    cognito = boto3.client("cognito-idp")
    settings = dict(properties("UserPool"))
    del settings["UserPoolName"]
    factors = settings.pop("EnabledMfas")
    pool_id = cognito.create_user_pool(PoolName="users", **settings)["UserPool"]["Id"]
    cognito.set_user_pool_mfa_config(
        UserPoolId=pool_id,
        MfaConfiguration=settings["MfaConfiguration"],
        SoftwareTokenMfaConfiguration={"Enabled": "SOFTWARE_TOKEN_MFA" in factors},
    )
    client = {**properties("UserPoolClient"), "UserPoolId": pool_id}
    client_id = cognito.create_user_pool_client(**client)["UserPoolClient"]["ClientId"]
    yield Pool(cognito, pool_id, client_id)
    cognito.delete_user_pool(UserPoolId=pool_id)


def code_of(secret: str, moment_s: float) -> str:
    """What an app shows (RFC 6238, six digits of SHA-1)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(moment_s) // STEP_S), hashlib.sha1).digest()
    place = digest[-1] & 0xF
    (number,) = struct.unpack(">I", digest[place : place + 4])
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"


def test_who_has_set_up_a_second_factor_needs_it(pool: Pool) -> None:
    email = pool.new_user()
    access_token = pool.sign_in(email)["AuthenticationResult"]["AccessToken"]
    secret = pool.cognito.associate_software_token(AccessToken=access_token)["SecretCode"]
    pool.cognito.verify_software_token(
        AccessToken=access_token, UserCode=code_of(secret, time.time())
    )
    pool.cognito.set_user_mfa_preference(
        AccessToken=access_token,
        SoftwareTokenMfaSettings={"Enabled": True, "PreferredMfa": True},
    )

    def answer(code: str) -> str:
        asked = pool.sign_in(email)
        assert asked["ChallengeName"] == "SOFTWARE_TOKEN_MFA"
        assert "AuthenticationResult" not in dict(asked)
        replied = pool.cognito.respond_to_auth_challenge(
            ClientId=pool.client_id,
            ChallengeName="SOFTWARE_TOKEN_MFA",
            Session=asked["Session"],
            ChallengeResponses={"USERNAME": email, "SOFTWARE_TOKEN_MFA_CODE": code},
        )
        return replied["AuthenticationResult"]["IdToken"]

    # An hour old: no clock is that far out.
    with pytest.raises(ClientError, match="CodeMismatch"):
        answer(code_of(secret, time.time() - 3_600))
    assert answer(code_of(secret, time.time()))


def test_who_has_none_needs_none(pool: Pool) -> None:
    assert pool.sign_in(pool.new_user())["AuthenticationResult"]["IdToken"]


def test_a_session_that_was_revoked_is_not_renewed(pool: Pool) -> None:
    refresh_token = pool.sign_in(pool.new_user())["AuthenticationResult"]["RefreshToken"]
    assert pool.renew(refresh_token)["AuthenticationResult"]["IdToken"]
    pool.cognito.revoke_token(Token=refresh_token, ClientId=pool.client_id)
    with pytest.raises(ClientError, match="NotAuthorized"):
        pool.renew(refresh_token)


def test_a_short_password_is_refused(pool: Pool) -> None:
    with pytest.raises(ClientError, match="InvalidPassword"):
        pool.cognito.sign_up(
            ClientId=pool.client_id,
            Username="short@example.com",
            Password="Sh0rt-words",
        )
