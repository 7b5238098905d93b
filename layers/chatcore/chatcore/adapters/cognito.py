"""Owns the user pool on Cognito, as far as accounts are exported and removed. A user is named by his `sub`,
which Cognito takes for a user name (vendor's page: AdminGetUser)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.identity import Profile
from chatcore.domain.tiers import tier_of

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient

T = TypeVar("T")


def cognito_client() -> "CognitoIdentityProviderClient":
    config = Config(
        connect_timeout=1, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
    )
    return cast(
        "CognitoIdentityProviderClient", session().create_client("cognito-idp", config=config)
    )


@dataclass(frozen=True, slots=True)
class CognitoUserPool:
    client: "CognitoIdentityProviderClient"
    pool_id: str

    def profile(self, user_id: str) -> Profile | None:
        who = {"UserPoolId": self.pool_id, "Username": user_id}
        found = _unless_nobody(lambda: self.client.admin_get_user(**who))
        if found is None:
            return None
        told = {each["Name"]: each.get("Value", "") for each in found["UserAttributes"]}
        return Profile(
            email=told.get("email", ""),
            email_verified=told.get("email_verified") == "true",
            tier=tier_of(told.get("custom:tier")),
            created_ms=int(found["UserCreateDate"].timestamp() * 1000),
        )

    def lock_out(self, user_id: str) -> None:
        who = {"UserPoolId": self.pool_id, "Username": user_id}
        # In this order: who is signed out could sign in again.
        _unless_nobody(lambda: self.client.admin_disable_user(**who))
        _unless_nobody(lambda: self.client.admin_user_global_sign_out(**who))

    def remove(self, user_id: str) -> None:
        who = {"UserPoolId": self.pool_id, "Username": user_id}
        _unless_nobody(lambda: self.client.admin_delete_user(**who))


def _unless_nobody(ask: Callable[[], T]) -> T | None:
    """None where there is no such user. Raises StoreUnavailable."""
    try:
        return ask()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "UserNotFoundException":
            return None
        raise StoreUnavailable(f"Cognito: {code}") from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"Cognito: {type(error).__name__}") from error
