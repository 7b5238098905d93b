"""A browser, and the page open in it, for the tests of a module."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from local.preflight import find_chromium
from tests.cloud import Cloud
from tests.e2e.window import FLAGS, SIZES, Window, opened
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
def size(request: pytest.FixtureRequest) -> str:
    """desktop; with `@both_sizes` a phone's, too."""
    return getattr(request, "param", "desktop")


@pytest.fixture
def window(cloud: Cloud, browser: Browser, size: str) -> Iterator[Window]:
    with opened(cloud, browser, size=SIZES[size]) as window:
        yield window


@pytest.fixture
def signed_in(window: Window, alice: Person) -> Window:
    window.sign_in(alice.email)
    expect(window.part("composer")).to_be_visible()
    return window
