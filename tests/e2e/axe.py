"""axe-core in the page: what it finds there that hinders somebody seriously."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page

from tests.cloud import Cloud
from tests.e2e.window import Window

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = {"serious", "critical"}
LOOKS: dict[str, tuple[Literal["light", "dark"], int]] = {
    "light_wide": ("light", 1200),
    "dark_narrow": ("dark", 320),
}


@contextmanager
def opened_for_axe(cloud: Cloud, browser: Browser, look: str) -> Iterator[Window]:
    scheme, width_px = LOOKS[look]
    # The page's own policy would not let axe in.
    with browser.new_context(
        viewport={"width": width_px, "height": 800}, color_scheme=scheme, bypass_csp=True
    ) as context:
        window = Window(cloud, context.new_page())
        window.open()
        yield window


def findings(page: Page) -> list[str]:
    page.add_script_tag(path=AXE)
    found: dict[str, Any] = page.evaluate("axe.run(document)")
    return [
        f"{each['id']}: {[node['html'] for node in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]
