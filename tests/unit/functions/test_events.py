"""The events of `sam local invoke`: of AWS's shape, one for every function and route, and each does
what its name says when its function's real handler is given it.

Docker is what `sam local invoke` runs a function in; none is needed here. What a container would add,
the runtime and the layers, is tried by the running stack (tests/integration).
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.data_classes.api_gateway_authorizer_event import (
    APIGatewayAuthorizerRequestEvent,
)
from aws_lambda_powertools.utilities.parser.models import (
    APIGatewayProxyEventV2Model,
    APIGatewayWebSocketConnectEventModel,
    APIGatewayWebSocketMessageEventModel,
)

from chatcore.domain.beat import Beat
from chatcore.domain.identity import User
from chatcore.domain.summary import SummaryAsked
from chatcore.domain.tiers import Tier
from chatcore.services.tickets import RANDOM_BYTES, issue_ticket
from deploy.template import ROOT, of_type
from tests.unit.functions.cloud import Cloud
from tests.unit.functions.loading import Context, event_loop, load_function

EVENTS = ROOT / "tests" / "events"
SAM = ROOT / ".local" / "venvs" / "sam" / "bin" / "sam"
FUNCTIONS = sorted(
    body["Properties"]["CodeUri"].removeprefix("functions/")
    for body in of_type("AWS::Serverless::Function").values()
)
ROUTES = {
    body["Properties"]["RouteKey"]: body["Properties"]["ApiId"]["Ref"]
    for body in of_type("AWS::ApiGatewayV2::Route").values()
}
# What API Gateway puts in of itself, of which none of our functions is told.
UNUSED_IN_HTTP = {"cookies", "stageVariables"}

HTTP_REPLIES = {
    "create_chat": (201, "chat_id"),
    "list_chats": (200, "chats"),
    "get_chat": (200, "chat_id"),
    "update_chat": (200, "title"),
    "delete_chat": (204, None),
    "list_messages": (200, "messages"),
    "send_message": (202, "run_id"),
    "get_run": (200, "finish_reason"),
    "cancel_run": (200, "status"),
    "create_ticket": (201, "ticket"),
    "get_me": (200, "tier"),
    "get_my_usage": (200, "days"),
    "delete_me": (202, "closed_at"),
    "start_export": (202, "export_id"),
    "get_export": (200, "status"),
}
FRAMES = {
    "send": ["run.started", "run.delta", "run.completed"],
    "cancel": ["run.completed"],
    "attach": ["run.started", "run.delta", "run.completed"],
    "watch": [],
    "ping": ["pong"],
    "unknown_action": ["error"],
    "no_json": ["error"],
}


def names(function: str) -> list[str]:
    return sorted(path.stem for path in (EVENTS / function).glob("*.json"))


def event(function: str, name: str) -> Any:
    return json.loads((EVENTS / function / f"{name}.json").read_text(encoding="utf-8"))


def reply_of(function: str, name: str) -> Any:
    return load_function(function).handler(event(function, name), Context())


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """One for all functions, in which the event `send` was sent and answered."""
    cloud = Cloud()
    cloud.posts.open(event("ws_message", "send")["requestContext"]["connectionId"])
    for function in FUNCTIONS:
        cloud.enter(load_function(function), monkeypatch)
    with event_loop():
        (queued,) = frames(cloud, "send")
        assert queued["type"] == "run.queued"
        cloud.complete(queued["run_id"], "What a good name.")
        asked = event("export_account", "first_file")
        cloud.export_jobs.start(asked["user_id"], asked["export_id"])
        yield cloud


def frames(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    """What the event's connection is told."""
    connection_id = event("ws_message", name)["requestContext"]["connectionId"]
    before = len(cloud.posts.frames.get(connection_id, []))
    assert reply_of("ws_message", name) == {"statusCode": 200}
    return [json.loads(frame) for frame in cloud.posts.frames[connection_id][before:]]


class TestThereIsOne:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_for_every_function(self, function: str) -> None:
        assert names(function), (
            f"tests/events/{function}/ has no event: add one, and what it does here"
        )

    def test_and_none_for_what_is_no_function(self) -> None:
        assert {path.name for path in EVENTS.iterdir()} <= set(FUNCTIONS)

    @pytest.mark.parametrize("route", sorted(ROUTES))
    def test_for_every_route(self, route: str) -> None:
        function = "http_api" if ROUTES[route] == "HttpApi" else "ws_message"
        if route == "$connect":
            function = "ws_authorizer"
        told = {event(function, name)["requestContext"]["routeKey"] for name in names(function)}
        assert route in told, f"tests/events/{function}/ has no event for {route}"

    def test_with_a_reply_that_is_known_here(self) -> None:
        assert (names("http_api"), names("ws_message")) == (sorted(HTTP_REPLIES), sorted(FRAMES))


class TestShape:
    @pytest.mark.parametrize("name", names("http_api"))
    def test_of_an_http_request(self, name: str) -> None:
        given = event("http_api", name)
        APIGatewayProxyEventV2Model.model_validate(given)
        read = APIGatewayProxyEventV2(given)
        method, _, route = given["routeKey"].partition(" ")
        assert (read.http_method, read.request_context.route_key) == (method, given["routeKey"])
        path = route
        for parameter, value in (given.get("pathParameters") or {}).items():
            path = path.replace(f"{{{parameter}}}", value)
        assert read.path == path == read.request_context.http.path
        query = given.get("queryStringParameters", {})
        assert given["rawQueryString"] == "&".join(f"{key}={query[key]}" for key in query)
        jwt = given["requestContext"]["authorizer"]["jwt"]
        assert jwt["claims"]["token_use"] == "id"
        # API Gateway tells all claims as text.
        assert all(isinstance(claim, str) for claim in jwt["claims"].values())
        length = given["headers"].get("content-length", "0")
        assert int(length) == len(given.get("body", "").encode())

    @pytest.mark.parametrize("name", names("ws_message"))
    def test_of_a_message(self, name: str) -> None:
        given = event("ws_message", name)
        read = APIGatewayWebSocketMessageEventModel.model_validate(given)
        context = given["requestContext"]
        assert {"principalId", "user_id", "tier"} <= context["authorizer"].keys()
        assert context["stage"] == "v1"
        assert isinstance(read.body, str)
        route = read.request_context.route_key
        if route != "$default":
            assert json.loads(read.body)["action"] == route

    @pytest.mark.parametrize("name", names("ws_authorizer"))
    def test_of_a_connection(self, name: str) -> None:
        given = event("ws_authorizer", name)
        APIGatewayWebSocketConnectEventModel.model_validate(given)
        read = APIGatewayAuthorizerRequestEvent(given)
        assert read.get("type") == "REQUEST"
        assert read.parsed_arn.aws_account_id == "123456789012"
        assert given["methodArn"].endswith("/v1/$connect")
        assert set(given["queryStringParameters"]) == {"ticket"}

    @pytest.mark.parametrize("name", names("compact_chat"))
    def test_of_a_compactions_step(self, name: str) -> None:
        given = event("compact_chat", name)
        assert set(given) == {"step", "asked"}
        # As the state machine's input is: all of it, and nothing else.
        assert set(given["asked"]) == set(SummaryAsked.__dataclass_fields__)

    def test_of_a_request_is_that_of_sams_own_generator(self) -> None:
        done = subprocess.run(
            [str(SAM), "local", "generate-event", "apigateway", "http-api-proxy"],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.defpath, "SAM_CLI_TELEMETRY": "0", "HOME": "/nonexistent"},
        )
        reference = json.loads(done.stdout)
        for name in names("http_api"):
            given = event("http_api", name)
            assert set(given) <= set(reference), name
            needed = set(reference) - UNUSED_IN_HTTP
            assert needed - set(given) <= {"body", "pathParameters", "queryStringParameters"}, name
            context = given["requestContext"]
            # A client certificate is only there with mutual TLS.
            assert set(context) == set(reference["requestContext"]) - {"authentication"}, name
            assert set(context["http"]) == set(reference["requestContext"]["http"]), name


class TestItsFunction:
    @pytest.mark.parametrize("name", names("http_api"))
    def test_answers_a_request(self, cloud: Cloud, name: str) -> None:
        reply = reply_of("http_api", name)
        status, field = HTTP_REPLIES[name]
        assert reply["statusCode"] == status, reply["body"]
        assert field is None or field in json.loads(reply["body"])

    @pytest.mark.parametrize("name", names("ws_message"))
    def test_tells_its_connection(self, cloud: Cloud, name: str) -> None:
        assert [frame["type"] for frame in frames(cloud, name)] == FRAMES[name]

    def test_lets_a_ticket_in_once(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        function = load_function("ws_authorizer")
        origin = event("ws_authorizer", "connect")["headers"]["Origin"]
        monkeypatch.setattr(function, "settings", replace(function.settings, web_origin=origin))
        user = User(
            event("ws_message", "ping")["requestContext"]["authorizer"]["user_id"], Tier.PLUS
        )
        issued = issue_ticket(cloud.stores.tickets, user, b"\x07" * RANDOM_BYTES, cloud.clock())
        assert event("ws_authorizer", "connect")["queryStringParameters"]["ticket"] == issued.ticket
        effects = [
            reply_of("ws_authorizer", name)["policyDocument"]["Statement"][0]["Effect"]
            for name in ("connect_with_a_forged_ticket", "connect", "connect")
        ]
        assert effects == ["Deny", "Allow", "Deny"]

    def test_takes_a_compactions_steps(self, cloud: Cloud) -> None:
        assert reply_of("compact_chat", "plan")["outcome"] == "planned"
        assert reply_of("compact_chat", "commit") == {"outcome": "outdated"}
        assert reply_of("compact_chat", "release") == {"outcome": "released"}

    def test_removes_an_account_step_by_step(self, cloud: Cloud) -> None:
        assert reply_of("purge_account", "shut") == {"state": "done"}
        told = [reply_of("purge_account", "chats")["state"] for _ in range(2)]
        assert told == ["more", "done"]
        assert reply_of("purge_account", "rest") == {"state": "done"}
        assert reply_of("purge_account", "forget")["state"] == "done"
        assert [cloud.database.chats, cloud.database.ledgers] == [{}, {}]

    def test_writes_an_export(self, cloud: Cloud) -> None:
        reply = reply_of("export_account", "first_file")
        assert reply["state"] == "done"
        assert reply["progress"]["counts"]["message"] == 2

    def test_tells_a_worker_to_leave(self, cloud: Cloud) -> None:
        worker_id = event("drain_worker", "drain")["worker_id"]
        inbox = cloud.inboxes.open(worker_id)
        cloud.stores.beats.put(Beat(worker_id, inbox, cloud.clock(), 4, 4))
        assert reply_of("drain_worker", "drain") == {"state": "leaving"}

    def test_looks_at_a_page_of_runs(self, cloud: Cloud) -> None:
        reply = reply_of("redrive_runs", "first_page")
        assert (reply["looked_at"], reply["requeued"], reply["next_id"]) == (1, 0, "")

    def test_purges_a_deleted_chat(self, cloud: Cloud) -> None:
        assert reply_of("http_api", "delete_chat")["statusCode"] == 204
        assert reply_of("purge_chat", "purge") == {"state": "more", "removed": 2}


def test_events_are_written_as_people_read_them() -> None:
    for path in EVENTS.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n", path
