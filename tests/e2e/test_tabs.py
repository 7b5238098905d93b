"""One chat open in several places: another tab of the same browser, another device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.cloud import Cloud
from tests.e2e.window import TIMEOUT_MS, Window
from tests.person import Person

pytestmark = pytest.mark.e2e


@pytest.fixture
def tabs(cloud: Cloud, browser: Browser, alice: Person) -> Iterator[tuple[Window, Window]]:
    """Of one browser; she is signed in in both."""
    with browser.new_context(viewport={"width": 1200, "height": 800}) as context:
        first = Window(cloud, context.new_page())
        first.open()
        first.sign_in(alice.email)
        expect(first.part("composer")).to_be_visible()
        second = Window(cloud, context.new_page())
        second.open()
        expect(second.part("composer")).to_be_visible()
        yield first, second
        assert first.faults + second.faults == []


def _each_sees_what_the_other_sends(first: Window, second: Window, alice: Person) -> None:
    """In a chat of one answer that both have open."""
    first.send("Please count to 150.")
    expect(second.answers).to_have_count(2)
    before = second.until_length(60)
    expect(second.answer).to_have_attribute("data-status", "running")
    assert first.until_length(len(before)).startswith(before)
    texts = {window.finish(2) for window in (first, second)}
    assert texts == {alice.stored_answer(first.chat_id)["text"]}
    for window in (first, second):
        expect(window.part("message")).to_have_count(4)

    second.send("Please count to 400.")
    expect(first.answers).to_have_count(3)
    first.until_length(60)
    first.part("stop").click()
    for window in (first, second):
        expect(window.answer).to_have_attribute("data-status", "cancelled")
        expect(window.part("message")).to_have_count(6)


def test_two_tabs_show_the_same_answer_while_it_is_made(
    tabs: tuple[Window, Window], alice: Person
) -> None:
    first, second = tabs
    first.send("My dog is called Biscuit.")
    first.finish(1)
    # A chat of the other tab's comes up by itself.
    expect(second.part("chat-item")).to_have_count(1, timeout=TIMEOUT_MS)
    second.part("chat-item").click()
    second.finish(1)

    _each_sees_what_the_other_sends(first, second, alice)


def test_what_one_tab_could_not_send_the_other_sends_once_that_is_closed(
    tabs: tuple[Window, Window], cloud: Cloud, alice: Person
) -> None:
    first, second = tabs
    first.send("Please count to 100.")
    expect(second.part("chat-item")).to_have_count(1, timeout=TIMEOUT_MS)
    second.part("chat-item").click()
    second.until_length(10)
    run_id = alice.get(f"/chats/{first.chat_id}")["active_run"]["run_id"]
    viewers = cloud.run(run_id)["viewers"]
    assert len(viewers) == 2
    for window in tabs:
        window.finish(1)
    first.go_offline(viewers)
    first.send("Please count to 30.")
    expect(first.part("message").last).to_have_attribute("data-status", "sending")
    # It is the first one's as long as that is there.
    expect(second.part("status")).to_have_text("You are offline.")
    expect(second.part("message")).to_have_count(2)
    first.page.close()
    expect(second.part("message").last).to_have_text("Please count to 30.")
    expect(second.part("message").last).to_have_attribute("data-status", "sending")

    second.page.context.set_offline(False)
    second.finish(2)
    expect(second.part("message")).to_have_count(4)
    texts = [each["text"] for each in alice.messages(second.chat_id) if each["role"] == "user"]
    assert texts == ["Please count to 100.", "Please count to 30."]
    for window in tabs:
        window.forgive_offline()


def test_what_is_renamed_deleted_and_signed_out_in_one_tab_is_so_in_the_other(
    tabs: tuple[Window, Window], alice: Person
) -> None:
    first, second = tabs
    first.send("My dog is called Biscuit.")
    first.finish(1)
    first.part("rename-chat").click()
    first.part("rename-title").fill("Dogs")
    first.part("rename-title").press("Enter")
    expect(second.part("chat-item")).to_have_text("Dogs")
    first.part("delete-chat").click()
    # Told to the server, and by it to the other tab, once it can no longer be taken back.
    expect(second.part("chat-item")).to_have_count(0, timeout=TIMEOUT_MS)
    first.part("sign-out").click()
    expect(second.part("email")).to_be_visible()


def test_a_chat_is_live_on_two_devices_whichever_of_them_sends(
    cloud: Cloud, browser: Browser, alice: Person
) -> None:
    """Two browsers, which share nothing but the account. Nobody looks away or reloads."""
    with browser.new_context() as desk, browser.new_context() as pocket:
        windows = [Window(cloud, context.new_page()) for context in (desk, pocket)]
        first, second = windows
        for window in windows:
            window.open()
            window.sign_in(alice.email)
            expect(window.part("composer")).to_be_visible()
        first.send("My dog is called Biscuit.")
        first.finish(1)
        second.page.reload()
        second.part("chat-item").click()
        second.finish(1)

        _each_sees_what_the_other_sends(first, second, alice)
        for window in windows:
            assert window.faults == []


def test_what_another_device_said_is_there_when_the_page_is_looked_at_again(
    signed_in: Window, alice: Person
) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    run = alice.send("Please count to 100.", window.chat_id)
    window.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert window.finish(2).endswith("99, 100.")
    assert alice.ended_run(run["run_id"])["status"] == "completed"
    expect(window.part("message")).to_have_count(4)
