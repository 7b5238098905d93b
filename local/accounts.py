"""The accounts that the local cloud comes with, one for each tier, and guests for a load.

Owns their names and the one password. It must not be used against AWS: the password is public.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_cognito_idp.type_defs import AttributeTypeTypeDef


@dataclass(frozen=True)
class Account:
    tier: str
    email: str
    password: str


_PASSWORD = "chatcore-on-one-machine"
ACCOUNTS = tuple(
    Account(tier, f"{tier}@example.com", _PASSWORD) for tier in ("free", "plus", "pro")
)


def guests(tier: str, count: int) -> tuple[Account, ...]:
    """More of them, for a load that one user's limits would not let through."""
    return tuple(
        Account(tier, f"guest-{tier}-{number}@example.com", _PASSWORD)
        for number in range(1, count + 1)
    )


def seed(
    cognito: CognitoIdentityProviderClient,
    user_pool_id: str,
    accounts: Iterable[Account] = ACCOUNTS,
) -> None:
    """Make the accounts, or bring those that exist back to their tier and password."""
    for account in accounts:
        attributes: list[AttributeTypeTypeDef] = [
            {"Name": "email", "Value": account.email},
            {"Name": "email_verified", "Value": "true"},
            {"Name": "custom:tier", "Value": account.tier},
        ]
        try:
            cognito.admin_create_user(
                UserPoolId=user_pool_id,
                Username=account.email,
                UserAttributes=attributes,
                MessageAction="SUPPRESS",
            )
        except cognito.exceptions.UsernameExistsException:
            cognito.admin_update_user_attributes(
                UserPoolId=user_pool_id, Username=account.email, UserAttributes=attributes
            )
        cognito.admin_set_user_password(
            UserPoolId=user_pool_id,
            Username=account.email,
            Password=account.password,
            Permanent=True,
        )


def remove(
    cognito: CognitoIdentityProviderClient, user_pool_id: str, accounts: Iterable[Account]
) -> None:
    for account in accounts:
        cognito.admin_delete_user(UserPoolId=user_pool_id, Username=account.email)
