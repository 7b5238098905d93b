"""A browser, and the page open in it, for the tests of a module."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    expect,
    sync_playwright,
)

from local.preflight import find_chromium
from tests.cloud import Cloud
from tests.e2e.window import FLAGS, Window
from tests.person import Person


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    assert path, "no Chromium: install one, or name it in CHROMIUM"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def window(cloud: Cloud, browser: Browser) -> Iterator[Window]:
    with _profile(browser) as context:
        opened = Window(cloud, context.new_page())
        opened.open()
        yield opened
        assert opened.faults == []
        assert opened.hosts <= opened.expected_hosts


def _profile(browser: Browser) -> BrowserContext:
    return browser.new_context(viewport={"width": 1200, "height": 800})


@pytest.fixture
def signed_in(window: Window, alice: Person) -> Window:
    window.sign_in(alice.email)
    expect(window.part("composer")).to_be_visible()
    return window
