"""An answer on the page survives what happens to the network and to its worker."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from tests.cloud import Cloud, eventually
from tests.e2e.window import Window
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
    # What the browser itself notes of requests that it could not send.
    window.faults = [fault for fault in window.faults if "ERR_INTERNET_DISCONNECTED" not in fault]


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
