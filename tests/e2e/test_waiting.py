"""When all slots are taken: what one who waits sees and can do, and what one who pays sees of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from chatcore.domain.tiers import Tier
from tests.busy import BusyEngine, all_slots_taken
from tests.cloud import Cloud
from tests.e2e.window import TIMEOUT_MS, Window, both_sizes, opened
from tests.person import Person

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.local("takes all slots of workers whose number it knows"),
]

FIRST_TEXT_S = 5.0
"""Undisturbed it is well below one; the machine that runs all of it is small."""


@both_sizes
def test_stop_in_the_queue_ends_it_at_once_and_the_chat_can_be_gone_on_with(
    busy_engine: BusyEngine, signed_in: Window, alice: Person
) -> None:
    window = signed_in
    window.send("This one has to wait.")
    expect(window.answer).to_have_attribute("data-status", "queued")
    expect(window.part("message-wait").last).not_to_be_empty()
    expect(window.part("status")).to_have_text("Waiting for a free GPU…")
    window.press("stop")
    expect(window.answer).to_have_attribute("data-status", "cancelled", timeout=5_000)
    expect(window.part("message-note").last).to_have_text("Stopped.")
    expect(window.part("message-wait").last).to_be_empty()
    expect(window.part("stop")).to_be_hidden()
    assert window.text_of(window.answer) == ""
    assert [each["role"] for each in alice.messages(window.chat_id)] == ["user"]

    window.send("My dog is called Biscuit.")
    expect(window.answers).to_have_count(2)
    expect(window.answer).to_have_attribute("data-status", "queued")
    busy_engine.stop()
    window.finish(2)


def test_a_flood_of_free_users_keeps_free_users_waiting_and_no_paying_one(
    cloud: Cloud, browser: Browser, person: Callable[[str], Person]
) -> None:
    free, pro = person("free"), person("pro")
    with (
        opened(cloud, browser, free.email) as waiting,
        opened(cloud, browser, pro.email) as paying,
        all_slots_taken(cloud, person, Tier.FREE, waiting=4),
    ):
        waiting.send("My dog is called Biscuit.")
        told = waiting.part("message-wait").last
        expect(told).to_have_text(re.compile(r"^\d+ before you"), timeout=TIMEOUT_MS)
        run_id = free.get(f"/chats/{waiting.chat_id}")["active_run"]["run_id"]

        asked_s = time.monotonic()
        paying.send("Please count to 20.")
        paying.until_length(1)
        assert time.monotonic() - asked_s < FIRST_TEXT_S
        paying.finish(1)
        paying.send("My cat is called Minka.")
        paying.finish(2)
        assert cloud.run(run_id)["status"] == "queued"

        waiting.part("new-chat").click()
        waiting.send("And my bird is called Ada.")
        expect(told).to_have_text("Waiting for your other answer")
    assert free.ended_run(run_id)["status"] == "completed"
