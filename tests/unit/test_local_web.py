"""The page's server: files, places inside the page, configuration, headers."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from local.web import content_security_policy, make_app

CONFIG = {
    "http_url": "http://localhost:4566/_aws/execute-api/abc/$default",
    "ws_url": "ws://localhost:4566/_aws/execute-api/def/v1",
    "cognito_url": "http://localhost:4566",
    "user_pool_client_id": "client",
    "region": "us-east-1",
}


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "index.html").write_text("<title>chatcore</title>")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "page-1a2b.js").write_text("export {}")
    transport = httpx.ASGITransport(make_app(tmp_path, CONFIG))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8400") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/chats/c_1"])
async def test_every_place_is_the_page(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 200
    assert "<title>chatcore</title>" in answer.text
    assert answer.headers["cache-control"] == "no-cache"


async def test_a_missing_file_is_missing(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/assets/gone.js")
    assert answer.status_code == 404


async def test_built_files_may_be_kept(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/assets/page-1a2b.js")
    assert "immutable" in answer.headers["cache-control"]


async def test_nothing_outside_the_page_is_served(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/%2e%2e/%2e%2e/etc/hostname.txt")
    assert answer.status_code == 404


async def test_the_configuration_is_served(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/config.json")
    assert answer.json() == CONFIG
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/config.json", "/gone.js"])
async def test_every_answer_has_the_security_headers(browser: httpx.AsyncClient, path: str) -> None:
    headers = (await browser.get(path)).headers
    assert headers["content-security-policy"] == content_security_policy(CONFIG)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_policy_allows_own_files_and_the_configured_services_only() -> None:
    policy = content_security_policy(CONFIG)
    assert "default-src 'self';" in policy
    assert "connect-src 'self' http://localhost:4566 ws://localhost:4566;" in policy
    assert "unsafe" not in policy
