"""Owns the user pool on Cognito, as far as accounts are exported and removed. A user is named by his `sub`,
which Cognito takes for a user name (vendor's page: AdminGetUser)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.identity import Profile
from chatcore.domain.tiers import tier_of

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient


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
        profile = None
        with _nobody_passed_over():
            found = self.client.admin_get_user(UserPoolId=self.pool_id, Username=user_id)
            told = {each["Name"]: each.get("Value", "") for each in found["UserAttributes"]}
            profile = Profile(
                email=told.get("email", ""),
                email_verified=told.get("email_verified") == "true",
                tier=tier_of(told.get("custom:tier")),
                created_ms=int(found["UserCreateDate"].timestamp() * 1000),
            )
        return profile

    def lock_out(self, user_id: str) -> None:
        # In this order: who is signed out could sign in again.
        with _nobody_passed_over():
            self.client.admin_disable_user(UserPoolId=self.pool_id, Username=user_id)
            self.client.admin_user_global_sign_out(UserPoolId=self.pool_id, Username=user_id)

    def remove(self, user_id: str) -> None:
        with _nobody_passed_over():
            self.client.admin_delete_user(UserPoolId=self.pool_id, Username=user_id)


@contextmanager
def _nobody_passed_over() -> Iterator[None]:
    """Raises StoreUnavailable for all errors but that there is no such user."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code != "UserNotFoundException":
            raise StoreUnavailable(f"Cognito: {code}") from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"Cognito: {type(error).__name__}") from error
