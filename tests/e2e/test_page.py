"""The web page in Chromium on the running local cloud: what a person does, and what he then sees.

Every test also holds that the browser's console stays without errors and that nothing is asked of
anybody but this machine.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    expect,
    sync_playwright,
)

from local.preflight import CHROMIUM_NAMES
from tests.cloud import DEADLINE_S, Cloud, eventually
from tests.person import PASSWORD, Person

pytestmark = pytest.mark.e2e

SCREENSHOT = Path(__file__).parents[2] / "docs" / "images" / "page.png"
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    named = os.environ.get("CHROMIUM")
    path = named or next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)
    assert path, "no Chromium: install one, or name it in CHROMIUM"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@dataclass
class Window:
    """A page of a fresh browser profile. faults: what the console complained of; hosts: who was
    asked for anything; sockets: how many were opened."""

    cloud: Cloud
    page: Page
    faults: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    sockets: int = 0

    def __post_init__(self) -> None:
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", lambda socket: self._opened(socket.url))

    def open(self) -> None:
        self.page.goto(self.cloud.endpoints.web_url)

    def part(self, test_id: str) -> Locator:
        return self.page.get_by_test_id(test_id)

    def sign_in(self, email: str, password: str = PASSWORD) -> None:
        self.part("email").fill(email)
        self.part("password").fill(password)
        self.part("sign-in").click()

    def send(self, text: str) -> None:
        self.part("composer").fill(text)
        self.part("send").click()

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
        return message.evaluate("element => element.textContent") or ""

    def until_length(self, length: int) -> str:
        def long_enough() -> str | None:
            text = self.text_of(self.answer) if self.answers.count() else ""
            return text if len(text) >= length else None

        return eventually(long_enough, f"{length} characters on the page")

    @property
    def chat_id(self) -> str:
        return urlsplit(self.page.url).fragment

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"{message.text} ({message.location})")

    def _opened(self, url: str) -> None:
        self.sockets += 1
        self._asked(url)

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "data":
            self.hosts.add(parts.hostname or url)


@pytest.fixture
def window(cloud: Cloud, browser: Browser) -> Iterator[Window]:
    with _profile(browser) as context:
        opened = Window(cloud, context.new_page())
        opened.open()
        yield opened
        assert opened.faults == []
        assert opened.hosts == {"localhost"}


def _profile(browser: Browser) -> BrowserContext:
    return browser.new_context(viewport={"width": 1200, "height": 800})


@pytest.fixture
def signed_in(window: Window, alice: Person) -> Window:
    window.sign_in(alice.email)
    expect(window.part("composer")).to_be_visible()
    return window


def test_an_answer_grows_survives_a_reload_and_is_what_is_stored(
    signed_in: Window, alice: Person
) -> None:
    window = signed_in
    window.send("Please count to 300.")
    _grows(window)
    before = window.until_length(150)
    expect(window.answer).to_have_attribute("data-status", "running")
    chat_id = window.chat_id
    assert chat_id

    window.page.reload()
    after = window.until_length(len(before))
    assert after.startswith(before)
    # Live again, and not only told at its end.
    expect(window.answer).to_have_attribute("data-status", "running")
    _grows(window)
    assert window.chat_id == chat_id
    shown = window.finish(1)
    assert shown == "The demo engine counts to 300: " + ", ".join(map(str, range(1, 301))) + "."
    assert shown == alice.stored_answer(chat_id)["text"]


def test_a_chat_gets_its_title_after_its_first_answer(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("My dog Rex likes the cold river water behind our old house.")
    window.finish(1)
    chat_id = window.chat_id

    title = eventually(lambda: alice.get(f"/chats/{chat_id}")["title"], "the chat is named")
    assert len(title.split()) <= 6
    expect(window.part("chat-item").first).to_have_text(title)


def _grows(window: Window) -> None:
    """At least three different lengths are seen one after the other."""
    seen = [0]
    while len(seen) < 4:
        seen.append(len(window.until_length(seen[-1] + 1)))


def test_past_chats_are_listed_and_gone_on_with(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    dogs = window.chat_id
    window.part("new-chat").click()
    expect(window.answers).to_have_count(0)
    window.send("My cat is called Minka.")
    window.finish(1)
    assert window.chat_id not in {"", dogs}
    expect(window.part("chat-item")).to_have_text([re.compile("Minka"), re.compile("Biscuit")])

    window.page.locator(f"[data-chat-id={dogs}]").click()
    expect(window.part("message").first).to_have_text("My dog is called Biscuit.")
    # Only the earlier turn of this chat answers it.
    window.send("What is my dog called?")
    answer = window.finish(2)
    assert "Biscuit" in answer
    assert "Minka" not in answer
    texts = [window.text_of(message) for message in window.part("message").all()]
    assert texts == [message["text"] for message in alice.messages(dogs)]
    # The latest activity comes first.
    expect(window.part("chat-item").first).to_have_text(re.compile("Biscuit"))


def test_stop_ends_the_answer_where_it_is(signed_in: Window, alice: Person) -> None:
    window = signed_in
    expect(window.part("stop")).to_be_hidden()
    window.send("Please count to 500.")
    window.until_length(60)
    window.part("stop").click()
    expect(window.answer).to_have_attribute("data-status", "cancelled", timeout=5_000)
    expect(window.part("stop")).to_be_hidden()
    expect(window.part("message-note").last).to_have_text("Stopped.")
    shown = window.text_of(window.answer)
    assert not shown.endswith("500.")
    assert shown == alice.stored_answer(window.chat_id)["text"]
    window.send("My dog is called Biscuit.")
    window.finish(2)


def test_signing_out_and_in_keeps_the_chats(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    window.part("sign-out").click()
    expect(window.part("email")).to_be_visible()
    expect(window.part("chat-list")).to_be_hidden()
    assert window.part("message").count() == 0
    window.page.reload()
    expect(window.part("email")).to_be_visible()

    window.sign_in(alice.email)
    window.part("chat-item").click()
    expect(window.part("message").first).to_have_text("My dog is called Biscuit.")
    expect(window.part("message")).to_have_count(2)


def test_another_user_of_the_same_browser_sees_nothing_of_it(
    signed_in: Window, person: Callable[[str], Person]
) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    foreign = window.chat_id
    window.part("sign-out").click()
    expect(window.part("email")).to_be_visible()
    window.sign_in(person("free").email)
    expect(window.part("tier")).to_have_text("free")
    expect(window.part("chat-item")).to_have_count(0)
    window.page.evaluate(f"location.hash = '{foreign}'")
    expect(window.part("error")).to_have_text("There is no such chat any more.")
    assert window.part("message").count() == 0
    # The browser itself notes the 404 in the console: here it is what was asked for.
    window.faults = [fault for fault in window.faults if "404" not in fault]


def test_a_wrong_password_is_told_in_words(window: Window, alice: Person) -> None:
    window.sign_in(alice.email, "not the password")
    expect(window.part("error")).to_have_text("The email address or the password is not right.")
    expect(window.part("composer")).to_be_hidden()
    # As above: the browser notes Cognito's 400.
    window.faults = [fault for fault in window.faults if "400" not in fault]
    window.sign_in(alice.email)
    expect(window.part("composer")).to_be_visible()
    expect(window.part("error")).to_be_hidden()


def test_a_lost_connection_is_made_good_without_a_gap(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("Please count to 150.")
    window.until_length(60)
    run_id = alice.get(f"/chats/{window.chat_id}")["active_run"]["run_id"]
    (connection_id,) = window.cloud.run(run_id)["viewers"]
    window.cloud.close_connection(connection_id)
    shown = window.finish(1)
    assert window.sockets == 2
    assert shown == alice.stored_answer(window.chat_id)["text"]
    assert shown.endswith("149, 150.")


def test_a_deleted_chat_leaves_the_list(signed_in: Window) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    window.page.on("dialog", lambda dialog: dialog.accept())
    window.part("delete-chat").click()
    expect(window.part("chat-item")).to_have_count(0)
    assert window.part("message").count() == 0
    window.page.reload()
    expect(window.part("composer")).to_be_visible()
    expect(window.part("chat-item")).to_have_count(0)


@pytest.mark.screenshot
def test_screenshot_for_the_readme(window: Window) -> None:
    account = next(each for each in window.cloud.endpoints.accounts if each.tier == "plus")
    window.sign_in(account.email, account.password)
    for text in ("Please write 40 words.", "What can you do?"):
        window.send(text)
        window.finish(1)
        window.part("new-chat").click()
        expect(window.answers).to_have_count(0)
    turns = [
        "My dog is called Biscuit, and we live in Lisbon.",
        "On Tuesdays we take the ferry to Cacilhas for a long walk.",
        "What is my dog called?",
    ]
    for number, text in enumerate(turns, start=1):
        window.send(text)
        window.finish(number)
    window.send("Please count to 100.")
    expect(window.answers).to_have_count(4)
    window.until_length(120)
    SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
    window.page.screenshot(path=SCREENSHOT)
    window.finish(4)
