"""Owns posting to WebSocket connections through API Gateway's management API."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session
from chatcore.ports import Posted

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

_GONE = frozenset({"GoneException", "410"})


def callback_client(
    callback_url: str, max_connections: int = 10
) -> "ApiGatewayManagementApiClient":
    """No retries below us: the poster merges what has come meanwhile into its next try."""
    config = Config(
        connect_timeout=1,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=max_connections,
    )
    client = session().create_client(
        "apigatewaymanagementapi", endpoint_url=callback_url, config=config
    )
    return cast("ApiGatewayManagementApiClient", client)


@dataclass(frozen=True, slots=True)
class ApiGatewayPosts:
    client: "ApiGatewayManagementApiClient"

    def post(self, connection_id: str, frame: bytes) -> Posted:
        try:
            self.client.post_to_connection(ConnectionId=connection_id, Data=frame)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if code in _GONE or status == 410:
                return Posted.GONE
            return Posted.THROTTLED if status == 429 else Posted.FAILED
        except BotoCoreError:
            return Posted.FAILED
        return Posted.SENT
