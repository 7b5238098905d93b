"""Owns the screen: the reading of what is new, and the drawing of it, live or once.

Nothing on the way of a picture waits for AWS: that is read in another thread.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.live import Live

from local.endpoints import Endpoints
from local.watch.aws import Aws
from local.watch.files import WorkerLogs
from local.watch.fleet import Fleet
from local.watch.view import Picture

PICTURES_PER_S = 2
_WHOLE = 200
"""Lines that hold every part: one picture need not fit a screen."""

_SAVED_COLUMNS = 150
_SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
    font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""rich's own form of a picture, without the fonts that it would fetch from elsewhere."""


class NothingThere(Exception):
    """The stack that endpoints.json tells of does not answer: its process was killed, or just begins."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url} does not answer: start it anew with `make run`")


class Watch:
    """What is known so far. `now` reads what is new and gives the picture of it."""

    def __init__(self, endpoints: Endpoints) -> None:
        try:
            self.aws = Aws(endpoints)
        except (ClientError, BotoCoreError) as error:
            raise NothingThere(endpoints.aws_endpoint_url) from error
        self._stack_name = endpoints.stack_name
        self._logs = WorkerLogs(Path(endpoints.logs))
        self._fleet = Fleet()

    def now(self) -> Picture:
        lines = [*self._logs.lines(), *self.aws.lines()]
        for line in sorted(lines, key=lambda line: line.at_ms):
            self._fleet.take(line)
        now_ms = time.time_ns() // 1_000_000
        self._fleet.look(now_ms)
        self._fleet.adopt(self.aws.tiers, now_ms)
        return Picture(
            self._stack_name,
            self._fleet,
            self.aws.queues,
            self.aws.tiers,
            now_ms,
            self.aws.trouble,
        )


def once(endpoints: Endpoints, console: Console) -> None:
    """One picture. Raises NothingThere."""
    watch = Watch(endpoints)
    try:
        watch.aws.look()
    except (ClientError, BotoCoreError) as error:
        raise NothingThere(endpoints.aws_endpoint_url) from error
    console.print(watch.now(), height=_WHOLE)


def live(endpoints: Endpoints, endpoints_file: Path, console: Console) -> None:
    """Until what runs has ended. Raises NothingThere, KeyboardInterrupt."""
    watch = Watch(endpoints)
    with (
        watch.aws,
        Live(watch.now(), console=console, screen=True, auto_refresh=False) as screen,
    ):
        # It is there for as long as it runs.
        while endpoints_file.exists():
            screen.update(watch.now(), refresh=True)
            time.sleep(1 / PICTURES_PER_S)
    console.print("What ran has ended.", highlight=False)


def save(endpoints: Endpoints, picture: Path) -> None:
    """One picture into an SVG file. Raises NothingThere."""
    console = Console(
        record=True,
        width=_SAVED_COLUMNS,
        force_terminal=True,
        file=io.StringIO(),
    )
    once(endpoints, console)
    svg = console.export_svg(title="make watch", code_format=_SVG, unique_id="watch")
    picture.write_text(svg, encoding="utf-8")
