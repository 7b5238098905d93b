"""What answers look like on the page: Markdown, code that can be copied, and nothing that runs."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.cloud import Cloud
from tests.e2e.stored import chat_with_answer
from tests.e2e.window import Window
from tests.person import Person

pytestmark = pytest.mark.e2e

ANSWER = """# A heading

Some **bold** text, `code` and [a link](https://example.com/page).

3. one
4. two

| a | b |
|---|---|
| 1 | 2 |

```python
def twice(x: int) -> int:
    return 2 * x
```

Last words.
"""
CORPUS = (
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "<svg onload='window.ran = 1'></svg>",
    "<svg><script>window.ran = 1</script></svg>",
    "<iframe src='javascript:parent.ran = 1'></iframe>",
    "<a href='javascript:window.ran = 1'>x</a>",
    "[x](javascript:window.ran=1)",
    "[x](<java\tscript:window.ran=1>)",
    "[x](data:text/html,<script>parent.ran=1</script>)",
    "![x](https://example.com/seen.png)",
    "![x](x onerror=window.ran=1)",
    "<style>* { display: none }</style>",
    "<link rel=stylesheet href=https://example.com/x.css>",
    "<meta http-equiv=refresh content='0;url=https://example.com'>",
    "<base href=https://example.com/>",
    "<form action=https://example.com><input name=x autofocus onfocus='window.ran = 1'></form>",
    "<math><mtext><table><mglyph><style><img src=x onerror='window.ran = 1'>",
    "<details open ontoggle='window.ran = 1'>x</details>",
    "<video><source onerror='window.ran = 1'></video>",
    "<div style='background: url(https://example.com/x.png)'>x</div>",
    '"><img src=x onerror=window.ran=1>',
    "```html\n<img src=x onerror='window.ran = 1'>\n```",
    "```<img src=x onerror=window.ran=1>\nx\n```",
    "`<img src=x onerror=window.ran=1>`",
    "<markdown-text onclick='window.ran = 1'>x</markdown-text>",
    "[x]: javascript:window.ran=1\n\n[x]",
    '<https://example.com/"onmouseover=window.ran=1>',
)


def test_an_answers_markdown_is_shown_and_its_text_is_kept(
    signed_in: Window, cloud: Cloud, alice: Person
) -> None:
    window = signed_in
    chat_id = chat_with_answer(cloud, alice, ANSWER)
    window.page.goto(f"{cloud.endpoints.web_url}/#{chat_id}")
    window.page.reload()
    answer = window.answer
    expect(answer.locator("h1")).to_have_text("A heading")
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer.locator("li")).to_have_text(["one", "two"])
    expect(answer.locator("ol")).to_have_attribute("start", "3")
    expect(answer.locator("td")).to_have_text(["1", "2"])
    link = answer.locator("a")
    expect(link).to_have_attribute("href", "https://example.com/page")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(answer.locator(".code-head span")).to_have_text("python")
    expect(answer.locator("pre .hljs-keyword").first).to_have_text("def")
    assert window.text_of(answer) == ANSWER


def test_code_can_be_copied(signed_in: Window, cloud: Cloud, alice: Person) -> None:
    window = signed_in
    window.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat_id = chat_with_answer(cloud, alice, ANSWER)
    window.page.goto(f"{cloud.endpoints.web_url}/#{chat_id}")
    window.page.reload()
    window.part("copy-code").click()
    expect(window.part("copy-code")).to_have_text("Copied")
    copied = window.page.evaluate("navigator.clipboard.readText()")
    assert copied == "def twice(x: int) -> int:\n    return 2 * x"


def test_nothing_in_a_text_runs_or_is_fetched(
    signed_in: Window, cloud: Cloud, alice: Person
) -> None:
    """In answers, in people's messages and in titles. The window's own look at the console and at the
    hosts that were asked ends the test."""
    window = signed_in
    for text in ("\n\n".join(CORPUS), *CORPUS[:4], CORPUS[-1]):
        chat_id = chat_with_answer(cloud, alice, text)
        alice.patch(f"/chats/{chat_id}", {"title": text[:200]})
        window.page.goto(f"{cloud.endpoints.web_url}/#{chat_id}")
        window.page.reload()
        expect(window.answers).to_have_count(1)
        assert window.text_of(window.answer) == text
        for link in window.answer.locator("a").all():
            assert (link.get_attribute("href") or "").startswith("https://")
        assert window.page.evaluate("window.ran") is None
    window.part("new-chat").click()
    said = " ".join(CORPUS[:6])
    window.send(said)
    window.finish(1)
    assert window.text_of(window.part("message").first) == said
    assert window.page.evaluate("window.ran") is None
    assert window.page.locator("img, iframe, object, form form, style, video").count() == 0
