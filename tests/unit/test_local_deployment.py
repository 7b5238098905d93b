"""When a build is due, and where the deployed APIs are on this machine."""

from pathlib import Path

import pytest

from local.deployment import LocalUrls, fingerprint


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "template.yaml").write_text("Resources: {}")
    (tmp_path / "samconfig.toml").write_text("version = 0.1")
    for folder in ("functions/http_api", "layers/chatcore/chatcore", "operations", "statemachines"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "functions/http_api/app.py").write_text("handler = None")
    return tmp_path


def test_urls_are_reached_by_path() -> None:
    outputs = {
        "HttpUrl": "https://abc123.execute-api.us-east-1.amazonaws.com",
        "WsUrl": "wss://def456.execute-api.us-east-1.amazonaws.com/v1",
    }
    urls = LocalUrls.from_outputs(outputs, "http://localhost:4566")
    assert urls.http_url == "http://localhost:4566/_aws/execute-api/abc123/$default"
    assert urls.ws_url == "ws://localhost:4566/_aws/execute-api/def456/v1"
    assert urls.callback_url == "http://localhost:4566/_aws/execute-api/def456/v1"


def test_the_same_tree_has_the_same_fingerprint(tree: Path) -> None:
    before = fingerprint(tree, {"LogLevel": "INFO"})
    # What running the code leaves behind is no change of it.
    cache = tree / "functions/http_api/__pycache__"
    cache.mkdir()
    (cache / "app.cpython-311.pyc").write_bytes(b"\0")
    assert fingerprint(tree, {"LogLevel": "INFO"}) == before


@pytest.mark.parametrize(
    "path",
    [
        "template.yaml",
        "operations/template.yaml",
        "functions/http_api/app.py",
        "layers/chatcore/chatcore/new.py",
        "statemachines/purge.asl.yaml",
    ],
)
def test_every_source_counts(tree: Path, path: str) -> None:
    before = fingerprint(tree, {})
    (tree / path).write_text("changed")
    assert fingerprint(tree, {}) != before


def test_parameters_count(tree: Path) -> None:
    assert fingerprint(tree, {"LogLevel": "INFO"}) != fingerprint(tree, {"LogLevel": "DEBUG"})
