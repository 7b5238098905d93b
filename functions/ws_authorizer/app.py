"""$connect's authorizer: a single-use ticket in, the verified user and tier out.

Browsers say which page opens a socket, and cannot be made to say another; a page that is not ours is
refused, whatever ticket it has come by. Clients that are no browsers name no page.

What it returns as context comes with every later message of the connection, so nothing downstream
has to trust what a client says of itself.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import DynamoTickets
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.measures import of_connection
from chatcore.services.tickets import redeem_ticket
from chatcore.settings import WsAuthorizerSettings

settings = WsAuthorizerSettings.read()
tickets = DynamoTickets(open_tables(settings.tables))
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    ticket = _ticket(event)
    user = redeem_ticket(tickets, ticket, now_ms())
    logger.info(
        "connection.authorized" if user else "connection.refused",
        extra=of_connection(logger.service, user is not None),
    )
    effect = "Deny" if user is None else "Allow"
    return {
        "principalId": "nobody" if user is None else user.user_id,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": effect,
                    "Resource": event["methodArn"],
                }
            ],
        },
        "context": {} if user is None else {"user_id": user.user_id, "tier": str(user.tier)},
    }


def _ticket(event: dict[str, Any]) -> str:
    """Empty for a page that is not ours: the ticket is not taken, and its owner may still use it."""
    if _origins(event) - {settings.web_origin}:
        logger.warning("connection.foreign")
        return ""
    ticket: str = (event.get("queryStringParameters") or {}).get("ticket") or ""
    return ticket


def _origins(event: dict[str, Any]) -> set[str]:
    """All that the handshake names. Looked up in both places, since what is not found is let in."""
    lists = event.get("multiValueHeaders") or {}
    every = [*(event.get("headers") or {}).items(), *((n, v) for n in lists for v in lists[n])]
    return {value for name, value in every if name.lower() == "origin"}
