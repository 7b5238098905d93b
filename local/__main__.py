"""`python -m local run`, `watch`, `demo` and `web`, which `make` and the stack call.

Owns the command line, the signals and what a start says at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from local import web
from local.endpoints import Endpoints
from local.ports import Ports
from local.preflight import Unfit
from local.processes import ProcessFailure
from local.progress import Progress
from local.stack import ROOT, STEPS, LocalStack

_WATCH_PERIOD_S = 0.5
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NOTHING_RUNS = "chatcore: nothing runs here: start it with `make run`, in another terminal"
_ENDPOINTS = ROOT / ".local" / "endpoints.json"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run_parser = verbs.add_parser("run", help="start the whole cloud; Ctrl-C ends it")
    run_parser.add_argument("--workers", type=int, default=1)
    web_parser = verbs.add_parser("web", help="serve the built page")
    web_parser.add_argument("--page", type=Path, required=True)
    web_parser.add_argument("--config", type=Path, required=True)
    web_parser.add_argument("--port", type=int, required=True)
    demo_parser = verbs.add_parser("demo", help="a load on what runs, for a while")
    demo_parser.add_argument("--seconds", type=float, default=60.0)
    demo_parser.add_argument("--prompts", type=int, default=400, help="at most so many")
    demo_parser.add_argument("--guests", type=int, default=16)
    watch_parser = verbs.add_parser("watch", help="what the fleet does, live; Ctrl-C ends it")
    watch_parser.add_argument("--once", action="store_true", help="one picture")
    watch_parser.add_argument("--save", type=Path, help="one picture, into this SVG file")
    watch_parser.add_argument("--endpoints", type=Path, default=_ENDPOINTS)
    chosen = parser.parse_args(arguments)
    if chosen.verb == "watch":
        return look(chosen.endpoints, chosen.once, chosen.save)
    if chosen.verb == "demo":
        return play(chosen.seconds, chosen.prompts, chosen.guests)
    if chosen.verb == "web":
        web.serve(chosen.page, json.loads(chosen.config.read_text()), chosen.port)
        return 0
    return run(chosen.workers)


def run(workers: int) -> int:
    """Start everything, stay until a signal or a failure, end everything."""
    console = Console()
    # A closed terminal and a `kill` end it as Ctrl-C does, also one started in the background.
    for number in _ENDING_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        ports = Ports.from_environment(os.environ)
        with LocalStack("run", ports, Progress(console, STEPS), workers=workers) as stack:
            try:
                stack.endpoints.write(_ENDPOINTS)
                console.print(_summary(stack.endpoints, stack.logs), highlight=False, markup=False)
                _watch(stack)
            finally:
                _ENDPOINTS.unlink(missing_ok=True)
    except KeyboardInterrupt:
        console.print("Ended. The chats are kept for the next start.", highlight=False)
        return 0
    except Unfit as unfit:
        print(f"chatcore: {unfit}", file=sys.stderr)
        return 1
    except ProcessFailure:
        # The stack has said it, before it ended the rest.
        return 1


def look(endpoints_file: Path, once: bool, picture: Path | None) -> int:
    """The operator's view of what runs; returns the exit code."""
    # Here, because the page's server is started without the layers on its path.
    from local.watch import screen

    endpoints = Endpoints.read(endpoints_file)
    if endpoints is None:
        print(_NOTHING_RUNS, file=sys.stderr)
        return 1
    console = Console()
    try:
        if picture is not None:
            screen.save(endpoints, picture)
        elif once or not console.is_terminal:
            screen.once(endpoints, console)
        else:
            screen.live(endpoints, endpoints_file, console)
    except KeyboardInterrupt:
        return 0
    except screen.NothingThere as error:
        print(f"chatcore: {error}", file=sys.stderr)
        return 1
    return 0


def play(duration_s: float, prompts: int, guests: int) -> int:
    """The demo's load on what runs; returns the exit code."""
    from chat.api import Problem
    from local import demo

    endpoints = Endpoints.read(_ENDPOINTS)
    if endpoints is None:
        print(_NOTHING_RUNS, file=sys.stderr)
        return 1
    try:
        demo.run(endpoints, Console(), duration_s=duration_s, prompts=prompts, crowd=guests)
    except KeyboardInterrupt:
        print("Ended. Its chats and guests are gone.")
    except (Unfit, Problem) as problem:
        print(f"chatcore: {problem}", file=sys.stderr)
        return 1
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    # A second Ctrl-C must not cut short what saves the chats.
    for number in _ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _watch(stack: LocalStack) -> NoReturn:
    while True:
        stack.check()
        time.sleep(_WATCH_PERIOD_S)


def _summary(endpoints: Endpoints, logs: Path) -> str:
    accounts = "\n".join(f"  {account.tier:<5} {account.email}" for account in endpoints.accounts)
    return (
        f"\nchatcore is running: {endpoints.web_url}\n\n"
        f"Sign in with the password {endpoints.accounts[0].password} as\n{accounts}\n\n"
        f"Logs: {logs.relative_to(ROOT)}/   For programs: {_ENDPOINTS.relative_to(ROOT)}\n"
        "Ctrl-C ends everything and keeps the chats.\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
