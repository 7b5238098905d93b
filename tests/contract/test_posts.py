"""Posts of both kinds against an HTTP server in the place of API Gateway: same outcomes, same signature."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.session import get_session

from chatcore.adapters import apigateway, async_posts
from chatcore.adapters.apigateway import ApiGatewayPosts, callback_client
from chatcore.adapters.async_posts import AsyncApiGatewayPosts
from chatcore.adapters.sigv4 import PostSigner
from chatcore.ports import Posted

pytestmark = pytest.mark.enable_socket

FRAME = '{"type":"pong","text":"naïve 😀"}'.encode()
CONNECTION = "L0SM9cOFvHcCIhw="
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "a+token/of=some sort",
    "AWS_DEFAULT_REGION": "eu-west-1",
}

ADDED = {"host", "x-amz-date", "x-amz-security-token"}
"""Headers that signing adds by itself."""


@dataclass
class Gateway:
    """Answers with one status; notes what it was sent. The status 0 breaks the connection off."""

    url: str = ""
    status: int = 200
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    # One of their own: the process's keeps the credentials that it once found.
    session = get_session()
    for adapter in (apigateway, async_posts):
        monkeypatch.setattr(adapter, "session", lambda: session)
    played = Gateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            played.requests.append((self.path, headers, body))
            if not played.status:
                self.close_connection = True
                return
            self.send_response(played.status)
            answer = b"" if played.status == 200 else b'{"message": "no"}'
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    played.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield played
    server.shutdown()
    thread.join()
    server.server_close()


def post_and_wait(url: str) -> Posted:
    client = callback_client(url)
    try:
        return ApiGatewayPosts(client).post(CONNECTION, FRAME)
    finally:
        client.close()


def post_on_a_loop(url: str) -> Posted:
    async def post() -> Posted:
        async with AsyncApiGatewayPosts(url, 4) as posts:
            return await posts.post(CONNECTION, FRAME)

    return asyncio.run(post())


Post = Callable[[str], Posted]
both_kinds = pytest.mark.parametrize("post", [post_and_wait, post_on_a_loop])


@both_kinds
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Posted.SENT),
        (410, Posted.GONE),
        (403, Posted.FAILED),
        (413, Posted.FAILED),
        (429, Posted.THROTTLED),
        (500, Posted.FAILED),
        (0, Posted.FAILED),
    ],
)
def test_the_outcome_is_what_the_gateway_says(
    gateway: Gateway, post: Post, status: int, outcome: Posted
) -> None:
    gateway.status = status
    assert post(gateway.url) is outcome
    assert len(gateway.requests) == 1


@both_kinds
def test_nobody_there_is_a_failure_not_an_exception(gateway: Gateway, post: Post) -> None:
    assert post("http://127.0.0.1:9/v1") is Posted.FAILED


@both_kinds
def test_what_arrives_is_what_was_signed(gateway: Gateway, post: Post) -> None:
    post(gateway.url)
    ((path, headers, body),) = gateway.requests
    assert body == FRAME
    assert path.replace("%40", "@") == "/v1/@connections/L0SM9cOFvHcCIhw%3D"
    authorization = headers["authorization"]
    signed = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert set(signed) >= ADDED
    when = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    expected = _by_botocore(
        f"http://{headers['host']}{path}",
        body,
        {name: headers[name] for name in signed if name not in ADDED},
        when,
        KEYS["AWS_SESSION_TOKEN"],
    )
    assert authorization == expected


@pytest.mark.parametrize("token", [None, "a+token/of=some sort"])
@pytest.mark.parametrize(
    "base_url",
    [
        "https://abc123.execute-api.eu-west-1.amazonaws.com/v1",
        "https://abc123.execute-api.eu-west-1.amazonaws.com:443/v1",
        "http://localhost:4566/_aws/execute-api/abc123/v1",
        "http://127.0.0.1:80/v1",
    ],
)
def test_the_signature_is_botocores(base_url: str, token: str | None) -> None:
    now = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    frozen = ReadOnlyCredentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], token)
    path = f"/{base_url.split('/', 3)[3]}/@connections/a%3Db~c%2F"
    mine = PostSigner(base_url, "eu-west-1").headers(path, FRAME, frozen, now)
    origin = "/".join(base_url.split("/")[:3])
    assert mine["Authorization"] == _by_botocore(origin + path, FRAME, {}, now, token)


def _by_botocore(
    url: str, body: bytes, headers: dict[str, str], when: datetime, token: str | None
) -> str:
    """The Authorization that botocore's signer gives then, to a request with these headers."""
    credentials = Credentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], token)
    request = AWSRequest("POST", url, data=body, headers=headers)
    with mock.patch("botocore.auth.get_current_datetime", return_value=when):
        SigV4Auth(credentials, "execute-api", "eu-west-1").add_auth(request)
    return str(request.headers["Authorization"])
