"""The verbs that only ask over HTTP: what they ask, and what they print of it."""

import json
from typing import Any

import httpx
import pytest

from tests.unit.chat.stage import Stage


def chat(number: int, title: str | None) -> dict[str, Any]:
    return {"chat_id": f"c_{number}", "title": title, "last_active_at": f"2026-11-0{number}"}


CHATS = [chat(3, "Dogs [/b]"), chat(2, None), chat(1, "Éclairs")]


class TestList:
    @pytest.fixture(autouse=True)
    def _pages(self, stage: Stage) -> None:
        def page(request: httpx.Request) -> httpx.Response:
            first = "cursor" not in request.url.params
            told = {
                "chats": CHATS[:2] if first else CHATS[2:],
                "next_cursor": "2" if first else None,
            }
            return httpx.Response(200, json=told)

        stage.routes["GET /chats"] = page

    def test_each_chat_is_a_row(self, stage: Stage) -> None:
        rows = [row.split() for row in stage.run("list").stdout.splitlines()]
        assert rows[1:] == [
            ["c_3", "Dogs", "[/b]", "2026-11-03"],
            ["c_2", "New", "chat", "2026-11-02"],
            ["c_1", "Éclairs", "2026-11-01"],
        ]

    @pytest.mark.parametrize(("most", "count", "pages"), [(0, 3, 2), (2, 2, 1), (3, 3, 2)])
    def test_no_more_than_is_wanted(self, stage: Stage, most: int, count: int, pages: int) -> None:
        told = stage.run("list", "--json", "--most", str(most)).stdout
        assert [json.loads(line) for line in told.splitlines()] == CHATS[:count]
        asked = [request for request in stage.asked if request.url.path == "/chats"]
        assert len(asked) == pages


def test_a_chats_messages_as_they_are(stage: Stage) -> None:
    messages = [{"role": "user", "text": "Hello 🦊"}, {"role": "assistant", "text": "[b]Hi"}]
    stage.route("GET /chats/c_7/messages", {"messages": messages, "next_cursor": None})
    assert stage.run("show", "c_7").stdout == "> Hello 🦊\n[b]Hi\n"
    assert stage.events("show", "c_7") == messages
    assert "🦊" in stage.run("show", "c_7", "--json").stdout


def test_a_chat_is_renamed_and_deleted(stage: Stage) -> None:
    stage.route("PATCH /chats/c_7", {})
    stage.route("DELETE /chats/c_7", {})
    assert stage.run("rename", "c_7", "Dogs").exit_code == 0
    assert json.loads(stage.asked[-1].content) == {"title": "Dogs"}
    asked = len(stage.asked)
    assert stage.run("delete", "c_7", stdin="n\n").exit_code == 1
    assert len(stage.asked) == asked
    assert stage.run("delete", "c_7", "--yes").exit_code == 0
    assert stage.asked[-1].method == "DELETE"


@pytest.mark.parametrize(
    ("ends", "until"), [("2026-11-28T12:00Z", ", until 2026-11-28T12:00Z"), (None, "")]
)
def test_what_is_left_of_the_budget(stage: Stage, ends: str | None, until: str) -> None:
    usage = {"window_ends_at": ends, "used_tokens": 1_200, "budget_tokens": 50_000}
    told = {"email": "alice@example.com", "tier": "plus", "usage": usage}
    stage.route("GET /me", told)
    assert stage.run("me").stdout.splitlines() == [
        "alice@example.com, plus",
        f"1,200 of 50,000 tokens used{until}",
    ]
    assert stage.events("me") == [told]


def test_what_is_refused_is_said_with_its_code(stage: Stage) -> None:
    problem = {"code": "chat_not_found", "detail": "No such chat."}
    stage.route("GET /chats/c_7/messages", problem, 404)
    done = stage.run("show", "c_7")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "chat: No such chat. (chat_not_found)\n"
