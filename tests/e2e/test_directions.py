"""Text that is written from right to left is laid out so, wherever it is shown."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.cloud import Cloud
from tests.e2e.stored import chat_with_answer
from tests.e2e.window import TIMEOUT_MS, Window
from tests.person import Person

pytestmark = pytest.mark.e2e

QUESTION = "ما هي عاصمة لبنان؟"
ANSWER = """العاصمة هي **بيروت**.

- أولا
- ثانيا

In English it is Beirut.

```python
capital = "Beirut"
```
"""
TITLE = "עיר הבירה"
AT_START = """element => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const text = range.getClientRects()[0], box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    const left = text.left - box.left - parseFloat(style.paddingLeft);
    const right = box.right - text.right - parseFloat(style.paddingRight);
    return [getComputedStyle(element).direction, Math.abs(left) < 2, Math.abs(right) < 2];
}"""


def is_right_to_left(element: Locator) -> bool:
    """And what is in it begins at its right edge."""
    direction, _, at_right = element.evaluate(AT_START)
    return bool(direction == "rtl" and at_right)


def is_left_to_right(element: Locator) -> bool:
    direction, at_left, _ = element.evaluate(AT_START)
    return bool(direction == "ltr" and at_left)


def test_each_text_has_the_direction_of_its_script(
    signed_in: Window, cloud: Cloud, alice: Person
) -> None:
    window = signed_in
    chat_id = chat_with_answer(cloud, alice, ANSWER)
    alice.patch(f"/chats/{chat_id}", {"title": TITLE})
    window.page.goto(f"{cloud.endpoints.web_url}/#{chat_id}")
    window.page.reload()
    expect(window.answer.locator("p")).to_have_count(2, timeout=TIMEOUT_MS)
    first, second = window.answer.locator("p").all()
    assert is_right_to_left(first)
    assert is_left_to_right(second)
    bullets = window.answer.locator("ul")
    assert bullets.evaluate("element => getComputedStyle(element).direction") == "rtl"
    assert bullets.evaluate("element => getComputedStyle(element).paddingLeft") == "0px"
    code = window.answer.locator(".code-block")
    assert code.evaluate("element => getComputedStyle(element).direction") == "ltr"
    expect(window.part("chat-title")).to_have_text(TITLE)
    assert is_right_to_left(window.part("chat-title"))
    assert is_right_to_left(window.part("chat-item"))

    window.part("composer").fill(QUESTION)
    composer = window.part("composer")
    assert composer.evaluate("element => getComputedStyle(element).direction") == "rtl"
    window.press("send")
    expect(window.answers).to_have_count(2)
    assert is_right_to_left(window.page.locator("[data-role=user]").last)
    assert is_left_to_right(window.page.locator("[data-role=user]").first)
    window.finish(2)
