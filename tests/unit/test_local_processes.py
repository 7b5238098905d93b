"""Services are ready when they say so, and nothing of them is left behind."""

import os
import sys
import time
from pathlib import Path

import pytest

from local.processes import ProcessFailure, Service, clean_environment, run_to_end, tail

TALKS = 'import time; print(\'{"message":"worker.ready"}\', flush=True); time.sleep(60)'


def service(tmp_path: Path, code: str, start_timeout_s: float = 10) -> Service:
    return Service(
        "worker-1",
        [sys.executable, "-c", code],
        environment=clean_environment({}),
        cwd=tmp_path,
        log=tmp_path / "worker-1.log",
        ready_text="worker.ready",
        start_timeout_s=start_timeout_s,
    )


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_is_ready_when_its_log_says_so(tmp_path: Path) -> None:
    (tmp_path / "worker-1.log").write_text("an earlier worker.ready\n")
    started = service(
        tmp_path,
        "import os, time; time.sleep(0.3); print('worker.ready', os.getpid(), flush=True);"
        "time.sleep(60)",
    )
    begun = time.monotonic()
    started.start()
    try:
        assert time.monotonic() - begun >= 0.3
        started.check()
        pid = int(tail(tmp_path / "worker-1.log").split()[-1])
    finally:
        started.stop()
    assert not is_alive(pid)


def test_a_process_that_fails_at_its_start_is_named(tmp_path: Path) -> None:
    failing = service(tmp_path, "print('no such table'); raise SystemExit(3)")
    with pytest.raises(ProcessFailure, match=r"worker-1 ended at its start \(exit code 3\)") as it:
        failing.start()
    assert tail(it.value.log) == "no such table"


def test_a_process_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    silent = service(
        tmp_path,
        "import os, time; print(os.getpid(), flush=True); time.sleep(60)",
        start_timeout_s=0.5,
    )
    with pytest.raises(ProcessFailure, match="was not ready within"):
        silent.start()
    assert not is_alive(int(tail(silent.log)))


def test_a_death_is_noticed(tmp_path: Path) -> None:
    dying = service(tmp_path, "print('worker.ready', flush=True)")
    dying.start()
    time.sleep(0.5)
    with pytest.raises(ProcessFailure, match=r"worker-1 ended by itself \(exit code 0\)"):
        dying.check()
    dying.stop()


def test_a_stopped_or_killed_service_is_not_a_dead_one(tmp_path: Path) -> None:
    first, second = service(tmp_path, TALKS), service(tmp_path, TALKS)
    first.start()
    second.start()
    first.stop()
    second.kill()
    first.check()
    second.check()


def test_children_get_nothing_that_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("SAM_CLI_CONTAINER_HOST", "elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = clean_environment({"AWS_DEFAULT_REGION": "us-east-1"})
    assert "AWS_PROFILE" not in environment
    assert "SAM_CLI_CONTAINER_HOST" not in environment
    assert "PYTHONPATH" not in environment
    assert environment["AWS_DEFAULT_REGION"] == "us-east-1"


def test_a_command_is_heard_and_logged(tmp_path: Path) -> None:
    heard: list[str] = []
    log = tmp_path / "logs" / "sam-build.log"
    command = [sys.executable, "-c", "print('one'); print(); print('two')"]
    run_to_end(
        "sam build", command, environment=os.environ, cwd=tmp_path, log=log, heard=heard.append
    )
    assert heard == ["one", "two"]
    assert log.read_text() == "one\n\ntwo\n"


def test_a_failed_command_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit(2)"]
    with pytest.raises(ProcessFailure, match=r"sam build failed \(exit code 2\)"):
        run_to_end(
            "sam build",
            command,
            environment=os.environ,
            cwd=tmp_path,
            log=tmp_path / "log",
            heard=lambda _line: None,
        )


def test_an_interrupted_command_is_ended(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        run_to_end(
            "sam build",
            [sys.executable, "-c", code],
            environment=os.environ,
            cwd=tmp_path,
            log=tmp_path / "log",
            heard=interrupt,
        )
    assert not is_alive(pids[0])
