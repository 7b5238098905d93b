"""`make watch` and `make demo` beside nothing, and the demo away from this machine."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from local import demo
from local.__main__ import look
from local.accounts import ACCOUNTS
from local.endpoints import Endpoints
from local.preflight import Unfit

ROOT = Path(__file__).parents[3]
ENDPOINTS = Endpoints(
    http_url="http://localhost:4566/_aws/execute-api/abc/$default",
    ws_url="ws://localhost:4566/_aws/execute-api/def/v1",
    web_url="http://localhost:8400",
    aws_endpoint_url="http://localhost:4566",
    region="us-east-1",
    user_pool_client_id="client",
    accounts=ACCOUNTS,
    stack_name="chatcore-run",
    triton_grpc_url="localhost:8001",
    logs="/logs",
)


def test_endpoints_are_read_as_they_were_written(tmp_path: Path) -> None:
    ENDPOINTS.write(tmp_path / "endpoints.json")
    assert Endpoints.read(tmp_path / "endpoints.json") == ENDPOINTS


def test_where_nothing_runs_one_sentence_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert look(tmp_path / "endpoints.json", once=False, picture=None) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert "make run" in said


@pytest.mark.parametrize("name", ["http_url", "ws_url", "aws_endpoint_url"])
def test_the_demo_speaks_to_this_machine_only(name: str) -> None:
    far = Endpoints(**{**vars(ENDPOINTS), name: "https://api.example.com/v1"})
    with pytest.raises(Unfit, match="not on this machine"):
        demo.run(far, Console(), duration_s=1, prompts=1, crowd=1)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machine_has_three_names(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reached(Exception):
        pass

    def guests(*_: object) -> None:
        raise Reached

    monkeypatch.setattr(demo, "_guests", guests)
    here = replace(
        ENDPOINTS,
        http_url=f"http://{host}:4566/api",
        ws_url=f"ws://{host}:4566/v1",
        aws_endpoint_url=f"http://{host}:4566",
    )
    with pytest.raises(Reached):
        demo.run(here, Console(), duration_s=1, prompts=1, crowd=1)


def test_the_pages_server_starts_without_the_layers_on_its_path() -> None:
    command = [sys.executable, "-m", "local", "web", "--help"]
    subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=True, capture_output=True
    )
