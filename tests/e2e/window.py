"""The page as a person has it open: what is typed and pressed, and what is seen."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    WebSocket,
    expect,
)

from tests.cloud import DEADLINE_S, Cloud, eventually
from tests.person import PASSWORD

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MS = DEADLINE_S * 1000
DESKTOP: dict[str, Any] = {"viewport": {"width": 1200, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
}
SIZES = {"desktop": DESKTOP, "phone": PHONE}

both_sizes = pytest.mark.parametrize("size", SIZES, indirect=True)


@dataclass
class Window:
    """A page of a fresh browser profile. faults: what the console complained of; hosts: who was
    asked for anything; sockets: how many were opened; socket: the last of them."""

    cloud: Cloud
    page: Page
    faults: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    sockets: int = 0
    socket: WebSocket | None = None
    is_touched: bool = False

    def __post_init__(self) -> None:
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", self._opened)

    def open(self) -> None:
        self.page.goto(self.cloud.endpoints.web_url)

    def part(self, test_id: str) -> Locator:
        return self.page.get_by_test_id(test_id)

    def sign_in(self, email: str, password: str = PASSWORD) -> None:
        self.part("email").fill(email)
        self.part("password").fill(password)
        self.press("sign-in")

    def press(self, test_id: str) -> None:
        """With a finger, where there is one."""
        if self.is_touched:
            self.part(test_id).tap()
        else:
            self.part(test_id).click()

    def send(self, text: str) -> None:
        self.part("composer").fill(text)
        self.press("send")

    @property
    def expected_hosts(self) -> set[str]:
        """Those of the page, the two APIs and Cognito: nobody else may be asked for anything."""
        told = self.cloud.endpoints
        urls = (told.web_url, told.http_url, told.ws_url, told.aws_endpoint_url)
        return {urlsplit(url).hostname or "" for url in urls}

    @property
    def answers(self) -> Locator:
        return self.page.locator("[data-testid=message][data-role=assistant]")

    @property
    def answer(self) -> Locator:
        """The last one."""
        return self.answers.last

    def finish(self, count: int) -> str:
        """Wait until the last of so many answers is complete; returns its text."""
        expect(self.answers).to_have_count(count, timeout=TIMEOUT_MS)
        expect(self.answer).to_have_attribute("data-status", "completed", timeout=TIMEOUT_MS)
        return self.text_of(self.answer)

    def text_of(self, message: Locator) -> str:
        return message.evaluate("element => element.source ?? element.textContent") or ""

    def until_length(self, length: int) -> str:
        def long_enough() -> str | None:
            text = self.text_of(self.answer) if self.answers.count() else ""
            return text if len(text) >= length else None

        return eventually(long_enough, f"{length} characters on the page")

    def go_offline(self, connection_ids: Iterable[str]) -> None:
        """The whole browser, whose connections are cut: they would outlive its network."""
        self.page.context.set_offline(True)
        expect(self.part("status")).to_have_text("You are offline.")
        assert self.socket is not None
        with self.socket.expect_event("close"):
            for connection_id in connection_ids:
                self.cloud.close_connection(connection_id)

    def forgive_offline(self) -> None:
        """What the browser itself notes of requests that it could not send."""
        self.faults = [each for each in self.faults if "ERR_INTERNET_DISCONNECTED" not in each]

    @property
    def chat_id(self) -> str:
        return urlsplit(self.page.url).fragment

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"{message.text} ({message.location})")

    def _opened(self, socket: WebSocket) -> None:
        self.sockets += 1
        self.socket = socket
        self._asked(socket.url)

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "data":
            self.hosts.add(parts.hostname or url)


@contextmanager
def opened(
    cloud: Cloud, browser: Browser, who: str | None = None, size: dict[str, Any] = DESKTOP
) -> Iterator[Window]:
    """The page in a profile of its own; signed in, where an address is given. What the console complained of
    or who else was asked for anything fails at the end."""
    with browser.new_context(**size) as context:
        window = Window(cloud, context.new_page(), is_touched=size is PHONE)
        window.open()
        if who is not None:
            window.sign_in(who)
            expect(window.part("composer")).to_be_visible()
        yield window
        assert window.faults == [], window.faults
        assert window.hosts <= window.expected_hosts
