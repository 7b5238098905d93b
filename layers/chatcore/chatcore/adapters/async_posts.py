"""Owns posting to WebSocket connections from an event loop: the worker's side of API Gateway.

botocore's client would take a thread and a millisecond of CPU for each frame; here its signer and
aiohttp's connections take a quarter of that (`make bench-worker`). The Lambdas, which post one frame
and end, keep `adapters.apigateway`. It must not retry: the worker merges what has come meanwhile into
its next try.
"""

import asyncio
import ssl
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import get_cert_path
from yarl import URL

from chatcore.adapters.aws import session
from chatcore.domain.errors import Misconfigured
from chatcore.ports import Posted

_TIMEOUT = ClientTimeout(total=6.0, sock_connect=1.0)
_UNSIGNED_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""aiohttp would add them, and nobody reads them."""

CREDENTIALS_LOOK_S = 60.0
"""botocore renews credentials that end within ten minutes when it is asked for them, which may block:
so it is asked on a thread, now and then."""


class AsyncApiGatewayPosts:
    """Made and used inside one running event loop: `async with`."""

    def __init__(self, callback_url: str, max_connections: int) -> None:
        self._base_url = f"{callback_url}/@connections/"
        self._max_connections = max_connections
        self._credentials = session().get_credentials()
        region = session().get_config_variable("region")
        if self._credentials is None or not region:
            raise Misconfigured("AWS credentials or region are missing")
        self._signer = SigV4Auth(self._credentials.get_frozen_credentials(), "execute-api", region)
        scheme, host = urlsplit(callback_url).scheme, urlsplit(callback_url).hostname or ""
        self._proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        self._looking: asyncio.Task[None] | None = None

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
        self._looking = asyncio.create_task(self._keep_credentials())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await self._http.close()

    async def post(self, connection_id: str, frame: bytes) -> Posted:
        url = self._base_url + quote(connection_id, safe="")
        request = AWSRequest("POST", url, data=frame)
        self._signer.add_auth(request)
        try:
            async with self._http.post(
                # As it was signed: aiohttp would decode and encode it anew.
                URL(url, encoded=True),
                data=frame,
                headers=request.headers.items(),
                proxy=self._proxy,
            ) as response:
                # To its end, or the connection could not be used again.
                await response.read()
        except (ClientError, TimeoutError, OSError):
            return Posted.FAILED
        if response.status == HTTPStatus.OK:
            return Posted.SENT
        return Posted.GONE if response.status == HTTPStatus.GONE else Posted.FAILED

    async def _keep_credentials(self) -> None:
        assert self._credentials is not None
        while True:
            await asyncio.sleep(CREDENTIALS_LOOK_S)
            self._signer.credentials = await asyncio.to_thread(
                self._credentials.get_frozen_credentials
            )
