"""The page's main states before axe-core, light and dark, wide and narrow: nothing serious is found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.cloud import Cloud
from tests.e2e.axe import LOOKS, findings, opened_for_axe
from tests.e2e.window import Window
from tests.person import Person

pytestmark = pytest.mark.e2e


@pytest.fixture(params=LOOKS)
def seen(cloud: Cloud, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Window]:
    with opened_for_axe(cloud, browser, request.param) as window:
        yield window


def test_nothing_serious_is_found_in_the_main_states(seen: Window, alice: Person) -> None:
    expect(seen.part("email")).to_be_visible()
    assert findings(seen.page) == []
    seen.sign_in(alice.email)
    expect(seen.part("composer")).to_be_visible()
    assert findings(seen.page) == []
    seen.send("Please count to 200.")
    seen.until_length(20)
    assert findings(seen.page) == []
    seen.part("stop").click()
    expect(seen.part("message-note").last).to_have_text("Stopped.")
    assert findings(seen.page) == []
