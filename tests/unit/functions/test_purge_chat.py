"""The purge's step: says how it stands, and lets faults go up to the state machine."""

from dataclasses import replace
from typing import Any

import pytest

from chatcore.domain.errors import Retryable
from chatcore.domain.identity import background_id_for
from chatcore.domain.run import Ending, Event, FinishReason, Kind, Run, Usage
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import Tier
from tests.contract.sends import ALICE, admitted, send_of
from tests.unit.functions.cloud import Away, Cloud
from tests.unit.functions.loading import Context, load_function


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    cloud.enter(load_function("purge_chat"), monkeypatch)
    return cloud


def step(chat_id: str) -> dict[str, Any]:
    reply: dict[str, Any] = load_function("purge_chat").handler(
        {"user_id": ALICE.user_id, "chat_id": chat_id}, Context()
    )
    return reply


def test_goes_on_until_it_is_done(cloud: Cloud) -> None:
    run = admitted(cloud.stores, send_of(), cloud.clock())
    cloud.complete(run.run_id)
    cloud.stores.chats.mark_deleted(ALICE.user_id, run.chat_id, cloud.clock())
    assert step(run.chat_id) == {"state": "more", "removed": 2}
    assert step(run.chat_id) == {"state": "done", "removed": 1}
    assert step(run.chat_id) == {"state": "done", "removed": 0}


def test_waits_for_a_run_that_is_worked_on(cloud: Cloud) -> None:
    run = admitted(cloud.stores, send_of(), cloud.clock())
    cloud.claim(run.run_id)
    cloud.stores.chats.mark_deleted(ALICE.user_id, run.chat_id, cloud.clock())
    assert step(run.chat_id) == {"state": "waiting", "removed": 0}


def test_a_summary_in_the_making_is_stopped_and_what_was_made_goes(cloud: Cloud) -> None:
    run = admitted(cloud.stores, send_of(), cloud.clock())
    cloud.complete(run.run_id)
    making = Run(
        run_id=background_id_for(Kind.SUMMARY, run.chat_id, run.message_seq),
        user_id=ALICE.user_id,
        chat_id=run.chat_id,
        tier=Tier.BACKGROUND,
        message_id="",
        message_seq=run.message_seq,
        digest="",
        created_ms=cloud.clock(),
        kind=Kind.SUMMARY,
    )
    assert cloud.stores.chats.begin_compaction(making, cloud.clock())
    for summary_id in ("b_former", making.run_id):
        summary = Summary(run.chat_id, summary_id, 1, run.message_seq, "## Facts", cloud.clock())
        cloud.stores.summaries.put(summary)
    running = cloud.claim(making.run_id)
    cloud.stores.chats.mark_deleted(ALICE.user_id, run.chat_id, cloud.clock())
    assert step(run.chat_id) == {"state": "waiting", "removed": 0}
    assert cloud.database.runs[making.run_id].cancel_requested
    ending = Ending(Event.CANCEL, cloud.clock(), "", Usage(), FinishReason.CANCELLED)
    assert cloud.stores.runs.end(running, ending)
    assert [step(run.chat_id)["state"] for _ in range(2)] == ["more", "done"]
    assert (cloud.database.summaries, cloud.database.chats) == ({}, {})


def test_faults_go_up(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    run = admitted(cloud.stores, send_of(), cloud.clock())
    away: Any = Away()
    monkeypatch.setattr(load_function("purge_chat"), "stores", replace(cloud.stores, chats=away))
    with pytest.raises(Retryable):
        step(run.chat_id)
