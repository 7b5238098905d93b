"""A chat of several hundred messages: it is paged through, scrolls, and an answer streams into it smoothly.

Smooth is measured by a trace of the page's main thread. A task counts by the processor time that it took,
not by the clock: this machine is shared. What streams is not the demo engine's, which is slower and writes
no Markdown: between the page and the gateway, the test itself tells the frames of one more run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.cloud import Cloud
from tests.e2e.stored import long_chat
from tests.e2e.window import TIMEOUT_MS, Window, opened
from tests.person import Person

pytestmark = pytest.mark.e2e

TURNS = 300
TOKENS_PER_S = 100
FRAME_MS = 100
LONG_MS = 50.0
CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]

SECTION = """## Part {number}

The lease decides **who may write**, and for how long; whoever has lost it is mute. See `run.epoch`.

1. A worker takes the lease and a new epoch with one conditional write.
2. Each checkpoint carries the epoch; an older one is refused.
   - so is one that comes late,
   - or twice.

| state | written by | epoch |
|---|---|---|
| queued | ws_message | 0 |
| running | worker | {number} |

```python
def may_write(run: Run, epoch: int, now_ms: int) -> bool:
    # The holder of this epoch still has the lease.
    return run.epoch == epoch and now_ms < run.lease_until_ms
```

"""
TO_END = "element => { element.scrollTop = element.scrollHeight; }"
PICTURES = """() => {
    window.pictures = [];
    const look = at => { window.pictures.push(at); requestAnimationFrame(look); };
    requestAnimationFrame(look);
}"""


@dataclass
class Teller:
    """Stands between the page and the gateway; says nothing of its own until it is asked to."""

    socket: WebSocketRoute | None = None

    def attend(self, route: WebSocketRoute) -> None:
        self.socket = route
        route.connect_to_server()

    def say(self, kind: str, **fields: Any) -> None:
        assert self.socket is not None
        self.socket.send(json.dumps({"type": kind, "run_id": "r_told", "epoch": 1, **fields}))


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def window(cloud: Cloud, browser: Browser, alice: Person, teller: Teller) -> Iterator[Window]:
    turns = [(f"What of part {n}?", SECTION.format(number=n)) for n in range(1, TURNS + 1)]
    chat_id = long_chat(cloud, alice, turns)
    with opened(cloud, browser) as window:
        window.page.route_web_socket("**/*", teller.attend)
        window.page.goto(f"{cloud.endpoints.web_url}/#{chat_id}")
        # Only a page that is loaded anew has its sockets by this way.
        window.page.reload()
        window.sign_in(alice.email)
        expect(window.answers.last).to_have_text("Here it is.", timeout=TIMEOUT_MS)
        expect(window.part("status")).to_be_empty(timeout=TIMEOUT_MS)
        while window.part("older-messages").is_visible():
            count = window.part("message").count()
            window.part("older-messages").click()
            expect(window.part("message").nth(count)).to_be_attached(timeout=TIMEOUT_MS)
        assert window.part("message").count() == 2 * TURNS + 2
        window.page.locator("#scroller").evaluate(TO_END)
        yield window


@dataclass(frozen=True)
class Trace:
    """Of the page's main thread. tasks_ms: processor time of each of its tasks."""

    tasks_ms: list[float]

    @classmethod
    def read(cls, path: Path) -> Trace:
        events = json.loads(path.read_text())["traceEvents"]
        mains = {
            (each["pid"], each["tid"])
            for each in events
            if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
        }
        return cls(
            [
                each.get("tdur", each["dur"]) / 1000
                for each in events
                if each["name"] == "RunTask"
                and "dur" in each
                and (each["pid"], each["tid"]) in mains
            ]
        )


def test_an_answer_streams_into_a_long_chat_without_a_long_task(
    window: Window, browser: Browser, teller: Teller, tmp_path: Path
) -> None:
    text = "".join(SECTION.format(number=number) for number in range(1, 9))
    # About four characters a token, as English has.
    step = 4 * TOKENS_PER_S * FRAME_MS // 1000
    frames = [(at, text[at : at + step]) for at in range(0, len(text), step)]
    chat = {"chat_id": window.chat_id, "message_id": "told-question"}
    teller.say("run.started", offset=0, **chat)
    window.page.evaluate(PICTURES)
    browser.start_tracing(page=window.page, path=tmp_path / "trace.json", categories=CATEGORIES)
    for at, words in frames:
        teller.say("run.delta", offset=at, text=words)
        # The pace itself is what is tried.
        window.page.wait_for_timeout(FRAME_MS)
    usage = {"input_tokens": 1, "cached_tokens": 0, "output_tokens": 1}
    teller.say("run.completed", **chat, length=len(text), usage=usage, finish_reason="stop")
    # Its last words and what the page asks for after them, too; what this test then looks for is not its work.
    window.page.wait_for_timeout(1_000)
    browser.stop_tracing()
    expect(window.answer).to_have_attribute("data-status", "completed")
    expect(window.answer.locator("h2").last).to_have_text("Part 8")
    # Whoever reads the end goes on doing so.
    expect(window.answer.locator("pre").last).to_be_in_viewport()
    tasks_ms = Trace.read(tmp_path / "trace.json").tasks_ms
    pictures = window.page.evaluate("window.pictures")
    print(
        f"streaming: longest tasks {sorted(tasks_ms)[-5:]} ms of {len(tasks_ms)}",
        pictures_of(pictures),
    )
    assert max(tasks_ms) < LONG_MS


def test_a_long_chat_scrolls_smoothly(window: Window, browser: Browser, tmp_path: Path) -> None:
    window.page.mouse.move(700, 400)
    browser.start_tracing(page=window.page, path=tmp_path / "trace.json", categories=CATEGORIES)
    window.page.evaluate(PICTURES)
    scroller = window.page.locator("#scroller")
    top_px = scroller.evaluate("element => element.scrollTop")
    for _ in range(60):
        window.page.mouse.wheel(0, -400)
        window.page.wait_for_timeout(1000 / 30)
    pictures = window.page.evaluate("window.pictures")
    moved_px = top_px - scroller.evaluate("element => element.scrollTop")
    browser.stop_tracing()
    tasks_ms = Trace.read(tmp_path / "trace.json").tasks_ms
    print(
        f"scrolling: longest tasks {sorted(tasks_ms)[-5:]} ms of {len(tasks_ms)}",
        pictures_of(pictures),
    )
    assert moved_px > 10_000
    assert max(tasks_ms) < LONG_MS


def pictures_of(moments_ms: list[float]) -> str:
    gaps_ms = [later - at for at, later in pairwise(moments_ms)]
    dropped = sum(round(gap_ms * 60 / 1000) - 1 for gap_ms in gaps_ms if gap_ms > 25)
    return f"{len(moments_ms)} pictures, {dropped} dropped, longest gap {max(gaps_ms):.0f} ms"
