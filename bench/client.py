"""`make bench-client`: what the page weighs, how soon one can type, what its pacer makes of frames, and how
its protocol client gets through a reconnect storm (`bench.storm`).

A suite is one of these; each plays, shows and judges.

Page: the built page by its own server, on loopback, in a fresh browser profile each time, with a CPU four
times slower (by the DevTools protocol). Interactive is when the sign-in form is there and takes what is
typed. Weight is of all that a first load asks for, each file by gzip.

Pacer: the page's own, built and run by Node on a virtual clock at sixty pictures a second, fed with the
frames of bench-stream: the product's Broadcast over played posts. Quality is that of `bench.reading`, of
what is seen, beside a frame for each token, unlimited and unpaced, on the same answers. A pause is what
lies between two moments at which an answer's visible text grew.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Browser, Request, expect, sync_playwright
from rich.console import Console
from rich.table import Table

from bench import cloud, node, storm, trace
from bench.cloud import PORTS
from bench.reading import read
from bench.report import Figure, Goal, at_least, at_most, finish, percentile, reported
from bench.stream import READING_TOKENS_PER_S, Answer, Sent, drawn_answers, ours, token_by_token
from local import web
from local.preflight import find_chromium
from local.stack import ROOT

LOADS = 5
FULL_LOADS = 20
THROTTLE = 4
QUICK_ANSWERS = 400
FASTER_TOKENS_PER_S = 30.0

CONFIG = {
    "http_url": "http://127.0.0.1:1",
    "ws_url": "ws://127.0.0.1:1",
    "cognito_url": "http://127.0.0.1:1",
    "user_pool_client_id": "bench",
    "region": "us-east-1",
}
"""Nobody signs in here, so nobody is asked."""
WATCH = """
window.formAt = null;
new MutationObserver(() => {
  const form = document.getElementById("sign-in-view");
  if (form && !form.hidden && window.formAt === null) window.formAt = performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


@dataclass(frozen=True)
class Load:
    """gzip_bytes: of all files asked for; interactive_ms: from the start of the navigation."""

    gzip_bytes: int
    interactive_ms: float


def load_page(browser: Browser) -> Load:
    with browser.new_context(viewport={"width": 1200, "height": 800}) as context:
        page = context.new_page()
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": THROTTLE})
        page.add_init_script(WATCH)
        bodies: list[bytes] = []

        def keep(request: Request) -> None:
            response = request.response()
            if response is not None:
                bodies.append(response.body())

        page.on("requestfinished", keep)
        page.goto(PORTS.web_url, wait_until="networkidle")
        page.keyboard.type("a@b")
        expect(page.get_by_test_id("email")).to_have_value("a@b")
        at_ms: float = page.evaluate("window.formAt")
        return Load(sum(len(gzip.compress(body)) for body in bodies), at_ms)


def load_pages(loads: int) -> list[Load]:
    path = find_chromium()
    if path is None:
        raise SystemExit("chatcore: no Chromium: install one, or name it in CHROMIUM")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(CONFIG))
        server = web.service(ROOT, config, PORTS.web, Path(folder) / "web.log")
        server.start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
                return [load_page(browser) for _ in range(loads)]
        finally:
            server.stop()


def show_loads(console: Console, loads: Sequence[Load]) -> None:
    times_ms = ", ".join(f"{load.interactive_ms:.0f}" for load in loads)
    console.print(f"One can type after ms: {times_ms}", highlight=False)


def load_figures(loads: Sequence[Load]) -> dict[str, Figure]:
    return {
        "loads": len(loads),
        "interactive_ms": [round(load.interactive_ms) for load in loads],
    }


def load_goals(loads: Sequence[Load]) -> dict[str, Goal]:
    return {
        "page_gzip_kb": at_most(max(load.gzip_bytes for load in loads) / 1000, 150),
        "interactive_most_ms": at_most(max(load.interactive_ms for load in loads), 1000),
    }


def paced(arrived_ms: Sequence[Sequence[float]]) -> list[list[float]]:
    """When a reader sees each token of each answer, by the page's pacer."""
    seen_ms: list[list[float]] = node.run("pacer", arrived_ms)
    return seen_ms


@dataclass(frozen=True)
class Seen:
    """All answers as one way of showing them: quality by reading speed, longest pause of each answer."""

    quality: dict[float, float]
    pauses_ms: list[float]

    def longest_ms(self) -> list[float]:
        """The 50th and 99th percentile of the longest pauses, and the longest of all."""
        return [percentile(self.pauses_ms, percent) for percent in (50, 99, 100)]


def look_at(answers: Sequence[Answer], seen_ms: Sequence[Sequence[float]]) -> Seen:
    quality = {
        speed: statistics.fmean(
            read([at_ms / 1000 for at_ms in moments], answer.made_s[0], speed).quality
            for answer, moments in zip(answers, seen_ms, strict=True)
        )
        for speed in (READING_TOKENS_PER_S, FASTER_TOKENS_PER_S)
    }
    return Seen(quality, [longest_pause(moments) for moments in seen_ms])


def in_ms(sent: Sent) -> list[float]:
    return [1000 * at_s for at_s in sent.delivered_s]


def longest_pause(seen: Sequence[float]) -> float:
    return max((later - at for at, later in pairwise(seen)), default=0.0)


@dataclass(frozen=True)
class Readings:
    """The same answers in three ways. delays_ms: by which the pacer holds back each first token."""

    answers: int
    ways: dict[str, Seen]
    delays_ms: list[float]


PACED, AS_THEY_COME, UNLIMITED = "paced frames", "frames as they come", "unlimited"


def read_answers(answers: Sequence[Answer]) -> Readings:
    frames_ms = [in_ms(ours(answer)) for answer in answers]
    unlimited_ms = [in_ms(token_by_token(answer)) for answer in answers]
    paced_ms = paced(frames_ms)
    return Readings(
        answers=len(answers),
        ways={
            PACED: look_at(answers, paced_ms),
            AS_THEY_COME: look_at(answers, frames_ms),
            UNLIMITED: look_at(answers, unlimited_ms),
        },
        delays_ms=[seen[0] - came[0] for seen, came in zip(paced_ms, frames_ms, strict=True)],
    )


def show_readings(console: Console, readings: Readings) -> None:
    table = Table(
        *("shown", "quality", f"at {FASTER_TOKENS_PER_S:g}/s", "pause p50 ms", "p99 ms", "most ms"),
        title="How an answer reads, and the longest pause in it",
        title_justify="left",
    )
    for name, way in readings.ways.items():
        qualities = (f"{quality:.4f}" for quality in way.quality.values())
        table.add_row(name, *qualities, *(f"{pause_ms:.0f}" for pause_ms in way.longest_ms()))
    console.print(table)


def reading_figures(readings: Readings) -> dict[str, Figure]:
    ways: dict[str, Figure] = {
        name.replace(" ", "_"): {
            "quality": [round(quality, 5) for quality in way.quality.values()],
            "longest_pause_ms": [round(pause_ms, 1) for pause_ms in way.longest_ms()],
        }
        for name, way in readings.ways.items()
    }
    return {"answers": readings.answers, **ways}


def reading_goals(readings: Readings) -> dict[str, Goal]:
    mine, best = readings.ways[PACED], readings.ways[UNLIMITED]
    return {
        "quality_of_unlimited": at_least(
            mine.quality[READING_TOKENS_PER_S] / best.quality[READING_TOKENS_PER_S], 0.99
        ),
        "longest_visible_stall_ms": reported(max(mine.pauses_ms)),
        "longest_stall_of_unlimited_ms": reported(max(best.pauses_ms)),
        "first_token_delay_most_ms": at_most(max(readings.delays_ms), 0),
    }


SUITES = ("page", "pacer", "storm")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.client", description=__doc__)
    parser.add_argument("--data", type=Path, default=trace.DEFAULT)
    parser.add_argument(
        "--suite", action="append", choices=SUITES, help="only this one (and those)"
    )
    parser.add_argument("--full", action="store_true", help="more loads, all answers, more runs")
    given = parser.parse_args()
    chosen = given.suite or SUITES
    try:
        few = None if given.full else QUICK_ANSWERS
        answers = drawn_answers(given.data, few) if "pacer" in chosen else []
    except trace.Missing as missing:
        print(f"chatcore: {missing}", file=sys.stderr)
        return 1
    return cloud.main(lambda: bench(chosen, answers, full=given.full))


def bench(chosen: Sequence[str], answers: Sequence[Answer], *, full: bool) -> None:
    console = Console()
    figures: dict[str, Figure] = {}
    goals: dict[str, Goal] = {}
    if "page" in chosen:
        console.print("Loading the page …")
        loads = load_pages(FULL_LOADS if full else LOADS)
        show_loads(console, loads)
        figures |= load_figures(loads)
        goals |= load_goals(loads)
    if "pacer" in chosen:
        console.print(f"Pacing {len(answers)} answers …", highlight=False)
        readings = read_answers(answers)
        show_readings(console, readings)
        figures |= reading_figures(readings)
        goals |= reading_goals(readings)
    if "storm" in chosen:
        outcomes = storm.play(console, full=full)
        storm.show(console, outcomes)
        figures["storm"] = storm.figures(outcomes)
        goals |= storm.goals(outcomes)
    finish(console, "client", figures, goals)


if __name__ == "__main__":
    sys.exit(main())
