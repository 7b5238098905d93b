"""The descriptions of the two APIs are what the code does: generated, valid, and true of each frame."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from openapi_spec_validator import validate

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.run import FinishReason, Run, Status, Usage
from chatcore.domain.stream import Delta
from chatcore.domain.tiers import Tier
from chatcore.domain.waiting import Reason, Wait
from chatcore.protocol import websocket as ws
from deploy.template import of_type
from local import api_documents, asyncapi_document
from tests import asyncapi

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text(encoding="utf-8")


class TestGeneratedDocuments:
    def test_they_are_what_the_code_says(self) -> None:
        # In a process of its own: it imports the HTTP function with settings of its own.
        done = subprocess.run(
            [sys.executable, "-m", "local.api_documents", "--check"],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'chatcore'}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def test_a_difference_is_told_in_one_line_with_its_remedy(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        openapi_path, asyncapi_path = DOCS / "openapi.json", DOCS / "asyncapi.yaml"
        changed = {
            openapi_path: "another",
            asyncapi_path: asyncapi_path.read_text(encoding="utf-8"),
        }
        monkeypatch.setattr(api_documents, "documents", lambda: changed)
        assert api_documents.main(["--check"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "docs/openapi.json" in line
        assert "asyncapi" not in line
        assert "run python -m local.api_documents" in line

    def test_a_missing_file_is_a_difference(self, tmp_path: Path) -> None:
        assert api_documents.drift({tmp_path / "openapi.json": ""}) == [tmp_path / "openapi.json"]


@cache
def openapi() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    return loaded


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


class TestOpenApi:
    def test_it_is_valid(self) -> None:
        validate(openapi())

    def test_its_paths_are_the_routes_of_the_template(self) -> None:
        routes = {
            body["Properties"]["RouteKey"] for body in of_type("AWS::ApiGatewayV2::Route").values()
        }
        assert {name for name, _ in operations()} == {key for key in routes if "/" in key}

    def test_operations_have_names_of_their_own(self) -> None:
        names = [operation["operationId"] for _, operation in operations()]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-z_]+", name) for name in names)

    def test_every_operation_wants_an_id_token(self) -> None:
        assert all(operation["security"] == [{"id_token": []}] for _, operation in operations())
        (scheme,) = openapi()["components"]["securitySchemes"].values()
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")

    def test_problems_are_problem_documents(self) -> None:
        for name, operation in operations():
            content = operation["responses"]["default"]["content"]
            assert list(content) == ["application/problem+json"], name

    @pytest.mark.parametrize(
        ("name", "statuses"),
        [
            ("POST /chats", {"201"}),
            ("GET /chats", {"200"}),
            ("DELETE /chats/{chat_id}", {"204"}),
            ("POST /chats/{chat_id}/messages", {"200", "202"}),
            ("POST /runs/{run_id}/cancel", {"200", "202"}),
            ("POST /tickets", {"201"}),
            ("GET /me", {"200"}),
        ],
    )
    def test_it_tells_every_status_of_success(self, name: str, statuses: set[str]) -> None:
        assert set(dict(operations())[name]["responses"]) == {*statuses, "default"}

    def test_no_query_leaves_its_parameters_unexplained(self) -> None:
        asked = [
            parameter
            for _, operation in operations()
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "query"
        ]
        assert {parameter["name"] for parameter in asked} == {"limit", "cursor", "days"}
        assert all(parameter["description"] for parameter in asked)


RUN = Run(
    run_id="r_run",
    user_id="user",
    chat_id="c_chat",
    tier=Tier.FREE,
    message_id="message-1",
    message_seq=1,
    digest="",
    created_ms=0,
    epoch=1,
)


def ended_runs() -> Iterator[Run]:
    usage = Usage(input_tokens=3, cached_tokens=1, output_tokens=2)
    for length in (0, 7):
        for reason in (FinishReason.STOP, FinishReason.LENGTH, None):
            yield replace(
                RUN, status=Status.COMPLETED, length=length, usage=usage, finish_reason=reason
            )
        for failure in (*ws.FAILURE_WORDS, None):
            yield replace(RUN, status=Status.FAILED, length=length, failure=failure, usage=usage)
        for counted in (usage, None):
            yield replace(RUN, status=Status.CANCELLED, length=length, usage=counted)


def events() -> list[ws.Event]:
    """Every event that the code can make, in all its shapes."""
    refusals = [
        Refusal(code, "Why.", ref=ref, retry_at_ms=retry_at_ms)
        for code in Code
        for ref, retry_at_ms in (("message-1", 1_700_000_000_123), (None, None))
    ]
    return [
        *(ws.queued_for(RUN, Wait(reason)) for reason in Reason),
        ws.queued_for(RUN, Wait(Reason.BUSY, 12, 8.5)),
        ws.started_for(RUN, 0),
        ws.delta_for(RUN, Delta(0, "text 🦜")),
        ws.RunRewound(run_id=RUN.run_id, epoch=2, offset=0),
        *map(ws.ended_for, ended_runs()),
        *map(ws.error_for, refusals),
        ws.Pong(),
    ]


def frame_of(event: ws.Event) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(ws.encode(event))
    return loaded


class TestAsyncApi:
    def test_every_event_is_as_described(self) -> None:
        assert {type(event) for event in events()} == set(get_args(ws.Event))
        for event in events():
            asyncapi.validate_event(frame_of(event))

    def test_events_and_actions_are_all_there_are(self) -> None:
        assert asyncapi.schema_names("type").keys() == {
            kind.__struct_config__.tag for kind in get_args(ws.Event)
        }
        assert asyncapi.schema_names("action").keys() == {
            kind.__struct_config__.tag for kind in get_args(ws.Action)
        }

    def test_a_frame_that_is_not_described_is_noticed(self) -> None:
        good = frame_of(ws.delta_for(RUN, Delta(0, "text")))
        spoilt: list[dict[str, Any]] = [
            {**good, "type": "run.unheard"},
            {**good, "offset": "0"},
            {**good, "offset": -1},
            {**good, "more": 1},
            {key: value for key, value in good.items() if key != "epoch"},
            {**frame_of(ws.error_for(Refusal(Code.BUSY, "Why."))), "code": "unheard"},
        ]
        for frame in spoilt:
            with pytest.raises(AssertionError):
                asyncapi.validate_event(frame)

    def test_examples_are_frames_of_the_protocol(self) -> None:
        messages = asyncapi.document()["components"]["messages"]
        frames = [message["examples"][0]["payload"] for message in messages.values()]
        actions = [frame for frame in frames if "action" in frame]
        for frame in actions:
            asyncapi.validate_action(frame)
            assert ws.decode(json.dumps(frame)) in asyncapi_document.ACTION_EXAMPLES
        for frame in frames:
            if frame not in actions:
                asyncapi.validate_event(frame)
        assert len(actions) == len(get_args(ws.Action))

    @pytest.mark.parametrize(
        "frame",
        [
            {"action": "send", "message_id": "message-1"},
            {"action": "send", "message_id": "short", "text": "a"},
            {"action": "send", "message_id": "message 1", "text": "a"},
            {"action": "send", "message_id": "message-1", "text": 1},
            {"action": "send", "message_id": "message-1", "text": "a", "chat_id": 1},
            {"action": "attach", "run_id": "r_run", "offset": -1},
            {"action": "attach", "run_id": "r_run", "offset": ws.MAX_OFFSET + 1},
            {"action": "attach", "run_id": "r_run", "epoch": -1},
            {"action": "attach", "run_id": 1},
            {"action": "cancel"},
        ],
    )
    def test_what_the_document_refuses_the_code_refuses(self, frame: dict[str, Any]) -> None:
        with pytest.raises(AssertionError):
            asyncapi.validate_action(frame)
        assert isinstance(ws.decode(json.dumps(frame)), Refusal)

    @pytest.mark.parametrize(
        "frame",
        [
            {"action": "send", "message_id": "message-1", "text": "a"},
            {"action": "send", "message_id": "m" * 64, "text": "🦜", "chat_id": None},
            {"action": "send", "message_id": "12345678", "text": "a", "chat_id": "c_chat"},
            {"action": "attach", "run_id": "r_run"},
            {"action": "attach", "run_id": "r_run", "offset": ws.MAX_OFFSET, "epoch": 9},
            {"action": "cancel", "run_id": "r_run"},
            {"action": "ping"},
        ],
    )
    def test_what_the_document_allows_the_code_takes(self, frame: dict[str, Any]) -> None:
        asyncapi.validate_action(frame)
        assert not isinstance(ws.decode(json.dumps(frame)), Refusal)

    def test_the_protocols_example_is_of_described_frames(self) -> None:
        lines = re.findall(r"^([→←]) (\{.*\})$", PROTOCOL, re.MULTILINE)
        assert len(lines) > 5
        for direction, line in lines:
            frame = json.loads(line)
            (asyncapi.validate_action if direction == "→" else asyncapi.validate_event)(frame)

    def test_the_protocols_tables_name_every_frame_and_field(self) -> None:
        for kind in (*get_args(ws.Action), *get_args(ws.Event)):
            assert f"| `{kind.__struct_config__.tag}` |" in PROTOCOL
            assert set(kind.__struct_fields__) <= set(re.findall(r"`([^`\n]+)`", PROTOCOL))
