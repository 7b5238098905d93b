"""The web page in Chromium on the running local cloud: what a person does, and what he then sees.

Every test also holds that the browser's console stays without errors and that nothing is asked of
anybody but this machine.
"""

import re
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import (
    expect,
)

from tests.cloud import eventually
from tests.e2e.window import Window, both_sizes
from tests.person import Person

pytestmark = pytest.mark.e2e


@both_sizes
def test_an_answer_grows_survives_a_reload_and_is_what_is_stored(
    signed_in: Window, alice: Person
) -> None:
    window = signed_in
    window.send("Please count to 300.")
    _grows(window)
    before = window.until_length(150)
    expect(window.answer).to_have_attribute("data-status", "running")
    chat_id = window.chat_id
    assert chat_id

    window.page.reload()
    after = window.until_length(len(before))
    assert after.startswith(before)
    # Live again, and not only told at its end.
    expect(window.answer).to_have_attribute("data-status", "running")
    _grows(window)
    assert window.chat_id == chat_id
    shown = window.finish(1)
    assert shown == "The demo engine counts to 300: " + ", ".join(map(str, range(1, 301))) + "."
    assert shown == alice.stored_answer(chat_id)["text"]


def test_a_chat_gets_its_title_after_its_first_answer(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("My dog Rex likes the cold river water behind our old house.")
    window.finish(1)
    chat_id = window.chat_id

    title = eventually(lambda: alice.get(f"/chats/{chat_id}")["title"], "the chat is named")
    assert len(title.split()) <= 6
    expect(window.part("chat-item").first).to_have_text(title)


def _grows(window: Window) -> None:
    """At least three different lengths are seen one after the other."""
    seen = [0]
    while len(seen) < 4:
        seen.append(len(window.until_length(seen[-1] + 1)))


def test_past_chats_are_listed_and_gone_on_with(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    dogs = window.chat_id
    window.part("new-chat").click()
    expect(window.answers).to_have_count(0)
    window.send("My cat is called Minka.")
    window.finish(1)
    assert window.chat_id not in {"", dogs}
    expect(window.part("chat-item")).to_have_text([re.compile("Minka"), re.compile("Biscuit")])

    window.page.locator(f"[data-chat-id={dogs}]").click()
    expect(window.part("message").first).to_have_text("My dog is called Biscuit.")
    # Only the earlier turn of this chat answers it.
    window.send("What is my dog called?")
    answer = window.finish(2)
    assert "Biscuit" in answer
    assert "Minka" not in answer
    texts = [window.text_of(message) for message in window.part("message").all()]
    assert texts == [message["text"] for message in alice.messages(dogs)]
    # The latest activity comes first.
    expect(window.part("chat-item").first).to_have_text(re.compile("Biscuit"))


@both_sizes
def test_stop_ends_the_answer_where_it_is(signed_in: Window, alice: Person) -> None:
    window = signed_in
    expect(window.part("stop")).to_be_hidden()
    window.send("Please count to 500.")
    window.until_length(60)
    window.press("stop")
    expect(window.answer).to_have_attribute("data-status", "cancelled", timeout=5_000)
    expect(window.part("stop")).to_be_hidden()
    expect(window.part("message-note").last).to_have_text("Stopped.")
    shown = window.text_of(window.answer)
    assert not shown.endswith("500.")
    assert shown == alice.stored_answer(window.chat_id)["text"]
    window.send("My dog is called Biscuit.")
    window.finish(2)


def test_signing_out_and_in_keeps_the_chats(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    window.part("sign-out").click()
    expect(window.part("email")).to_be_visible()
    expect(window.part("chat-list")).to_be_hidden()
    assert window.part("message").count() == 0
    window.page.reload()
    expect(window.part("email")).to_be_visible()

    window.sign_in(alice.email)
    window.part("chat-item").click()
    expect(window.part("message").first).to_have_text("My dog is called Biscuit.")
    expect(window.part("message")).to_have_count(2)


def test_a_chat_is_renamed_in_its_place(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    window.part("rename-chat").click()
    window.part("rename-title").fill("Dogs & <b>cats</b>")
    window.part("rename-title").press("Enter")
    expect(window.part("chat-title")).to_have_text("Dogs & <b>cats</b>")
    expect(window.part("chat-item")).to_have_text("Dogs & <b>cats</b>")
    assert alice.get(f"/chats/{window.chat_id}")["title"] == "Dogs & <b>cats</b>"
    window.part("rename-chat").click()
    window.part("rename-title").fill("Never mind")
    window.part("rename-title").press("Escape")
    expect(window.part("chat-title")).to_have_text("Dogs & <b>cats</b>")
    expect(window.part("rename-title")).to_be_hidden()


def test_what_was_written_and_not_sent_is_kept_by_chat(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    dogs = window.chat_id
    window.part("composer").fill("And the cat")
    window.part("new-chat").click()
    expect(window.part("composer")).to_have_value("")
    window.part("composer").fill("Something new")
    window.page.reload()
    expect(window.part("composer")).to_have_value("Something new")
    window.page.locator(f"[data-chat-id={dogs}]").click()
    expect(window.part("composer")).to_have_value("And the cat")
    window.send("And the cat?")
    window.finish(2)
    window.page.reload()
    expect(window.part("composer")).to_have_value("")
    window.part("sign-out").click()
    window.sign_in(alice.email)
    expect(window.part("composer")).to_have_value("")


def test_what_an_answer_took_is_told(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("Please count to 20.")
    window.finish(1)
    usage = alice.stored_answer(window.chat_id)["usage"]
    told = window.part("message-usage").last
    expect(told).to_contain_text(f"{usage['input_tokens']} tokens read")
    expect(told).to_contain_text(f"{usage['output_tokens']} written")
    window.page.reload()
    expect(told).to_contain_text(f"{usage['output_tokens']} written")


def test_a_screen_reader_is_told_sentences_of_the_answer_in_the_making(signed_in: Window) -> None:
    window = signed_in
    window.page.evaluate(
        """() => {
            window.spoken = [];
            const region = document.getElementById("spoken");
            new MutationObserver(() => window.spoken.push(region.textContent)).observe(region, {
                childList: true, characterData: true, subtree: true,
            });
        }"""
    )
    window.send("Please write 120 words.")
    answer = window.finish(1)
    spoken = window.page.evaluate("window.spoken")
    assert len(spoken) > 2
    assert all(words.endswith(".") for words in spoken)
    assert " ".join(spoken).split() == answer.split()


def test_another_user_of_the_same_browser_sees_nothing_of_it(
    signed_in: Window, person: Callable[[str], Person]
) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    foreign = window.chat_id
    window.part("sign-out").click()
    expect(window.part("email")).to_be_visible()
    window.sign_in(person("free").email)
    expect(window.part("tier")).to_have_text("free")
    expect(window.part("chat-item")).to_have_count(0)
    window.page.evaluate(f"location.hash = '{foreign}'")
    expect(window.part("error")).to_have_text("There is no such chat any more.")
    assert window.part("message").count() == 0
    # The browser itself notes the 404 in the console: here it is what was asked for.
    window.faults = [fault for fault in window.faults if "404" not in fault]


def test_a_wrong_password_is_told_in_words(window: Window, alice: Person) -> None:
    window.sign_in(alice.email, "not the password")
    expect(window.part("error")).to_have_text("The email address or the password is not right.")
    expect(window.part("composer")).to_be_hidden()
    # As above: the browser notes Cognito's 400.
    window.faults = [fault for fault in window.faults if "400" not in fault]
    window.sign_in(alice.email)
    expect(window.part("composer")).to_be_visible()
    expect(window.part("error")).to_be_hidden()


@both_sizes
def test_a_new_account_is_made_confirmed_and_used(window: Window, alice: Person) -> None:
    email = f"new-{uuid.uuid4().hex[:12]}@example.com"
    window.press("sign-in-other")
    window.sign_in(alice.email)
    expect(window.part("error")).to_have_text(re.compile("already"))
    window.sign_in(email)
    window.part("code").fill("123456")
    window.press("sign-in")
    expect(window.part("composer")).to_be_visible()
    expect(window.part("tier")).to_have_text("free")
    fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert window.page.evaluate(fits)
    window.send("Please count to 5.")
    assert window.finish(1).endswith("4, 5.")
    # The browser itself notes the 400 of the address that is taken.
    window.faults = [fault for fault in window.faults if "400" not in fault]


def test_a_lost_connection_is_made_good_without_a_gap(signed_in: Window, alice: Person) -> None:
    window = signed_in
    window.send("Please count to 150.")
    window.until_length(60)
    run_id = alice.get(f"/chats/{window.chat_id}")["active_run"]["run_id"]
    (connection_id,) = window.cloud.run(run_id)["viewers"]
    window.cloud.close_connection(connection_id)
    shown = window.finish(1)
    assert window.sockets == 2
    assert shown == alice.stored_answer(window.chat_id)["text"]
    assert shown.endswith("149, 150.")


@both_sizes
def test_a_deleted_chat_leaves_the_list_and_may_be_taken_back(
    signed_in: Window, alice: Person
) -> None:
    window = signed_in
    window.send("My dog is called Biscuit.")
    window.finish(1)
    chat_id = window.chat_id
    window.press("delete-chat")
    expect(window.part("chat-item")).to_have_count(0)
    expect(window.part("message")).to_have_count(0)
    window.press("undo-delete")
    expect(window.part("chat-item")).to_have_count(1)
    expect(window.part("message").first).to_have_text("My dog is called Biscuit.")
    assert alice.get(f"/chats/{chat_id}")["chat_id"] == chat_id

    window.press("delete-chat")
    expect(window.part("toast")).to_be_visible()
    # Who leaves does not take it back.
    window.page.reload()
    expect(window.part("composer")).to_be_visible()
    eventually(lambda: not alice.get("/chats")["chats"], "the server knows")
    window.page.reload()
    expect(window.part("composer")).to_be_visible()
    expect(window.part("chat-item")).to_have_count(0)
