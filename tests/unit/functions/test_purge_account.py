"""The steps of an account's purge: each says how it stands, and lets faults go up to the state machine."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from chatcore.domain.errors import Retryable
from chatcore.domain.identity import Profile
from chatcore.domain.tiers import Tier
from chatcore.settings import PurgeAccountSettings
from deploy.template import properties
from tests.contract.sends import ALICE, admitted, send_of
from tests.unit.functions.cloud import Away, Cloud
from tests.unit.functions.loading import Context, load_function


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    cloud.enter(load_function("purge_account"), monkeypatch)
    cloud.user_pool.profiles[ALICE.user_id] = Profile("alice@example.com", True, Tier.FREE, 1)
    run = admitted(cloud.stores, send_of(), cloud.clock())
    cloud.complete(run.run_id)
    return cloud


def step(name: str, **more: Any) -> dict[str, Any]:
    reply: dict[str, Any] = load_function("purge_account").handler(
        {"step": name, "user_id": ALICE.user_id, **more}, Context()
    )
    return reply


def test_one_after_the_other_they_leave_nothing(cloud: Cloud) -> None:
    assert step("shut") == {"state": "done"}
    assert cloud.user_pool.locked_out == {ALICE.user_id}
    assert step("chats") == {"state": "more", "removed": 3}
    assert step("chats") == {"state": "done", "removed": 0}
    assert step("rest") == {"state": "done"}
    assert cloud.user_pool.profiles == {}
    assert set(cloud.database.ledgers) == {ALICE.user_id}
    assert step("forget", after_hash="") == {"state": "done", "after_hash": ""}
    database = cloud.database
    assert [database.chats, database.messages, database.runs] == [{}, {}, {}]
    assert [database.ledgers, database.usage] == [{}, {}]


def test_a_run_that_is_worked_on_is_waited_for(cloud: Cloud) -> None:
    held = admitted(cloud.stores, send_of("message-0002"), cloud.clock())
    cloud.claim(held.run_id)
    assert [step("shut")["state"], step("chats")["state"]] == ["done", "more"]
    assert step("chats") == {"state": "waiting", "removed": 0}


def test_an_account_that_is_open_is_not_forgotten(cloud: Cloud) -> None:
    assert step("forget", after_hash="")["state"] == "reopened"
    assert set(cloud.database.ledgers) == {ALICE.user_id}


@pytest.mark.parametrize(
    ("name", "port"),
    [("shut", "ledgers"), ("chats", "chats"), ("rest", "usage"), ("forget", "tickets")],
)
def test_faults_go_up(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, name: str, port: str) -> None:
    away: Any = Away()
    stores = replace(cloud.stores, **{port: away})
    monkeypatch.setattr(load_function("purge_account"), "stores", stores)
    with pytest.raises(Retryable):
        step(name)


def test_a_step_that_there_is_not_is_a_fault(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="purge"):
        step("purge")


def test_its_settings_are_what_the_template_gives_it() -> None:
    given = dict.fromkeys(properties("PurgeAccountFunction")["Environment"]["Variables"], "given")
    settings = PurgeAccountSettings.read(given)
    told = {f"{name.upper()}_TABLE" for name, value in asdict(settings.tables).items() if value}
    assert told == {name for name in given if name.endswith("_TABLE")}
