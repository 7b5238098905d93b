"""What each function asks of DynamoDB is what its role allows: nothing is refused, nothing idle.

The functions run as deployed, on moto's tables; what they call is written down on its way out. The other
services' permissions are an action each, and need no such list (tests/template/test_permissions.py).
"""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import TableNames, open_tables
from chatcore.domain import lease
from chatcore.domain.beat import Beat
from chatcore.domain.calendar import Backlog, Calendar
from chatcore.domain.run import Ending, Event, FinishReason, Run, Usage
from chatcore.domain.stream import Checkpoint
from chatcore.domain.summary import Summary, SummaryAsked
from chatcore.domain.tiers import Tier
from chatcore.ports import Claimed
from chatcore.services.dispatch import dispatch
from chatcore.services.enqueue import PATIENCE_MS
from tests.contract.conftest import make_tables
from tests.template.test_apis import HTTP_ROUTES, WEBSOCKET_ROUTES
from tests.template.test_permissions import PERMISSIONS
from tests.unit.functions.cloud import Cloud
from tests.unit.functions.events import ID_CLAIMS, connect_event
from tests.unit.functions.loading import Context, event_loop, load_function

USER = "user-alice"
IN_TRANSACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "Get": "GetItem",
    "ConditionCheck": "ConditionCheckItem",
}
"""A transaction takes no permission of its own, but those of its parts."""


@dataclass
class Calls:
    """Action → the tables it was done to, of the calls inside `of_function`."""

    names: TableNames
    made: dict[str, set[str]] = field(default_factory=dict)
    is_open: bool = False

    @contextmanager
    def of_function(self) -> Iterator[None]:
        self.is_open = True
        yield
        self.is_open = False

    def note(self, operation: str, asked: dict[str, Any]) -> None:
        for part in asked.get("TransactItems", []):
            ((kind, what),) = part.items()
            self._add(IN_TRANSACTIONS[kind], what["TableName"])
        for table in asked.get("RequestItems", {}):
            self._add(operation, table)
        if "TableName" in asked:
            self._add(operation, asked["TableName"], asked.get("IndexName"))

    def _add(self, operation: str, table: str, index: str | None = None) -> None:
        (name,) = (name for name, value in asdict(self.names).items() if value == table)
        resource = f"{name.capitalize()}Table"
        if index is not None:
            resource = f"${{{resource}.Arn}}/index/{index}"
        self.made.setdefault(f"dynamodb:{operation}", set()).add(resource)


@pytest.fixture
def calls(moto_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Calls:
    for name, value in moto_environment.items():
        monkeypatch.setenv(name, value)
    calls = Calls(make_tables())
    call: Callable[..., Any] = vars(BaseClient)["_make_api_call"]

    def noted(client: BaseClient, operation: str, asked: dict[str, Any]) -> Any:
        if calls.is_open:
            calls.note(operation, asked)
        return call(client, operation, asked)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return calls


@pytest.fixture
def cloud(calls: Calls) -> Iterator[Cloud]:
    cloud = Cloud()
    cloud.stores = dynamo_stores(open_tables(calls.names))
    # Loaded first: that closes a loop of its own.
    load_function("http_api")
    with event_loop():
        yield cloud


def allowed(role: str) -> dict[str, set[str]]:
    return {
        action: targets
        for action, targets in PERMISSIONS[role].items()
        if action.startswith("dynamodb:")
    }


def claimed(cloud: Cloud, run_id: str) -> Run:
    """By a worker, which tells the account of it too."""
    run = cloud.stores.runs.get(run_id)
    assert run is not None
    args = (run.user_id, run_id, run.weight, cloud.clock())
    dispatch(cloud.stores, cloud.lanes, cloud.stores.calendars.get(run.tier), *args)
    claim = cloud.stores.runs.claim(run_id, "worker-1", "inbox-1", cloud.clock())
    assert isinstance(claim, Claimed)
    return claim.run


def completed(cloud: Cloud, run: Run) -> None:
    ending = Ending(
        Event.COMPLETE, cloud.clock(), "Hi.", Usage(9, 0, 3), FinishReason.STOP, context_tokens=12
    )
    assert cloud.stores.runs.end(run, ending)


def lost(cloud: Cloud, run_id: str) -> None:
    """Its worker has begun it, stored some of it, and is gone."""
    run = claimed(cloud, run_id)
    cloud.stores.runs.put_checkpoints([Checkpoint(run.run_id, run.epoch, 0, "Hi")], cloud.clock())
    cloud.clock.advance(lease.LEASE_MS + lease.SKEW_MARGIN_MS + 1)


def handed_back(cloud: Cloud, run_id: str) -> None:
    """By a worker that had to go, with some of it told and its tokens counted."""
    run = claimed(cloud, run_id)
    cloud.stores.runs.put_checkpoints([Checkpoint(run.run_id, run.epoch, 0, "Hi")], cloud.clock())
    assert cloud.stores.runs.hand_back(run_id, run.epoch, Usage(9, 0, 1), fault=False)


def idle_fleet(cloud: Cloud) -> None:
    """Nobody waits, and the chats' worker has room: sends are offered to it."""
    cloud.stores.beats.put(Beat("worker-1", "inbox-1", cloud.clock(), slots=4, free_slots=4))
    backlog = Backlog(cloud.clock(), {}, 1.0)
    assert cloud.stores.calendars.publish(Calendar(Tier.FREE, backlog=backlog), 0)


def message(**fields: str) -> dict[str, str]:
    return {"message_id": uuid.uuid4().hex, "text": "Hello.", **fields}


def test_ws_message(calls: Calls, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.enter(load_function("ws_message"), monkeypatch)
    idle_fleet(cloud)

    said = set()

    def say(**frame: Any) -> list[dict[str, Any]]:
        said.add(frame["action"])
        with calls.of_function():
            return cloud.say(frame)

    def send(**fields: str) -> dict[str, str]:
        (queued,) = say(action="send", **message(**fields))
        assert queued["type"] == "run.queued"
        ids: dict[str, str] = queued
        return ids

    def attach(run_id: str) -> str:
        kind: str = say(action="attach", run_id=run_id, offset=0, epoch=0)[-1]["type"]
        return kind

    sent = message()
    (queued,) = say(action="send", **sent)
    run_id, chat_id = queued["run_id"], queued["chat_id"]
    say(action="send", **sent)
    assert attach(run_id) == "run.queued"
    completed(cloud, claimed(cloud, run_id))
    assert attach(run_id) == "run.completed"
    # Offered to the chat's worker, and stopped while it has the run.
    run_id = send(chat_id=chat_id)["run_id"]
    run = claimed(cloud, run_id)
    say(action="cancel", run_id=run_id)
    completed(cloud, run)
    run_id = send()["run_id"]
    lost(cloud, run_id)
    assert attach(run_id) == "run.delta"
    say(action="cancel", run_id=run_id)
    run_id = send()["run_id"]
    handed_back(cloud, run_id)
    assert attach(run_id) == "run.queued"
    say(action="cancel", run_id=run_id)
    # The second waits behind the first, whose end nobody has told it of.
    first, second = send()["run_id"], send()["run_id"]
    say(action="cancel", run_id=first)
    cloud.clock.advance(PATIENCE_MS + 1)
    assert attach(second) == "run.queued"
    say(action="watch", chat_id=chat_id)
    say(action="ping")
    # The default route is for frames that name no action.
    assert said == WEBSOCKET_ROUTES - {"$connect", "$default"}
    assert calls.made == allowed("WsMessageRole")


def test_http_api(calls: Calls, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.enter(load_function("http_api"), monkeypatch)
    idle_fleet(cloud)

    asked = set()

    def ask(method: str, path: str, body: Any = None) -> Any:
        route = re.sub("^/(chat|run)s/[^/]+", r"/\1s/{\1_id}", path)
        asked.add(f"{method} {re.sub('/e_.+', '/{export_id}', route)}")
        with calls.of_function():
            reply = cloud.http(method, path, body)
        assert reply.status < 300, reply.body
        return reply.body

    chat_id = ask("POST", "/chats", {"title": "A chat"})["chat_id"]
    run_id = ask("POST", f"/chats/{chat_id}/messages", message())["run_id"]
    ask("GET", f"/runs/{run_id}")
    completed(cloud, claimed(cloud, run_id))
    ask("GET", "/chats")
    ask("GET", f"/chats/{chat_id}")
    ask("GET", f"/chats/{chat_id}/messages")
    ask("PATCH", f"/chats/{chat_id}", {"title": "The chat"})
    # Offered to the chat's worker; then given back, and stopped.
    run_id = ask("POST", f"/chats/{chat_id}/messages", message())["run_id"]
    handed_back(cloud, run_id)
    ask("POST", f"/runs/{run_id}/cancel")
    run_id = ask("POST", f"/chats/{chat_id}/messages", message())["run_id"]
    claimed(cloud, run_id)
    ask("POST", f"/runs/{run_id}/cancel")
    ask("DELETE", f"/chats/{chat_id}")
    ask("POST", "/tickets")
    ask("GET", "/me")
    ask("GET", "/me/usage")
    export_id = ask("POST", "/me/export")["export_id"]
    ask("GET", f"/me/export/{export_id}")
    ask("DELETE", "/me", {"email": ID_CLAIMS["email"]})
    assert asked == HTTP_ROUTES
    assert calls.made == allowed("HttpApiRole")


def test_ws_authorizer(calls: Calls, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.enter(load_function("http_api"), monkeypatch)
    ticket = cloud.http("POST", "/tickets").body["ticket"]
    app = cloud.enter(load_function("ws_authorizer"), monkeypatch)
    with calls.of_function():
        for _ in range(2):
            app.handler(connect_event(ticket), Context())
    assert calls.made == allowed("WsAuthorizerRole")


def test_purge_chat(calls: Calls, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.enter(load_function("http_api"), monkeypatch)
    chat_id = cloud.http("POST", "/chats", {"title": "A chat"}).body["chat_id"]
    sent = f"/chats/{chat_id}/messages"
    for _ in range(2):
        run_id = cloud.http("POST", sent, message()).body["run_id"]
        completed(cloud, claimed(cloud, run_id))
    # Of old messages the runs have expired.
    boto3.client("dynamodb").delete_item(TableName=calls.names.runs, Key={"run_id": {"S": run_id}})
    run_id = cloud.http("POST", sent, message()).body["run_id"]
    handed_back(cloud, run_id)
    cloud.stores.summaries.put(Summary(chat_id, "u_1", 1, 1, "## Facts", cloud.clock()))
    app = cloud.enter(load_function("purge_chat"), monkeypatch)
    asked = {"user_id": USER, "chat_id": chat_id}
    claimed(cloud, run_id)
    with calls.of_function():
        # Its worker is told first; it dies before it hears of it.
        assert app.handler(asked, Context())["state"] == "waiting"
        cloud.clock.advance(lease.LEASE_MS + lease.SKEW_MARGIN_MS + 1)
        while app.handler(asked, Context())["state"] != "done":
            pass
    assert calls.made == allowed("PurgeChatRole")


def test_compact_chat(calls: Calls, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.enter(load_function("http_api"), monkeypatch)
    chat_id = cloud.http("POST", "/chats", {}).body["chat_id"]
    run = cloud.http("POST", f"/chats/{chat_id}/messages", message()).body
    completed(cloud, claimed(cloud, run["run_id"]))
    app = cloud.enter(load_function("compact_chat"), monkeypatch)
    seq = 1

    def step(name: str, former: str) -> dict[str, Any]:
        asked = SummaryAsked(USER, chat_id, former, seq, 500)
        with calls.of_function():
            done: dict[str, Any] = app.handler({"step": name, "asked": asdict(asked)}, Context())
        return done

    former = ""
    for version in (1, 2):
        job = step("plan", former)["job"]
        made = Summary(chat_id, job["run_id"], version, seq, "## Facts", cloud.clock())
        cloud.stores.summaries.put(made)
        assert step("commit", former)["outcome"] == "committed"
        former, seq = made.summary_id, seq + 1
    # The first of them goes now.
    step("plan", former)
    step("release", former)
    assert calls.made == allowed("CompactChatRole")
