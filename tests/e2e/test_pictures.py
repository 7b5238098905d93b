"""Pictures of the page's main states for the docs; made anew only when asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from chatcore.domain.tiers import Tier
from tests.busy import all_slots_taken
from tests.cloud import Cloud
from tests.e2e.stored import chat_with_answer
from tests.e2e.window import TIMEOUT_MS, Window, opened
from tests.person import Person

pytestmark = [pytest.mark.e2e, pytest.mark.screenshot]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDE = {"width": 1200, "height": 800}
LOOKS: dict[str, dict[str, Any]] = {
    "page": {"viewport": WIDE, "color_scheme": "light"},
    "page-dark": {"viewport": WIDE, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"},
}
SMALL: dict[str, Any] = {"viewport": {"width": 760, "height": 480}, "color_scheme": "light"}
ANSWER = """The lease decides who may write:

1. A worker takes the lease and a new **epoch** with one conditional write.
2. Each checkpoint carries the epoch; an older one is refused.

```python
def may_write(run: Run, epoch: int, now_ms: int) -> bool:
    return run.epoch == epoch and now_ms < run.lease_until_ms
```
"""


@pytest.mark.parametrize("look", LOOKS)
def test_picture_of_the_page(cloud: Cloud, browser: Browser, alice: Person, look: str) -> None:
    for title in ("Ferries from Lisbon", "Names for a dog", "A reading list"):
        alice.patch(f"/chats/{chat_with_answer(cloud, alice, 'Here it is.')}", {"title": title})
    chat_id = chat_with_answer(cloud, alice, ANSWER, "Who may write an answer, and when?")
    alice.patch(f"/chats/{chat_id}", {"title": "Leases and epochs"})
    with browser.new_context(**LOOKS[look]) as context:
        window = Window(cloud, context.new_page())
        window.open()
        window.sign_in(alice.email)
        expect(window.part("composer")).to_be_visible()
        window.page.goto(f"{cloud.endpoints.web_url}/#{chat_id}")
        expect(window.answers).to_have_count(1, timeout=TIMEOUT_MS)
        window.send("Please count to 100.")
        expect(window.answers).to_have_count(2)
        window.until_length(120)
        window.page.screenshot(path=IMAGES / f"{look}.png")


def picture(window: Window, name: str) -> None:
    window.page.screenshot(path=IMAGES / f"{name}.png")


def test_picture_of_signing_in(cloud: Cloud, browser: Browser) -> None:
    with opened(cloud, browser, size=SMALL) as window:
        expect(window.part("email")).to_be_visible()
        picture(window, "page-sign-in")


def test_picture_of_a_wait(cloud: Cloud, browser: Browser, person: Callable[[str], Person]) -> None:
    with (
        all_slots_taken(cloud, person, Tier.FREE, waiting=4),
        opened(cloud, browser, person("free").email, SMALL) as window,
    ):
        window.send("Which ferries leave from Lisbon?")
        expect(window.part("message-wait").last).to_have_text(
            re.compile(r"^\d+ before you"), timeout=TIMEOUT_MS
        )
        picture(window, "page-waiting")


def test_picture_of_a_stopped_answer_and_of_an_error(
    cloud: Cloud, browser: Browser, person: Callable[[str], Person]
) -> None:
    free = person("free")
    with opened(cloud, browser, free.email, SMALL) as window:
        window.send("Please count to 300.")
        window.until_length(120)
        window.part("stop").click()
        expect(window.answer).to_have_attribute("data-status", "cancelled")
        expect(window.part("message-usage").last).to_be_visible()
        picture(window, "page-stopped")
        # As many as the plan allows, from elsewhere; then one more.
        runs = [free.send("Please count to 300.")["run_id"] for _ in range(2)]
        window.part("composer").fill("And one more?")
        window.part("send").click()
        expect(window.part("error")).to_be_visible()
        picture(window, "page-error")
        for run_id in runs:
            free.http.post(f"/runs/{run_id}/cancel")
