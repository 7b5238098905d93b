"""Pictures of the page's main states for the docs; made anew only when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.cloud import Cloud
from tests.e2e.stored import chat_with_answer
from tests.e2e.window import Window
from tests.person import Person

pytestmark = [pytest.mark.e2e, pytest.mark.screenshot]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDE = {"width": 1200, "height": 800}
LOOKS: dict[str, dict[str, Any]] = {
    "page": {"viewport": WIDE, "color_scheme": "light"},
    "page-dark": {"viewport": WIDE, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"},
}
ANSWER = """The lease decides who may write:

1. A worker takes the lease and a new **epoch** with one conditional write.
2. Each checkpoint carries the epoch; an older one is refused.

```python
def may_write(run: Run, epoch: int, now_ms: int) -> bool:
    return run.epoch == epoch and now_ms < run.lease_until_ms
```
"""


@pytest.mark.parametrize("look", LOOKS)
def test_picture(cloud: Cloud, browser: Browser, alice: Person, look: str) -> None:
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
        expect(window.answers).to_have_count(1)
        window.send("Please count to 100.")
        expect(window.answers).to_have_count(2)
        window.until_length(120)
        window.page.screenshot(path=IMAGES / f"{look}.png")
