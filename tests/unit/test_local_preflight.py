"""What a machine lacks is said in one line, with the remedy."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import preflight
from local.ports import Ports
from local.preflight import Interpreter, PortSpec, Unfit

GOOD = Interpreter((3, 12), "/usr/bin/python3.12", environments=True, library="/lib/libpython.so")


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def interpreters(monkeypatch: pytest.MonkeyPatch, found: dict[str, Interpreter]) -> None:
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setattr(preflight, "inspect_interpreter", found.get)


def script(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": (3, 9)}, "Python 3.9 (/usr/bin/python3.12) is too old: chatcore runs on"),
        ({"version": (3, 13)}, "is too new"),
        ({"environments": False}, "apt-get install python3.12-venv"),
        ({"library": ""}, "apt-get install libpython3.12"),
    ],
)
def test_an_unfit_interpreter_is_refused_with_the_remedy(
    change: dict[str, object], words: str
) -> None:
    with pytest.raises(Unfit) as refusal:
        preflight.check_interpreter(GOOD._replace(**change), triton=True)  # type: ignore[arg-type]
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_only_the_engine_needs_the_shared_library() -> None:
    preflight.check_interpreter(GOOD._replace(library=""), triton=False)


def test_the_newest_fitting_interpreter_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreters(
        monkeypatch,
        {
            "python3.12": GOOD._replace(path="/bare", environments=False),
            "python3.11": GOOD._replace(version=(3, 11), path="/fits"),
            "python3": GOOD._replace(version=(3, 9), path="/old"),
        },
    )
    assert preflight.choose_interpreter(triton=True) == "/fits"


def test_a_named_interpreter_is_the_only_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreters(monkeypatch, {"python3.12": GOOD, "/old": GOOD._replace(version=(3, 8))})
    monkeypatch.setenv("PYTHON", "/old")
    with pytest.raises(Unfit, match=r"Python 3\.8 .* is too old"):
        preflight.choose_interpreter(triton=False)


def test_no_interpreter_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreters(monkeypatch, {})
    with pytest.raises(Unfit, match="Python is missing"):
        preflight.choose_interpreter(triton=False)


def test_the_probe_understands_this_interpreter() -> None:
    found = preflight.inspect_interpreter(sys.executable)
    assert found is not None
    assert found.version == sys.version_info[:2]
    assert found.environments


@pytest.mark.parametrize(
    ("scripts", "words"),
    [
        ({}, "Node.js is missing"),
        ({"node": "echo v18.19.0"}, "Node.js v18.19.0 is too old"),
        ({"node": "echo v20.0.0"}, "Node.js v20.0.0 is too old"),
        ({"node": "echo v20.19.0"}, "npm is missing"),
        ({"node": "echo v24.0.0"}, "npm is missing"),
    ],
)
def test_node_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: dict[str, str], words: str
) -> None:
    for name, body in scripts.items():
        script(tmp_path, name, body)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unfit) as refusal:
        preflight.check_node()
    assert words in str(refusal.value)


@pytest.mark.enable_socket
def test_a_port_in_use_is_named_with_its_variable(listener: int) -> None:
    with pytest.raises(Unfit) as refusal:
        preflight.check_port(PortSpec("WEB_PORT", 8400, "the web page"), listener)
    assert f"Port {listener} (the web page) is in use" in str(refusal.value)
    assert "WEB_PORT=" in str(refusal.value)


@pytest.mark.enable_socket
def test_a_port_is_free_again_after_its_listener(listener: int) -> None:
    assert not preflight.is_port_free(listener)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert preflight.is_port_free(port)


@pytest.mark.parametrize("text", ["web", "0", "65536", "-1", "80 80"])
def test_a_port_must_be_a_number(text: str) -> None:
    with pytest.raises(Unfit, match=r"WEB_PORT=.* is no port"):
        preflight.port_number(preflight.PORTS[-1], {"WEB_PORT": text})


def test_ports_come_from_the_environment() -> None:
    ports = Ports.from_environment({"MINISTACK_PORT": "14566", "WEB_PORT": "18400"})
    assert (ports.ministack, ports.web, ports.triton_grpc) == (14566, 18400, 8001)
    assert ports.aws_endpoint_url == "http://localhost:14566"


def test_two_parts_may_not_share_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "is_port_free", lambda _port: True)
    monkeypatch.setenv("TRITON_GRPC_PORT", "18000")
    monkeypatch.setenv("TRITON_HTTP_PORT", "18000")
    with pytest.raises(Unfit, match="TRITON_HTTP_PORT and TRITON_GRPC_PORT are both 18000"):
        preflight.check_ports()


def test_an_unfit_machine_costs_one_line_and_no_file(tmp_path: Path) -> None:
    chosen = tmp_path / "python"
    done = subprocess.run(
        [sys.executable, preflight.__file__, str(chosen), "run"],
        env={"PYTHON": sys.executable, "PATH": str(tmp_path), "WORKERS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert not chosen.exists()


def test_an_unchanged_interpreter_keeps_its_file(tmp_path: Path) -> None:
    chosen = tmp_path / "deep" / "python"
    command = [sys.executable, preflight.__file__, str(chosen), "lock"]
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(command, env=environment, check=True)
    before = chosen.stat().st_mtime_ns
    subprocess.run(command, env=environment, check=True)
    assert chosen.read_text().strip() == sys.executable
    assert chosen.stat().st_mtime_ns == before
