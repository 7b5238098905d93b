"""Everything a person does on the page, without a mouse."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.window import Window
from tests.person import PASSWORD, Person

pytestmark = pytest.mark.e2e

TABS_MOST = 30


def tab_to(window: Window, test_id: str) -> None:
    """By Tab alone, as far as it takes; what has the focus is seen to have it."""
    for _ in range(TABS_MOST):
        window.page.keyboard.press("Tab")
        if window.page.evaluate("document.activeElement.dataset.testid") == test_id:
            outline = window.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{test_id} does not show that it has the focus"
            return
    raise AssertionError(f"Tab does not come to {test_id}")


def test_from_sign_in_to_sign_out_by_keys(window: Window, alice: Person) -> None:
    keys = window.page.keyboard
    expect(window.part("email")).to_be_visible()
    tab_to(window, "email")
    keys.type(alice.email)
    tab_to(window, "password")
    keys.type(PASSWORD)
    keys.press("Enter")

    expect(window.part("composer")).to_be_focused()
    keys.type("Please count to 400.")
    keys.press("Enter")
    window.until_length(40)
    tab_to(window, "stop")
    keys.press("Enter")
    expect(window.answer).to_have_attribute("data-status", "cancelled")
    expect(window.part("composer")).to_be_focused()
    keys.type("one")
    keys.press("Shift+Enter")
    keys.type("two")
    keys.press("Enter")
    window.finish(2)
    assert window.text_of(window.part("message").nth(2)) == "one\ntwo"

    tab_to(window, "rename-chat")
    keys.press("Enter")
    expect(window.part("rename-title")).to_be_focused()
    keys.type("By keys")
    keys.press("Enter")
    expect(window.part("chat-item")).to_have_text("By keys")
    expect(window.part("rename-chat")).to_be_focused()

    tab_to(window, "delete-chat")
    keys.press("Enter")
    expect(window.part("chat-item")).to_have_count(0)
    tab_to(window, "undo-delete")
    keys.press("Enter")
    expect(window.part("chat-item")).to_have_count(1)
    expect(window.answers).to_have_count(2)

    tab_to(window, "new-chat")
    keys.press("Enter")
    expect(window.answers).to_have_count(0)
    tab_to(window, "chat-item")
    keys.press("Enter")
    expect(window.answers).to_have_count(2)
    tab_to(window, "sign-out")
    keys.press("Enter")
    expect(window.part("email")).to_be_visible()
