"""The purge's step: says how it stands, and lets faults go up to the state machine."""

from dataclasses import replace
from typing import Any

import pytest

from chatcore.domain.errors import Retryable
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


def test_faults_go_up(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    run = admitted(cloud.stores, send_of(), cloud.clock())
    away: Any = Away()
    monkeypatch.setattr(load_function("purge_chat"), "stores", replace(cloud.stores, chats=away))
    with pytest.raises(Retryable):
        step(run.chat_id)
