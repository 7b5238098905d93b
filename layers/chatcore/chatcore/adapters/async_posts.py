"""Owns posting to WebSocket connections from an event loop: the worker's side of API Gateway.

botocore's client would take a thread and a millisecond of CPU for each frame; aiohttp's connections
take a fifth of that (`make bench-worker`). The Lambdas, which post one frame and end, keep
`adapters.apigateway`. It must not retry: the worker merges what has come meanwhile into its next try.
"""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from botocore.httpsession import get_cert_path
from yarl import URL

from chatcore.adapters.aws import session
from chatcore.adapters.sigv4 import PostSigner
from chatcore.domain.errors import Misconfigured
from chatcore.ports import Posted

_TIMEOUT = ClientTimeout(total=6.0, sock_connect=1.0)
_UNSIGNED_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""aiohttp would add them, and nobody reads them."""

_OUTCOMES: Mapping[int, Posted] = {
    HTTPStatus.OK: Posted.SENT,
    HTTPStatus.GONE: Posted.GONE,
    HTTPStatus.TOO_MANY_REQUESTS: Posted.THROTTLED,
}

CREDENTIALS_LOOK_S = 60.0
"""botocore renews credentials that end within ten minutes when it is asked for them, which may block:
so it is asked on a thread, now and then."""


class AsyncApiGatewayPosts:
    """Made and used inside one running event loop: `async with`. Raises Misconfigured where there are
    no credentials or no region."""

    def __init__(self, callback_url: str, max_connections: int) -> None:
        credentials = session().get_credentials()
        region = session().get_config_variable("region")
        if credentials is None or not region:
            raise Misconfigured("AWS credentials or region are missing")
        parts = urlsplit(callback_url)
        self._path = f"{parts.path}/@connections/"
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._max_connections = max_connections
        self._credentials = credentials
        self._frozen = credentials.get_frozen_credentials()
        self._signer = PostSigner(callback_url, region)
        bypassed = proxy_bypass(parts.hostname or "")
        self._proxy = None if bypassed else getproxies().get(parts.scheme)

    async def __aenter__(self) -> Self:
        # The certificates that botocore trusts, not the system's: one machine, one answer.
        bundle = get_cert_path(session().get_config_variable("ca_bundle") or True)
        self._http = ClientSession(
            connector=TCPConnector(
                limit=self._max_connections, ssl=ssl.create_default_context(cafile=bundle)
            ),
            timeout=_TIMEOUT,
            skip_auto_headers=_UNSIGNED_HEADERS,
        )
        self._looking = asyncio.create_task(self._look_after_credentials())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._looking.cancel()
        await self._http.close()

    async def post(self, connection_id: str, frame: bytes) -> Posted:
        path = self._path + quote(connection_id, safe="")
        headers = self._signer.headers(path, frame, self._frozen, datetime.now(UTC))
        # As it was signed: aiohttp would decode and encode it anew.
        url = URL(self._origin + path, encoded=True)
        try:
            async with self._http.post(
                url, data=frame, headers=headers, proxy=self._proxy
            ) as response:
                # To its end, or the connection could not be used again.
                await response.read()
        except (ClientError, TimeoutError, OSError):
            return Posted.FAILED
        return _OUTCOMES.get(response.status, Posted.FAILED)

    async def _look_after_credentials(self) -> None:
        while True:
            await asyncio.sleep(CREDENTIALS_LOOK_S)
            self._frozen = await asyncio.to_thread(self._credentials.get_frozen_credentials)
