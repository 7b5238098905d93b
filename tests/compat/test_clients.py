"""Clients of one release beside functions and workers of another: pages stay open over an upgrade."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from chat import wire
from chat.transcript import Transcript
from chatcore.domain.errors import Refusal
from chatcore.protocol import websocket as ws
from tests.compat.former import COMMIT, ROOT, NoFormerRelease, asyncapi, check_out, examples

Frame = dict[str, Any]

TEXT = "My dog is called Biscuit."
IDS = {"run_id": "run-1", "chat_id": "chat-1", "message_id": "message-1"}
# Words that a client shows or passes over: a later release may have others.
OPEN_WORDS = {"reason", "code", "finish_reason"}


def conversation(document: dict[str, Any]) -> list[Frame]:
    """A run that is paused, goes on with another worker, and ends; told as that release tells it."""
    told = examples(document, "type")

    def frame(kind: str, **fields: Any) -> Frame:
        ids = {name: value for name, value in IDS.items() if name in told[kind]}
        return {**told[kind], **ids, **fields}

    return [
        frame("run.queued", epoch=0),
        frame("run.started", epoch=1, offset=0),
        frame("run.delta", epoch=1, offset=0, text=TEXT[:9]),
        frame("run.delta", epoch=1, offset=9, text=TEXT[9:15]),
        frame("run.queued", epoch=1, reason="resuming"),
        frame("run.started", epoch=2, offset=9),
        frame("run.rewound", epoch=2, offset=9),
        frame("run.delta", epoch=2, offset=9, text=TEXT[9:]),
        frame("run.completed", epoch=2, length=len(TEXT)),
    ]


def of_a_later_release(frames: list[Frame]) -> list[Frame]:
    """The same with what nobody knows yet: fields, frames, and words."""
    words = dict.fromkeys(OPEN_WORDS, "unheard_of")
    changed = [
        {**frame, **{k: v for k, v in words.items() if k in frame}, "v": 2, "parts": [{"n": 1}]}
        for frame in frames
    ]
    thought = {"type": "run.thinking", **IDS, "epoch": 1, "text": "Hm."}
    return [thought, *changed[:3], thought, {"type": "notice"}, *changed[3:]]


def _show(release: Path, folder: Path, conversations: dict[str, list[Frame]]) -> None:
    """Have that release's protocol client hear them."""
    web = folder / "web"
    for part in ("src", "tests", "package.json", "vite.config.ts", "tsconfig.json"):
        source = release / "web" / part
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        web.mkdir(exist_ok=True)
        copy(source, web / part)
    (web / "node_modules").symlink_to(ROOT / "web" / "node_modules")
    shutil.copy2(Path(__file__).with_name("frames.test.ts"), web / "tests")
    told = folder / "conversations.json"
    told.write_text(
        json.dumps(
            [
                {"name": name, "frames": frames, "run_id": IDS["run_id"], "text": TEXT}
                for name, frames in conversations.items()
            ]
        )
    )
    done = subprocess.run(
        [str(web / "node_modules" / ".bin" / "vitest"), "run", "tests/frames.test.ts"],
        cwd=web,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CONVERSATIONS": str(told), "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(conversations)} passed" in done.stdout, done.stdout


def test_the_former_releases_client_shows_what_is_told_now(former: Path, tmp_path: Path) -> None:
    ours = conversation(asyncapi(ROOT))
    _show(former, tmp_path, {"told now": ours, "told later": of_a_later_release(ours)})


def test_our_client_shows_what_the_former_release_tells(former: Path, tmp_path: Path) -> None:
    """After a step back of the functions and the workers, under pages that are open."""
    ours, theirs = conversation(asyncapi(ROOT)), conversation(asyncapi(former))
    _show(ROOT, tmp_path, {"told before": theirs, "told later": of_a_later_release(ours)})


def test_the_terminal_shows_what_either_release_tells_and_passes_over_what_is_later(
    former: Path,
) -> None:
    for release in (former, ROOT):
        told = conversation(asyncapi(release))
        for frames in (told, of_a_later_release(told)):
            run = Transcript(IDS["run_id"])
            for each in frames:
                known = wire.read(json.dumps(each))
                assert known is None or run.apply(known) is None, each
            assert (run.text, run.status) == (TEXT, "completed")


def test_what_is_told_now_is_what_the_former_release_described(former: Path) -> None:
    before = asyncapi(former)
    schemas = before["components"]["schemas"]
    for schema in schemas.values():
        for name in OPEN_WORDS & schema["properties"].keys():
            schema["properties"][name].pop("enum", None)
    by_type = {
        schema["properties"]["type"]["enum"][0]: name
        for name, schema in schemas.items()
        if "type" in schema["properties"]
    }
    ours = [*examples(asyncapi(ROOT), "type").values(), *conversation(asyncapi(ROOT))]
    assert by_type.keys() <= {frame["type"] for frame in ours}
    for frame in ours:
        if frame["type"] not in by_type:
            continue
        reference = f"#/components/schemas/{by_type[frame['type']]}"
        validator = Draft202012Validator({"$ref": reference, "components": before["components"]})
        error = best_match(validator.iter_errors(frame))
        assert error is None, f"{error.message} in {frame}"


def test_what_the_former_releases_client_says_is_understood(former: Path) -> None:
    before = asyncapi(former)
    said = examples(before, "action")
    assert said
    schemas = before["components"]["schemas"].values()
    needed = {
        schema["properties"]["action"]["enum"][0]: schema["required"]
        for schema in schemas
        if "action" in schema["properties"]
    }
    for name, action in said.items():
        least = {field: action[field] for field in needed[name]}
        for frame in (action, least, {**action, "v": 2, "parts": []}):
            assert not isinstance(ws.decode(json.dumps(frame)), Refusal), frame


def _schemas(release: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    document = json.loads((release / "docs" / "openapi.json").read_text())
    return document["paths"], document["components"]["schemas"]


def test_the_http_api_takes_and_gives_all_that_it_did(former: Path) -> None:
    old_paths, old_schemas = _schemas(former)
    paths, schemas = _schemas(ROOT)
    for path, operations in old_paths.items():
        assert operations.keys() <= paths[path].keys(), path
        for method, operation in operations.items():
            now = paths[path][method]
            assert operation["responses"].keys() <= now["responses"].keys(), (method, path)
            needed = {each["name"] for each in now.get("parameters", []) if each.get("required")}
            known = {each["name"] for each in operation.get("parameters", [])}
            assert needed <= known, (method, path)
    for name, schema in old_schemas.items():
        now = schemas[name]
        assert schema.get("properties", {}).keys() <= now.get("properties", {}).keys(), name
        if name.startswith(("New", "ChatChanges")):
            # A body that a former page sends must still be enough.
            assert set(now.get("required", [])) <= set(schema.get("required", [])), name
        else:
            assert set(schema.get("required", [])) <= set(now.get("required", [])), name


def test_a_history_without_the_former_release_says_so(tmp_path: Path) -> None:
    unknown = "0" * len(COMMIT)
    with pytest.raises(NoFormerRelease, match="clone it whole"):
        check_out(tmp_path, unknown)
