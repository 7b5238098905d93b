"""An answer on the page survives what happens to the network and to its worker."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Dialog, expect

from tests.cloud import Cloud, eventually
from tests.e2e.window import TIMEOUT_MS, Window
from tests.person import Person

pytestmark = pytest.mark.e2e

CUT_S = 30
TAKE_OVER_S = 60


def test_a_network_that_is_gone_for_thirty_seconds_costs_no_text(
    signed_in: Window, cloud: Cloud, alice: Person
) -> None:
    """The browser is offline, and the gateway drops its connection, as it does in a tunnel."""
    window = signed_in
    window.send("Please count to 300.")
    before = window.until_length(60)
    run_id = alice.get(f"/chats/{window.chat_id}")["active_run"]["run_id"]
    window.page.context.set_offline(True)
    for connection_id in cloud.run(run_id)["viewers"]:
        cloud.close_connection(connection_id)
    expect(window.part("status")).not_to_be_empty()
    # Not an event to be awaited: that it lasts is what is tried.
    time.sleep(CUT_S)
    kept = window.text_of(window.answer)
    assert kept.startswith(before)
    window.page.context.set_offline(False)
    shown = window.finish(1)
    assert shown.startswith(kept)
    assert shown == alice.stored_answer(window.chat_id)["text"]
    expect(window.part("error")).to_be_hidden()
    window.forgive_offline()


@pytest.mark.local("kills a worker")
def test_a_killed_worker_cuts_the_text_back_and_it_goes_on(
    signed_in: Window, cloud: Cloud, alice: Person
) -> None:
    window = signed_in
    cloud.add_worker()
    window.send("Please count to 400.")
    window.until_length(200)
    run_id = alice.get(f"/chats/{window.chat_id}")["active_run"]["run_id"]
    cloud.kill_worker(cloud.worker_of(run_id))
    eventually(lambda: cloud.run(run_id)["epoch"] == 2, "a take-over", TAKE_OVER_S)
    shown = window.finish(1)
    assert shown == alice.stored_answer(window.chat_id)["text"]
    assert shown.endswith("399, 400.")


def test_what_is_sent_offline_goes_out_once_when_the_network_is_back(
    signed_in: Window, cloud: Cloud, alice: Person
) -> None:
    window = signed_in
    window.send("Please count to 100.")
    window.until_length(10)
    run_id = alice.get(f"/chats/{window.chat_id}")["active_run"]["run_id"]
    viewers = cloud.run(run_id)["viewers"]
    window.finish(1)
    window.go_offline(viewers)
    window.send("Please count to 30.")
    expect(window.part("status")).to_have_text(
        "You are offline. Your message goes out when the connection is back."
    )
    question = window.page.locator("[data-role=user]").last
    expect(question).to_have_attribute("data-status", "sending")
    # What comes to mind meanwhile can be written, and is not sent over the first.
    window.part("composer").fill("And then?")
    expect(window.part("send")).to_be_disabled()

    window.page.context.set_offline(False)
    expect(question).to_have_attribute("data-status", "sent", timeout=TIMEOUT_MS)
    window.finish(2)
    texts = [each["text"] for each in alice.messages(window.chat_id) if each["role"] == "user"]
    assert texts == ["Please count to 100.", "Please count to 30."]
    expect(window.part("composer")).to_have_value("And then?")
    window.forgive_offline()


def test_what_is_sent_offline_goes_out_once_when_its_page_was_closed_meanwhile(
    signed_in: Window, cloud: Cloud, alice: Person
) -> None:
    """Into a chat that there is, and as the first of a new one."""
    window = signed_in
    window.send("Please count to 100.")
    window.until_length(10)
    counting = window.chat_id
    run_id = alice.get(f"/chats/{counting}")["active_run"]["run_id"]
    viewers = cloud.run(run_id)["viewers"]
    window.finish(1)
    window.go_offline(viewers)
    window.send("Please count to 30.")
    window.part("new-chat").click()
    expect(window.part("message")).to_have_count(0)
    window.send("My dog is called Biscuit.")
    expect(window.part("message")).to_have_attribute("data-status", "sending")
    # It is where it was sent, whatever else one looks at.
    window.page.locator(f"[data-chat-id={counting}]").click()
    expect(window.part("message").last).to_have_text("Please count to 30.")
    context = window.page.context
    window.page.close()
    window.forgive_offline()

    context.set_offline(False)
    again = Window(cloud, context.new_page())
    again.open()
    assert "Biscuit" in again.finish(1)
    expect(again.part("message")).to_have_count(2)
    expect(again.part("chat-item")).to_have_count(2)
    dogs = again.chat_id
    again.page.locator(f"[data-chat-id={counting}]").click()
    again.finish(2)
    expect(again.part("message")).to_have_count(4)

    # Nor is it sent by the page after that.
    assert again.page.evaluate("Object.keys(localStorage).filter(key => /outbox/.test(key))") == []
    assert [_asked_in(alice, chat_id) for chat_id in (dogs, counting)] == [
        ["My dog is called Biscuit."],
        ["Please count to 100.", "Please count to 30."],
    ]
    assert len(alice.get("/chats")["chats"]) == 2
    expect(again.part("error")).to_be_hidden()
    assert again.faults == []


def _asked_in(person: Person, chat_id: str) -> list[str]:
    return [each["text"] for each in person.messages(chat_id) if each["role"] == "user"]


def test_an_answer_goes_on_while_its_page_is_away_and_the_list_says_so(
    signed_in: Window, cloud: Cloud, alice: Person
) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    dogs = window.chat_id
    window.part("new-chat").click()
    window.send("Please count to 400.")
    before = window.until_length(60)
    counting = window.chat_id
    mark = window.page.locator(f"li:has([data-chat-id={counting}])").get_by_test_id(
        "chat-answering"
    )
    # Another chat of the same page.
    window.page.locator(f"[data-chat-id={dogs}]").click()
    expect(window.part("message").first).to_have_text("My dog is called Biscuit.")
    expect(mark).to_be_visible()
    expect(mark).to_have_accessible_name("Still being answered")

    # Closed without a question, and opened again at another place.
    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    window.page.on("dialog", leave)
    window.page.goto("about:blank")
    assert alice.get(f"/chats/{counting}")["active_run"]["status"] == "running"
    window.page.goto(f"{cloud.endpoints.web_url}/#{dogs}")
    assert asked == []
    expect(mark).to_be_visible()
    window.page.locator(f"[data-chat-id={counting}]").click()
    assert window.until_length(len(before)).startswith(before)
    shown = window.finish(1)
    expect(mark).to_be_hidden()
    assert shown == alice.stored_answer(counting)["text"]
