"""The server of the web page.

Owns static files, /config.json and the security headers. It must not hold a secret: whatever it
serves is public. On AWS a bucket and CloudFront do the same (see template.yaml).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local.processes import Service, clean_environment


def make_app(page: Path, config: Mapping[str, str]) -> Starlette:
    """Serves the built page in folder `page`, and `config` as /config.json."""

    async def serve_config(_request: Request) -> Response:
        return JSONResponse(dict(config), headers={"Cache-Control": "no-store"})

    return Starlette(
        routes=[
            Route("/config.json", serve_config),
            Mount("/", _Page(directory=page, html=True)),
        ],
        middleware=[Middleware(_SecurityHeaders, policy=content_security_policy(config))],
    )


def content_security_policy(config: Mapping[str, str]) -> str:
    """Own files only; connections also to the services that `config` names."""
    targets = (config["http_url"], config["ws_url"], config["cognito_url"])
    origins = dict.fromkeys("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in targets)
    return "; ".join(
        (
            "default-src 'self'",
            f"connect-src 'self' {' '.join(origins)}",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class _Page(StaticFiles):
    """Static files; a path that is no file and has no suffix is a place inside the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or Path(path).suffix:
                raise
            response = FileResponse(Path(str(self.directory)) / "index.html")
        # The build names everything under assets/ by its content.
        kept = path.startswith("assets/") and response.status_code == 200
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if kept else "no-cache"
        )
        return response


class _SecurityHeaders:
    """Adds the headers to every response, refusals included."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=()",
        }
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def serve(page: Path, config: Mapping[str, str], port: int) -> None:
    """Serve until SIGTERM."""
    uvicorn.run(make_app(page, config), host="127.0.0.1", port=port, timeout_graceful_shutdown=2)


def service(root: Path, config: Path, port: int, log: Path) -> Service:
    """The server as a process; `config` is a JSON file with what /config.json answers."""
    command = [sys.executable, "-m", "local", "web"]
    options = ["--page", str(root / "web" / "dist"), "--config", str(config), "--port", str(port)]
    return Service(
        "The web page's server",
        [*command, *options],
        environment=clean_environment({"PYTHONPATH": str(root)}),
        cwd=root,
        log=log,
        ready_url=f"http://127.0.0.1:{port}/config.json",
        start_timeout_s=30,
        stop_timeout_s=5,
    )
