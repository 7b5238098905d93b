"""The page's main states before axe-core, light and dark, wide and narrow: nothing serious is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cloud import Cloud
from tests.e2e.window import Window
from tests.person import Person

pytestmark = pytest.mark.e2e

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = {"serious", "critical"}


@pytest.fixture(params=[("light", 1200), ("dark", 320)], ids=["light_wide", "dark_narrow"])
def seen(cloud: Cloud, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Window]:
    scheme, width = request.param
    # The page's own policy would not let axe in.
    with browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
    ) as context:
        window = Window(cloud, context.new_page())
        window.open()
        yield window


def findings(page: Page) -> list[str]:
    page.add_script_tag(path=AXE)
    found: dict[str, Any] = page.evaluate("axe.run(document)")
    return [
        f"{each['id']}: {[node['html'] for node in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]


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
