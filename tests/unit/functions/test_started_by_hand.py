"""The other steps that people start: an export's file, a drain's look, a redrive's page."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from chatcore.domain.beat import Beat
from chatcore.domain.errors import Retryable
from chatcore.protocol.queue import Drain
from chatcore.settings import DrainWorkerSettings, ExportAccountSettings, RedriveRunsSettings
from deploy.template import properties
from tests.contract.sends import ALICE, admitted, send_of
from tests.unit.functions.cloud import Away, Cloud
from tests.unit.functions.loading import Context, load_function

ASKED = {"user_id": ALICE.user_id, "export_id": "e_1", "progress": {}}
MINUTE_MS = 60_000


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    for name in ("export_account", "drain_worker", "redrive_runs"):
        cloud.enter(load_function(name), monkeypatch)
    return cloud


def call(function: str, event: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = load_function(function).handler(event, Context())
    return reply


def test_an_export_says_how_far_it_has_come_and_goes_on_from_there(cloud: Cloud) -> None:
    run = admitted(cloud.stores, send_of(), cloud.clock())
    cloud.complete(run.run_id)
    reply = call("export_account", ASKED)
    assert reply["state"] == "done"
    progress = reply["progress"]
    assert progress["counts"] == {
        "profile": 1,
        "account": 1,
        "usage_day": 1,
        "chat": 1,
        "message": 2,
    }
    assert progress["chat_id"] == run.chat_id
    assert len(cloud.export_files.files) == 2
    # From there on nothing is left but the manifest.
    again = call("export_account", {**ASKED, "progress": progress})
    assert again == reply


def test_a_worker_is_told_until_it_is_gone(cloud: Cloud) -> None:
    asked = {"worker_id": "worker-1"}
    assert call("drain_worker", asked) == {"state": "gone"}
    inbox = cloud.inboxes.open("worker-1")
    cloud.stores.beats.put(Beat("worker-1", inbox, cloud.clock(), 4, 4))
    assert call("drain_worker", asked) == {"state": "leaving"}
    assert cloud.inboxes.receive(inbox, 0) == [Drain()]
    cloud.clock.advance(MINUTE_MS)
    assert call("drain_worker", asked) == {"state": "silent"}


def test_a_page_of_runs_is_looked_at(cloud: Cloud) -> None:
    asked = {"older_than_minutes": 10, "after_id": ""}
    nothing = {"requeued": 0, "taken_over": 0, "behind": 0, "changed": 0}
    assert call("redrive_runs", asked) == {"looked_at": 0, "next_id": "", **nothing}
    admitted(cloud.stores, send_of(), cloud.clock())
    cloud.clock.advance(10 * MINUTE_MS + 1)
    expected = {"looked_at": 1, "next_id": "", **nothing, "requeued": 1}
    assert call("redrive_runs", asked) == expected
    assert call("redrive_runs", asked) == {"looked_at": 1, "next_id": "", **nothing}


@pytest.mark.parametrize(
    ("function", "port", "event"),
    [
        ("export_account", "ledgers", ASKED),
        ("drain_worker", "beats", {"worker_id": "worker-1"}),
        ("redrive_runs", "runs", {"older_than_minutes": 10, "after_id": ""}),
    ],
)
def test_faults_go_up(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, function: str, port: str, event: dict[str, Any]
) -> None:
    away: Any = Away()
    stores = replace(cloud.stores, **{port: away})
    monkeypatch.setattr(load_function(function), "stores", stores)
    with pytest.raises(Retryable):
        call(function, event)


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        ("ExportAccountFunction", ExportAccountSettings),
        ("DrainWorkerFunction", DrainWorkerSettings),
        ("RedriveRunsFunction", RedriveRunsSettings),
    ],
)
def test_their_settings_are_what_the_template_gives_them(function: str, settings: Any) -> None:
    given = dict.fromkeys(properties(function)["Environment"]["Variables"], "given")
    tables = asdict(settings.read(given).tables)
    told = {f"{name.upper()}_TABLE" for name, value in tables.items() if value}
    assert told == {name for name in given if name.endswith("_TABLE")}
