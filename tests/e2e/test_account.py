"""The account's window: one's own data as files, and the account's end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.cloud import Cloud
from tests.e2e.axe import LOOKS, findings, opened_for_axe
from tests.e2e.test_keyboard import tab_to
from tests.e2e.window import TIMEOUT_MS, Window
from tests.person import Person

pytestmark = pytest.mark.e2e

WORD = "Quartzfeather"


@pytest.fixture(params=LOOKS)
def seen(
    cloud: Cloud, browser: Browser, request: pytest.FixtureRequest, alice: Person
) -> Iterator[Window]:
    """With one answer in it, and the account's window opened by its button."""
    with opened_for_axe(cloud, browser, request.param) as window:
        window.sign_in(alice.email)
        expect(window.part("composer")).to_be_visible()
        window.send(f"My dog is called {WORD}.")
        window.finish(1)
        if window.part("menu").is_visible():
            window.part("menu").click()
        window.part("account").click()
        expect(window.part("account-dialog")).to_be_visible()
        yield window


def fits(window: Window) -> bool:
    """Nothing of the account's window is beside the screen, nor behind an edge of its own."""
    return bool(
        window.part("account-dialog").evaluate(
            "dialog => dialog.scrollWidth <= dialog.clientWidth"
            " && dialog.getBoundingClientRect().left >= 0"
            " && dialog.getBoundingClientRect().right <= innerWidth"
        )
    )


def test_all_of_ones_data_is_a_link_away(seen: Window) -> None:
    assert findings(seen.page) == []
    seen.page.route("**/me/export", lambda route: route.abort())
    seen.part("export").click()
    expect(seen.part("export-status")).to_have_text(
        "The service cannot be reached. Please check your connection."
    )
    assert findings(seen.page) == []
    expect(seen.part("export")).to_have_text("Try again")
    seen.page.unroute("**/me/export")
    seen.part("export").click()
    expect(seen.part("export-status")).to_contain_text("being put together")
    file = seen.part("export-file")
    expect(file).to_be_visible(timeout=TIMEOUT_MS)
    expect(seen.part("export-status")).to_contain_text("1 chat and 2 messages in 1 file")
    assert findings(seen.page) == []
    assert fits(seen)

    with seen.page.expect_download() as downloading:
        file.click()
    lines = downloading.value.path().read_text(encoding="utf-8").splitlines()
    said = [json.loads(line) for line in lines]
    assert f"My dog is called {WORD}." in [line.get("text") for line in said]
    # The page is where it was, and the keys come back to where they were.
    seen.page.keyboard.press("Escape")
    expect(seen.part("account")).to_be_focused()
    assert [fault for fault in seen.faults if "ERR_FAILED" not in fault] == []


def test_an_account_is_deleted_by_whoever_types_its_address(seen: Window, alice: Person) -> None:
    keys = seen.page.keyboard
    tab_to(seen, "delete-account")
    keys.press("Enter")
    expect(seen.part("deletion-email")).to_be_focused()
    expect(seen.part("deletion-email")).to_have_accessible_description(
        re.compile("cannot be undone")
    )
    keys.type("somebody@else.test")
    keys.press("Enter")
    expect(seen.part("deletion-error")).to_contain_text("Nothing was deleted")
    expect(seen.part("deletion-email")).to_be_focused()
    assert findings(seen.page) == []
    assert fits(seen)
    assert alice.get("/me")["email"] == alice.email
    tab_to(seen, "keep-account")
    keys.press("Enter")
    expect(seen.part("delete-account")).to_be_focused()
    expect(seen.part("deletion-email")).to_be_hidden()

    keys.press("Enter")
    keys.type(alice.email.upper())
    keys.press("Enter")
    expect(seen.part("notice")).to_have_text(
        "Your account was deleted. Everything of it is being removed now."
    )
    expect(seen.part("email")).to_be_visible()
    assert findings(seen.page) == []
    assert alice.refused("POST", "/chats", json={}) == (403, "account_closed")
    assert seen.page.evaluate("Object.keys(localStorage)") == []
    seen.page.reload()
    expect(seen.part("email")).to_be_visible()
    expect(seen.part("notice")).to_be_hidden()
    assert seen.faults == []
