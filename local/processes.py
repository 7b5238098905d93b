"""Processes: long-running services with a log each, and commands that run to their end.

Owns starting, readiness, ending and logs. It must not know what the processes are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from mirakuru import Executor, HTTPExecutor
from mirakuru.base import ENV_UUID, SimpleExecutor
from mirakuru.exceptions import (
    AlreadyRunning,
    ProcessExitedWithError,
    ProcessFinishedWithError,
    TimeoutExpired,
)

_TAIL_LINES = 15


class ProcessFailure(Exception):
    """A process did not start, died or failed; the text is one line, `log` says more."""

    def __init__(self, message: str, log: Path) -> None:
        super().__init__(message)
        self.log = log


def clean_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what could lead a child elsewhere, plus `additions`.

    A newcomer's AWS_PROFILE must not reach the emulator's clients, nor this process's PYTHONPATH a
    Lambda, which has to find its code in its layers.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "SAM_")) and name != "PYTHONPATH"
    }
    return {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONUNBUFFERED": "1",
        **additions,
    }


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log; empty when there is none."""
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


class _Supervised(SimpleExecutor):
    """mirakuru's executor with the environment exactly as given and a time-out for its end."""

    def __init__(
        self,
        command: list[str],
        *,
        stop_timeout_s: float,
        **kwargs: Any,  # noqa: ANN401 - handed on to mirakuru
    ) -> None:
        super().__init__(command, **kwargs)
        self._stop_timeout_s = stop_timeout_s

    @property
    def envvars(self) -> dict[str, str]:
        return {**self._envvars, ENV_UUID: self._uuid}

    def stop(self, stop_signal: int | None = None, expected_returncode: int | None = None) -> Self:
        self._timeout = self._stop_timeout_s
        # An exit code is no news here: the process was told to end.
        with suppress(ProcessFinishedWithError):
            super().stop(stop_signal, expected_returncode)
        return self


class _HttpReady(_Supervised, HTTPExecutor):
    """Ready when its URL answers 2xx."""


class _LogReady(_Supervised, Executor):
    """Ready when a text appears in the log: a plain file, with no pipe to keep drained."""

    def __init__(
        self,
        command: list[str],
        *,
        log: Path,
        text: str,
        **kwargs: Any,  # noqa: ANN401 - handed on to mirakuru
    ) -> None:
        super().__init__(command, **kwargs)
        self._log = log
        self._text = text.encode()
        self._offset = log.stat().st_size

    def pre_start_check(self) -> bool:
        return False

    def after_start_check(self) -> bool:
        with self._log.open("rb") as written:
            written.seek(self._offset)
            return self._text in written.read()


class Service:
    """A long-running process that writes to a log of its own.

    `environment` is the whole environment of the process. Ready when `ready_url` answers 2xx or,
    without one, when the log holds `ready_text`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        log: Path,
        ready_url: str | None = None,
        ready_text: str = "",
        start_timeout_s: float = 60,
        stop_timeout_s: float = 10,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._cwd = cwd
        self._ready_url = ready_url
        self._ready_text = ready_text
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._executor: _HttpReady | _LogReady | None = None
        self._started_s = 0.0

    def start(self) -> None:
        """Start and wait until it is ready. Raises ProcessFailure; nothing is left running then."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._started_s = time.monotonic()
        with self.log.open("ab") as output:
            self._executor = self._make_executor(output)
            try:
                self._executor.start()
            except AlreadyRunning as error:
                self._executor = None
                raise self._failure(
                    "could not start: something else answers in its place"
                ) from error
            except ProcessExitedWithError as error:
                self._executor = None
                raise self._failure(f"ended at its start (exit code {error.exit_code})") from error
            except TimeoutExpired as error:
                self._executor = None
                raise self._failure(
                    f"was not ready within {self._start_timeout_s:.0f} s"
                ) from error

    def check(self) -> None:
        """Raises ProcessFailure when the process has ended by itself."""
        executor = self._executor
        if executor is None or executor.process is None:
            return
        code = executor.process.poll()
        if code is not None:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise self._failure(f"ended by itself ({how})")

    @property
    def age_s(self) -> float:
        """Since its start."""
        return time.monotonic() - self._started_s

    def stop(self) -> None:
        """Ask it to end, wait, and kill what is left after the time-out."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.stop()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """For the length of the block it does nothing at all, and neither do its children."""
        group = self.pid
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Of the process, which leads a group of its own with its children."""
        if self._executor is None or self._executor.process is None:
            raise ProcessLookupError(f"{self.name} is not running")
        return self._executor.process.pid

    def _make_executor(self, output: IO[bytes]) -> _HttpReady | _LogReady:
        wiring: dict[str, Any] = {
            "cwd": str(self._cwd),
            "envvars": self._environment,
            "stdin": subprocess.DEVNULL,
            "stdout": output,
            "stderr": subprocess.STDOUT,
            "timeout": self._start_timeout_s,
            "stop_timeout_s": self._stop_timeout_s,
        }
        if self._ready_url is not None:
            return _HttpReady(
                self._command, url=self._ready_url, method="GET", request_timeout=5, **wiring
            )
        return _LogReady(self._command, log=self.log, text=self._ready_text, **wiring)

    def _failure(self, what: str) -> ProcessFailure:
        return ProcessFailure(f"{self.name} {what}", self.log)


def run_to_end(
    name: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    log: Path,
    heard: Callable[[str], None],
) -> None:
    """Run a command to its end; each line of its output goes to the log and to `heard`.

    Raises ProcessFailure when it fails. Whatever ends this call early ends the command too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as written,
        subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                written.write(line)
                if line.strip():
                    heard(line.strip())
            code = process.wait()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
    if code != 0:
        raise ProcessFailure(f"{name} failed (exit code {code})", log)
