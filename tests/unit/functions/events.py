"""Owns the events that API Gateway makes, as far as the Lambdas read them."""

import json
from typing import Any
from urllib.parse import urlencode

ID_CLAIMS = {
    "sub": "user-alice",
    "email": "alice@example.com",
    "token_use": "id",
    "custom:tier": "free",
}


def http_event(
    method: str,
    path: str,
    body: Any = None,
    claims: dict[str, str] | None = ID_CLAIMS,
    query: dict[str, str] | None = None,
    raw_body: str | None = None,
    is_base64: bool = False,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """An HTTP API event, payload format 2.0. claims None: no authorizer was asked."""
    text = raw_body if body is None else json.dumps(body)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": urlencode(query or {}),
        "headers": {
            "content-type": "application/json",
            "host": "api.example.com",
            "content-length": str(len((text or "").encode("utf-8", "surrogatepass"))),
            **(headers or {}),
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.example.com",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "test",
            },
            "requestId": "request-1",
            "routeKey": f"{method} {path}",
            "stage": "$default",
            "timeEpoch": 1_800_000_000_000,
        },
        "isBase64Encoded": is_base64,
    }
    if text is not None:
        event["body"] = text
    if query:
        event["queryStringParameters"] = query
    if claims is not None:
        event["requestContext"]["authorizer"] = {"jwt": {"claims": claims, "scopes": None}}
    return event


def socket_event(
    body: Any = None,
    connection_id: str = "socket-1",
    user_id: str = "user-alice",
    tier: str = "free",
    raw_body: str | None = None,
    is_base64: bool = False,
) -> dict[str, Any]:
    """A WebSocket API event of a message on a connection that was authorized."""
    return {
        "requestContext": {
            "routeKey": "$default",
            "eventType": "MESSAGE",
            "connectionId": connection_id,
            "requestId": "request-1",
            "apiId": "socket",
            "stage": "live",
            "authorizer": {"principalId": user_id, "user_id": user_id, "tier": tier},
        },
        "body": json.dumps(body) if raw_body is None else raw_body,
        "isBase64Encoded": is_base64,
    }


def connect_event(ticket: str | None, **headers: str) -> dict[str, Any]:
    """What the authorizer of $connect is asked with; headers: besides those of every handshake."""
    sent = {"Host": "socket.example.com", **headers}
    return {
        "type": "REQUEST",
        "methodArn": "arn:aws:execute-api:eu-central-1:123456789012:socket/live/$connect",
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": None if ticket is None else {"ticket": ticket},
        "requestContext": {"routeKey": "$connect", "connectionId": "socket-1"},
    }
