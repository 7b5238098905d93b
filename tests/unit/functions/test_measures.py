"""What the functions measure, as their log lines say it to CloudWatch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import pytest

from chatcore.adapters.measures import NO_TIER, SENDS
from chatcore.domain.identity import User
from chatcore.domain.ledger import Ledger, Window
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.services.tickets import RANDOM_BYTES, issue_ticket
from tests.measured import Line, Lines, measured
from tests.unit.functions.cloud import Away, Broken, Cloud
from tests.unit.functions.events import connect_event
from tests.unit.functions.loading import Context, event_loop, load_function

SEND = {"action": "send", "chat_id": None, "message_id": "message-0001", "text": "Hello"}
BODY = {"message_id": "message-0001", "text": "Hello"}


@dataclass
class Watched:
    """One function in a cloud in memory, and what it logs."""

    cloud: Cloud
    module: ModuleType
    lines: Lines


Watch = Callable[[str], Watched]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Watch]:
    def enter(name: str) -> Watched:
        cloud, module = Cloud(), load_function(name)
        cloud.enter(module, monkeypatch)
        lines = Lines(f"{request.node.nodeid}-{name}")
        monkeypatch.setattr(module, "logger", lines.logger)
        return Watched(cloud, module, lines)

    # Loaded for the first time, it takes the thread's event loop away.
    load_function("http_api")
    with event_loop():
        yield enter


def told(line: Line) -> tuple[dict[str, float], str]:
    """Its metrics, all of them counts, and the tier."""
    found = measured(line)
    assert set(found.units.values()) == {"Count"}
    assert set(found.dimensions) == {"service", "tier"}
    return dict(found.values), found.dimensions["tier"]


def trouble(line: Line) -> dict[str, float]:
    """Its metrics, which are nobody's tier's."""
    found = measured(line)
    assert set(found.dimensions) == {"service"}
    return dict(found.values)


class TestSends:
    def test_over_the_socket_count_once(self, watch: Watch) -> None:
        watched = watch("ws_message")
        watched.cloud.say(SEND, tier="plus")
        watched.cloud.say(SEND, tier="plus")
        first, repeat = watched.lines.all("run.submitted")
        assert told(first) == ({"sends": 1}, "plus")
        assert "_aws" not in repeat
        assert (first["repeat"], repeat["repeat"]) == (False, True)

    def test_over_http_count_once(self, watch: Watch) -> None:
        watched = watch("http_api")
        chat_id = watched.cloud.http("POST", "/chats", {"title": "A chat"}).body["chat_id"]
        for _ in range(2):
            watched.cloud.http("POST", f"/chats/{chat_id}/messages", BODY)
        first, repeat = watched.lines.all("run.submitted")
        assert told(first) == ({"sends": 1}, "free")
        assert "_aws" not in repeat


def spend_all(cloud: Cloud) -> None:
    cloud.database.ledgers["user-alice"] = Ledger(
        "user-alice",
        version=1,
        settled_tokens=DEFAULTS[Tier.FREE].budgets[0].tokens,
        windows=(Window(cloud.clock() + 90_000), Window(cloud.clock() + 90_000 * 2)),
    )


class TestRefusals:
    def test_over_the_socket_count_with_their_tier(self, watch: Watch) -> None:
        watched = watch("ws_message")
        watched.cloud.say(raw_body="no JSON", tier="pro")
        watched.cloud.say({**SEND, "text": ""}, tier="pro")
        watched.cloud.say({"action": "cancel", "run_id": "r_1"}, tier="pro")
        lines = [
            *watched.lines.all("frame.refused"),
            *watched.lines.all("action.refused"),
        ]
        assert len(lines) == 3
        assert [told(line) for line in lines] == [({"refused": 1}, "pro")] * 3

    def test_over_http_count_with_their_tier(self, watch: Watch) -> None:
        watched = watch("http_api")
        assert watched.cloud.http("GET", "/chats/c_1").status == 404
        assert told(watched.lines.one("request.refused")) == ({"refused": 1}, "free")

    def test_of_who_has_not_signed_in_have_none(self, watch: Watch) -> None:
        watched = watch("http_api")
        assert watched.cloud.http("GET", "/chats", claims=None).status == 401
        assert told(watched.lines.one("request.refused")) == ({"refused": 1}, NO_TIER)

    def test_for_a_budget_are_told_apart(self, watch: Watch) -> None:
        watched = watch("ws_message")
        spend_all(watched.cloud)
        watched.cloud.say(SEND)
        line = watched.lines.one("action.refused")
        assert line["code"] == "budget_exhausted"
        assert told(line) == ({"refused": 1, "budget_rejections": 1}, "free")


both = pytest.mark.parametrize(
    ("port", "metric"), [(Away(), "busy"), (Broken(), "faults")], ids=["busy", "faults"]
)


class TestTrouble:
    @both
    def test_over_the_socket_is_no_refusal(
        self, watch: Watch, monkeypatch: pytest.MonkeyPatch, port: Any, metric: str
    ) -> None:
        watched = watch("ws_message")
        monkeypatch.setattr(watched.module, "stores", replace(watched.cloud.stores, runs=port))
        watched.cloud.say(SEND)
        assert trouble(watched.lines.one("action.refused")) == {metric: 1}

    @both
    def test_over_http_is_no_refusal(
        self, watch: Watch, monkeypatch: pytest.MonkeyPatch, port: Any, metric: str
    ) -> None:
        watched = watch("http_api")
        monkeypatch.setattr(watched.module, "stores", replace(watched.cloud.stores, chats=port))
        assert watched.cloud.http("GET", "/chats").status in (500, 503)
        assert trouble(watched.lines.one("request.refused")) == {metric: 1}


def test_connections_count_and_those_that_are_refused(watch: Watch) -> None:
    watched = watch("ws_authorizer")
    user, random_bytes = User("user-alice", Tier.PRO), b"\x07" * RANDOM_BYTES
    issued = issue_ticket(watched.cloud.stores.tickets, user, random_bytes, watched.cloud.clock())
    for _ in range(2):
        watched.module.handler(connect_event(issued.ticket), Context())
    for line, metric in (
        ("connection.authorized", "connections"),
        ("connection.refused", "refused_connections"),
    ):
        found = measured(watched.lines.one(line))
        assert (found.values, found.units) == ({metric: 1}, {metric: "Count"})
        assert set(found.dimensions) == {"service"}


def test_what_is_no_metric_of_a_line_is_none() -> None:
    with pytest.raises(KeyError):
        SENDS.of("test", {"cents": 1}, Tier.FREE)
