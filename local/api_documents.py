"""Writes the descriptions of the two APIs: docs/openapi.json and docs/asyncapi.yaml.

Owns how the HTTP Lambda's own description becomes a document, and the check that both files are the
code's. It must not say anything about the APIs that the code does not: run as

    python -m local.api_documents [--check]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from local import asyncapi_document

ROOT = Path(__file__).resolve().parent.parent
_HTTP_API = ROOT / "functions" / "http_api" / "app.py"
_TABLES = (
    "chats",
    "messages",
    "runs",
    "checkpoints",
    "ledgers",
    "usage",
    "tickets",
    "calendars",
    "workers",
)
_MACHINES = "arn:aws:states:us-east-1:000000000000:stateMachine"

# What the function reads when it is imported. Nothing is called, so nothing of it has to exist.
_ENVIRONMENT = {
    **{f"{name.upper()}_TABLE": name for name in _TABLES},
    "LANE_BASE_URL": "https://queues.invalid/lane",
    "INBOX_BASE_URL": "https://queues.invalid/inbox",
    "CALLBACK_URL": "https://api.example.com/v1",
    "TIERS_PARAMETER": "/stack/tiers",
    "PURGE_STATE_MACHINE_ARN": f"{_MACHINES}:purge",
    "PURGE_ACCOUNT_STATE_MACHINE_ARN": f"{_MACHINES}:purge-account",
    "EXPORT_STATE_MACHINE_ARN": f"{_MACHINES}:export",
    "EXPORTS_BUCKET": "exports",
    "POWERTOOLS_SERVICE_NAME": "http_api",
    "AWS_DEFAULT_REGION": "us-east-1",
    # Found at once; else the SDK would look for credentials on the network.
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def openapi() -> str:
    """The OpenAPI document of the HTTP API, as JSON text."""
    document = _http_api_app().openapi()
    for methods in document["paths"].values():
        for operation in methods.values():
            _describe(operation)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def documents() -> dict[Path, str]:
    """Every generated file with the text that it should have."""
    docs = ROOT / "docs"
    return {docs / "openapi.json": openapi(), docs / "asyncapi.yaml": asyncapi_document.text()}


def drift(expected: dict[Path, str]) -> list[Path]:
    """The files that are missing or not as the code says."""
    return [
        path
        for path, text in expected.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 1 where --check finds a file that is not the code's."""
    parser = argparse.ArgumentParser(prog="python -m local.api_documents")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args(arguments).check
    expected = documents()
    different = drift(expected)
    names = ", ".join(str(path.relative_to(ROOT)) for path in different)
    if check and different:
        print(
            f"chatcore: {names} differ from the code: run python -m local.api_documents",
            file=sys.stderr,
        )
        return 1
    for path in different:
        path.write_text(expected[path], encoding="utf-8")
    if different:
        print(f"Wrote {names}")
    return 0


def _describe(operation: dict[str, Any]) -> None:
    """Say what FastAPI cannot: the media type of problems, and words for what went well."""
    operation["summary"] = operation["operationId"].replace("_", " ").capitalize()
    for status, response in operation["responses"].items():
        if status == "default":
            (schema,) = response["content"].values()
            response["content"] = {"application/problem+json": schema}
        elif response["description"] == "Successful Response":
            response["description"] = HTTPStatus(int(status)).phrase


def _http_api_app() -> Any:  # noqa: ANN401 - the FastAPI application of a module loaded by path
    spec = importlib.util.spec_from_file_location("chatcore_http_api", _HTTP_API)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(_HTTP_API)
    module = importlib.util.module_from_spec(spec)
    with _environment(_ENVIRONMENT):
        spec.loader.exec_module(module)
    return module.app


@contextmanager
def _environment(additions: dict[str, str]) -> Iterator[None]:
    former = dict(os.environ)
    os.environ.update(additions)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
