"""The HTTP API's Lambda, asked by events as API Gateway makes them."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chatcore.domain.export import ExportState
from chatcore.domain.ledger import Ledger, Window
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.protocol.export import MANIFEST, File, Manifest, encode_manifest
from chatcore.services.purge import purge
from tests.unit.functions.cloud import Away, Broken, Cloud
from tests.unit.functions.events import ID_CLAIMS
from tests.unit.functions.loading import event_loop, load_function

BOB = {**ID_CLAIMS, "sub": "user-bob", "custom:tier": "pro"}
NOWHERE = "c_" + "a" * 26
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    cloud = Cloud()
    cloud.enter(load_function("http_api"), monkeypatch)
    cloud.enter(load_function("ws_message"), monkeypatch)
    with event_loop():
        yield cloud


def new_chat(cloud: Cloud, title: str | None = None) -> str:
    reply = cloud.http("POST", "/chats", {"title": title})
    assert reply.status == 201
    chat_id: str = reply.body["chat_id"]
    return chat_id


def send(cloud: Cloud, chat_id: str, message_id: str = "message-0001", text: str = "Hello") -> Any:
    return cloud.http(
        "POST", f"/chats/{chat_id}/messages", {"message_id": message_id, "text": text}
    )


class TestChats:
    def test_are_made_read_renamed_and_listed(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud, "First 😀")
        expected = {
            "chat_id": chat_id,
            "title": "First 😀",
            "created_at": "2027-01-15T08:00:00.000Z",
            "last_active_at": "2027-01-15T08:00:00.000Z",
            "active_run": None,
            "usage": {"input_tokens": 0, "cached_tokens": 0, "output_tokens": 0},
        }
        assert cloud.http("GET", f"/chats/{chat_id}").body == expected
        renamed = cloud.http("PATCH", f"/chats/{chat_id}", {"title": "Second"})
        assert (renamed.status, renamed.body["title"]) == (200, "Second")
        listed = cloud.http("GET", "/chats")
        assert listed.body == {"chats": [{**expected, "title": "Second"}], "next_cursor": None}

    def test_pages_go_on_where_the_last_ended(self, cloud: Cloud) -> None:
        made = []
        for _ in range(5):
            cloud.clock.advance(1)
            made.append(new_chat(cloud))
        seen: list[str] = []
        query = {"limit": "2"}
        for _ in range(3):
            page = cloud.http("GET", "/chats", query=query).body
            seen += [chat["chat_id"] for chat in page["chats"]]
            query = {"limit": "2", "cursor": page["next_cursor"]}
        assert seen == made[::-1]
        assert query["cursor"] is None

    def test_a_chat_shows_its_active_run(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        run = send(cloud, chat_id).body
        assert cloud.http("GET", f"/chats/{chat_id}").body["active_run"] == {
            "run_id": run["run_id"],
            "status": "queued",
            "epoch": 0,
            "message_id": "message-0001",
        }

    def test_deleting_hides_stops_and_purges(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        run = send(cloud, chat_id).body
        reply = cloud.http("DELETE", f"/chats/{chat_id}")
        assert (reply.status, reply.body) == (204, None)
        assert cloud.purges.started == {("user-alice", chat_id)}
        assert cloud.database.runs[run["run_id"]].status == "cancelled"
        assert cloud.http("GET", "/chats").body["chats"] == []
        for method, path, body in (
            ("GET", "", None),
            ("PATCH", "", {"title": "x"}),
            ("GET", "/messages", None),
            ("POST", "/messages", {"message_id": "message-0002", "text": "Hello"}),
        ):
            late = cloud.http(method, f"/chats/{chat_id}{path}", body)
            assert (late.status, late.code) == (404, "chat_not_found")
        # Deleting again does what may be left.
        assert cloud.http("DELETE", f"/chats/{chat_id}").status == 204

    @pytest.mark.parametrize("title", ["", "  ", "x" * 201, "a\x00b"])
    def test_titles_that_are_none(self, cloud: Cloud, title: str) -> None:
        chat_id = new_chat(cloud)
        for method, path in (("POST", "/chats"), ("PATCH", f"/chats/{chat_id}")):
            reply = cloud.http(method, path, {"title": title})
            assert reply.status == 400
            assert reply.code.startswith("text_")


class TestMessages:
    def test_a_send_is_accepted_and_its_repeat_is_known(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        first = send(cloud, chat_id)
        assert first.status == 202
        assert (first.body["status"], first.body["chat_id"]) == ("queued", chat_id)
        assert first.body["usage"] is first.body["error"] is None
        again = send(cloud, chat_id)
        assert (again.status, again.body) == (200, first.body)
        assert len(cloud.database.runs) == 1

    def test_a_thread_reads_from_old_to_new_page_by_page_from_the_newest(
        self, cloud: Cloud
    ) -> None:
        chat_id = new_chat(cloud)
        for number in range(2):
            cloud.clock.advance(10)
            run = send(cloud, chat_id, f"message-{number:04d}", f"Question {number}").body
            cloud.complete(run["run_id"], f"Answer {number}")
        page = cloud.http("GET", f"/chats/{chat_id}/messages", query={"limit": "3"}).body
        assert [m["text"] for m in page["messages"]] == ["Answer 0", "Question 1", "Answer 1"]
        answer = page["messages"][-1]
        assert answer["usage"] == {"input_tokens": 10, "cached_tokens": 4, "output_tokens": 5}
        assert (answer["role"], answer["finish_reason"]) == ("assistant", "stop")
        query = {"limit": "3", "cursor": page["next_cursor"]}
        rest = cloud.http("GET", f"/chats/{chat_id}/messages", query=query).body
        assert [m["text"] for m in rest["messages"]] == ["Question 0"]
        assert rest["next_cursor"] is None

    def test_the_same_id_for_other_text_is_a_conflict(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        send(cloud, chat_id)
        reply = send(cloud, chat_id, text="Other")
        assert (reply.status, reply.code) == (409, "message_conflict")

    def test_a_second_send_while_an_answer_is_made(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        send(cloud, chat_id)
        reply = send(cloud, chat_id, "message-0002")
        assert (reply.status, reply.code) == (409, "run_active")

    def test_too_many_at_once(self, cloud: Cloud) -> None:
        for number in range(DEFAULTS[Tier.FREE].max_active_runs):
            assert send(cloud, new_chat(cloud), f"message-{number:04d}").status == 202
        reply = send(cloud, new_chat(cloud), "message-9999")
        assert (reply.status, reply.code) == (429, "too_many_active_runs")

    def test_over_budget_says_when_to_come_back(self, cloud: Cloud) -> None:
        cloud.database.ledgers["user-alice"] = Ledger(
            "user-alice",
            version=1,
            settled_tokens=DEFAULTS[Tier.FREE].budgets[0].tokens,
            windows=(Window(cloud.clock() + 90_500), Window(cloud.clock() + 90_500 * 2)),
        )
        reply = send(cloud, new_chat(cloud))
        assert (reply.status, reply.code) == (429, "budget_exhausted")
        assert reply.headers["retry-after"] == "91"
        assert reply.body["retry_at"] == "2027-01-15T08:01:30.500Z"
        cloud.clock.advance(int(reply.headers["retry-after"]) * 1000)
        assert send(cloud, new_chat(cloud), "message-0002").status == 202

    def test_a_paused_tier(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        send(cloud, chat_id)
        free = replace(DEFAULTS[Tier.FREE], paused=True)
        cloud.tiers.tiers = {**DEFAULTS, Tier.FREE: free}
        reply = send(cloud, new_chat(cloud), "message-0002")
        assert (reply.status, reply.code) == (503, "tier_paused")
        assert send(cloud, chat_id).status == 200

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"message_id": "message-0001"}, "field_invalid"),
            ({"text": "Hello"}, "field_invalid"),
            ({"message_id": "short", "text": "Hello"}, "field_invalid"),
            ({"message_id": "message-0001\n", "text": "Hello"}, "field_invalid"),
            ({"message_id": 12345678, "text": "Hello"}, "field_invalid"),
            ({"message_id": "message-0001", "text": 1}, "field_invalid"),
            ({"message_id": "message-0001", "text": None}, "field_invalid"),
            ([], "field_invalid"),
            ("text", "field_invalid"),
            ({"message_id": "message-0001", "text": " "}, "text_empty"),
            ({"message_id": "message-0001", "text": "x" * 4_001}, "text_too_long"),
            ({"message_id": "message-0001", "text": "a\x00b"}, "text_invalid"),
            ({"message_id": "message-0001", "text": "a\ud800b"}, "text_invalid"),
        ],
    )
    def test_bad_bodies(self, cloud: Cloud, body: Any, code: str) -> None:
        reply = cloud.http("POST", f"/chats/{new_chat(cloud)}/messages", body)
        assert (reply.status, reply.code) == (400, code)
        assert cloud.database.runs == {}


class TestRuns:
    def test_are_read_by_their_owner(self, cloud: Cloud) -> None:
        run = send(cloud, new_chat(cloud)).body
        cloud.complete(run["run_id"])
        done = cloud.http("GET", f"/runs/{run['run_id']}").body
        assert (done["status"], done["finish_reason"], done["epoch"]) == ("completed", "stop", 1)
        assert done["answer_message_id"] == run["answer_message_id"]
        assert done["started_at"] == done["ended_at"] == "2027-01-15T08:00:00.000Z"

    def test_cancelling_a_queued_one_ends_it(self, cloud: Cloud) -> None:
        run = send(cloud, new_chat(cloud)).body
        reply = cloud.http("POST", f"/runs/{run['run_id']}/cancel")
        assert (reply.status, reply.body["status"]) == (200, "cancelled")

    def test_cancelling_a_running_one_is_accepted(self, cloud: Cloud) -> None:
        run = send(cloud, new_chat(cloud)).body
        cloud.claim(run["run_id"])
        reply = cloud.http("POST", f"/runs/{run['run_id']}/cancel")
        assert (reply.status, reply.body["status"]) == (202, "running")
        assert len(cloud.inboxes.receive("worker-1", 0)) == 1


class TestAccount:
    def test_its_limits_are_those_of_the_settings_as_they_stand(self, cloud: Cloud) -> None:
        free = replace(DEFAULTS[Tier.FREE], max_active_runs=77)
        cloud.tiers.tiers = {**DEFAULTS, Tier.FREE: free}
        assert cloud.http("GET", "/me").body["limits"]["max_active_runs"] == 77

    def test_me(self, cloud: Cloud) -> None:
        run = send(cloud, new_chat(cloud)).body
        reserved = cloud.database.runs[run["run_id"]].reserved_tokens
        limits = DEFAULTS[Tier.FREE]
        assert cloud.http("GET", "/me").body == {
            "user_id": "user-alice",
            "email": "alice@example.com",
            "tier": "free",
            "usage": {
                "budget_tokens": limits.budgets[0].tokens,
                "used_tokens": 0,
                "reserved_tokens": reserved,
                "window_ends_at": "2027-01-15T13:00:00.000Z",
                "active_runs": 1,
            },
            "limits": {
                "max_text_chars": limits.max_text_chars,
                "max_active_runs": limits.max_active_runs,
                "max_output_tokens": limits.max_output_tokens,
                "context_tokens": limits.context_tokens,
            },
        }

    def test_deleting_it_closes_it_at_once_and_starts_its_purge(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        run = send(cloud, chat_id).body
        cloud.stores.runs.add_viewer(run["run_id"], "socket-1")
        reply = cloud.http("DELETE", "/me", {"email": "Alice@example.com"})
        assert (reply.status, reply.body) == (202, {"closed_at": "2027-01-15T08:00:00.000Z"})
        assert cloud.account_purges.started == {"user-alice"}
        assert [json.loads(frame)["type"] for frame in cloud.posts.frames["socket-1"]] == [
            "run.cancelled"
        ]
        for refused in (
            send(cloud, chat_id, "message-0002"),
            cloud.http("POST", "/chats", {}),
            cloud.http("POST", "/me/export"),
        ):
            assert (refused.status, refused.code) == (403, "account_closed")
        said = {"action": "send", "chat_id": None, "message_id": "message-0003", "text": "Hello?"}
        frames = cloud.say(said)
        assert [(frame["type"], frame["code"]) for frame in frames] == [("error", "account_closed")]
        # Again, later: it is closed since the first time.
        cloud.clock.advance(60_000)
        assert cloud.http("DELETE", "/me", {"email": "alice@example.com"}).body == reply.body
        assert cloud.http("POST", "/chats", {}, claims=BOB).status == 201

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"email": "bob@example.com"}, "confirmation_wrong"),
            ({"email": ""}, "confirmation_wrong"),
            ({"email": "a" * 400}, "field_invalid"),
            ({"email": None}, "field_invalid"),
            ({}, "field_invalid"),
            (None, "field_invalid"),
        ],
    )
    def test_deleting_it_takes_its_address(self, cloud: Cloud, body: Any, code: str) -> None:
        reply = cloud.http("DELETE", "/me", body)
        assert (reply.status, reply.code) == (400, code)
        assert cloud.account_purges.started == set()
        assert cloud.database.ledgers == {}

    def test_an_export_is_asked_for_looked_at_and_fetched(self, cloud: Cloud) -> None:
        asked = cloud.http("POST", "/me/export")
        assert asked.status == 202
        export_id = asked.body["export_id"]
        waiting = {
            "export_id": export_id,
            "status": "preparing",
            "made_at": None,
            "counts": None,
            "files": [],
            "links_end_at": None,
        }
        assert asked.body == waiting
        path = f"/me/export/{export_id}"
        assert cloud.http("GET", path).body == waiting
        manifest = Manifest(
            export_id=export_id,
            made_at="2027-01-15T08:00:00.000Z",
            files=(File(name="part-00001.jsonl", lines=2, bytes=99),),
            counts={"profile": 1, "account": 1},
        )
        cloud.export_files.put("user-alice", export_id, MANIFEST, encode_manifest(manifest))
        cloud.export_jobs.states["user-alice", export_id] = ExportState.READY
        ready = cloud.http("GET", path)
        assert ready.status == 200
        assert ready.body == {
            "export_id": export_id,
            "status": "ready",
            "made_at": "2027-01-15T08:00:00.000Z",
            "counts": {"profile": 1, "account": 1},
            "files": [
                {
                    "name": "part-00001.jsonl",
                    "lines": 2,
                    "bytes": 99,
                    "url": cloud.export_files.link(
                        "user-alice", export_id, "part-00001.jsonl", 900
                    ),
                }
            ],
            "links_end_at": "2027-01-15T08:15:00.000Z",
        }
        for claims, other in ((BOB, export_id), (ID_CLAIMS, "e_other"), (ID_CLAIMS, "x" * 65)):
            reply = cloud.http("GET", f"/me/export/{other}", claims=claims)
            assert (reply.status, reply.code) == (404, "export_not_found")

    @pytest.mark.parametrize(("claim", "tier"), [("pro", "pro"), ("gold", "free"), (None, "free")])
    def test_the_tier_is_the_tokens(self, cloud: Cloud, claim: str | None, tier: str) -> None:
        claims = {key: value for key, value in ID_CLAIMS.items() if key != "custom:tier"}
        if claim is not None:
            claims["custom:tier"] = claim
        assert cloud.http("GET", "/me", claims=claims).body["tier"] == tier

    def test_usage_is_told_by_day_and_by_chat(self, cloud: Cloud) -> None:
        chat_id, other_id = new_chat(cloud), new_chat(cloud)
        cloud.complete(send(cloud, chat_id).body["run_id"])
        cloud.clock.advance(3 * DAY_MS)
        for number, each in ((2, chat_id), (3, other_id)):
            cloud.complete(send(cloud, each, f"message-000{number}").body["run_id"])
        cloud.clock.advance(DAY_MS)
        once = {"input_tokens": 10, "cached_tokens": 4, "output_tokens": 5}
        twice = {"input_tokens": 20, "cached_tokens": 8, "output_tokens": 10}
        thrice = {"input_tokens": 30, "cached_tokens": 12, "output_tokens": 15}
        assert cloud.http("GET", "/me/usage").body == {
            "first_day": "2026-12-21",
            "last_day": "2027-01-19",
            "days": [
                {"day": "2027-01-15", "runs": 1, **once},
                {"day": "2027-01-18", "runs": 2, **twice},
            ],
            "total": {"runs": 3, **thrice},
        }
        assert cloud.http("GET", f"/chats/{chat_id}").body["usage"] == twice
        listed = cloud.http("GET", "/chats").body["chats"]
        assert {chat["chat_id"]: chat["usage"] for chat in listed} == {
            chat_id: twice,
            other_id: once,
        }

    def test_usage_is_of_so_many_days_and_ones_own(self, cloud: Cloud) -> None:
        cloud.complete(send(cloud, new_chat(cloud)).body["run_id"])
        cloud.clock.advance(DAY_MS)

        def days(number: int, claims: dict[str, str] = ID_CLAIMS) -> list[str]:
            query = {"days": str(number)}
            told = cloud.http("GET", "/me/usage", query=query, claims=claims).body
            return [told["first_day"], told["last_day"], *(used["day"] for used in told["days"])]

        assert days(1) == ["2027-01-16", "2027-01-16"]
        assert days(2) == ["2027-01-15", "2027-01-16", "2027-01-15"]
        assert days(366) == ["2026-01-16", "2027-01-16", "2027-01-15"]
        assert days(366, BOB) == ["2026-01-16", "2027-01-16"]

    @pytest.mark.parametrize("days", ["0", "-1", "367", "1.5", "all", ""])
    def test_usage_of_no_such_number_of_days(self, cloud: Cloud, days: str) -> None:
        reply = cloud.http("GET", "/me/usage", query={"days": days})
        assert (reply.status, reply.code) == (400, "field_invalid")

    def test_a_chat_that_goes_takes_nothing_from_what_was_used(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        cloud.complete(send(cloud, chat_id).body["run_id"])
        before = cloud.http("GET", "/me/usage").body
        assert before["total"]["runs"] == 1
        assert cloud.http("DELETE", f"/chats/{chat_id}").status == 204
        while purge(cloud.stores, cloud.inboxes, "user-alice", chat_id, cloud.clock()).removed:
            pass
        assert cloud.http("GET", f"/chats/{chat_id}").status == 404
        assert cloud.database.chats == {}
        assert cloud.http("GET", "/me/usage").body == before

    def test_a_ticket_is_good_once_for_the_socket(self, cloud: Cloud) -> None:
        reply = cloud.http("POST", "/tickets", claims=BOB)
        assert (reply.status, reply.body["expires_at"]) == (201, "2027-01-15T08:00:30.000Z")
        (stored,) = cloud.database.tickets.values()
        assert (stored.user_id, stored.tier) == ("user-bob", Tier.PRO)
        assert reply.body["ticket"] not in json.dumps([stored.ticket_hash, stored.user_id])


class TestWhoeverAsks:
    @pytest.mark.parametrize(
        "claims",
        [
            None,
            {},
            {"sub": "user-alice", "token_use": "access", "client_id": "client"},
            {"token_use": "id"},
            {"sub": "", "token_use": "id"},
            {"sub": "user-alice"},
        ],
        ids=["no token", "no claims", "access token", "no sub", "empty sub", "no use"],
    )
    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/me"), ("GET", "/me/usage"), ("GET", "/chats"), ("POST", "/tickets")],
    )
    def test_must_be_signed_in(
        self, cloud: Cloud, claims: dict[str, str] | None, method: str, path: str
    ) -> None:
        reply = cloud.http(method, path, claims=claims)
        assert (reply.status, reply.code) == (401, "unauthorized")

    def test_sees_only_what_is_his(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        run_id = send(cloud, chat_id).body["run_id"]
        before = cloud.database.runs[run_id], cloud.database.chats["user-alice", chat_id]
        for method, path, body in (
            ("GET", f"/chats/{chat_id}", None),
            ("PATCH", f"/chats/{chat_id}", {"title": "Mine"}),
            ("DELETE", f"/chats/{chat_id}", None),
            ("GET", f"/chats/{chat_id}/messages", None),
            ("POST", f"/chats/{chat_id}/messages", {"message_id": "message-0001", "text": "Hello"}),
        ):
            foreign = cloud.http(method, path, body, claims=BOB)
            assert (foreign.status, foreign.code) == (404, "chat_not_found")
            # And just as if it had never been there.
            never = cloud.http(method, path.replace(chat_id, NOWHERE), body, claims=BOB)
            assert never.body == foreign.body
        for method, path in (("GET", f"/runs/{run_id}"), ("POST", f"/runs/{run_id}/cancel")):
            foreign = cloud.http(method, path, claims=BOB)
            assert (foreign.status, foreign.code) == (404, "run_not_found")
        assert cloud.http("GET", "/chats", claims=BOB).body["chats"] == []
        assert (cloud.database.runs[run_id], cloud.database.chats["user-alice", chat_id]) == before
        assert cloud.purges.started == set()


class TestBadRequests:
    @pytest.mark.parametrize(
        "path", ["/", "/nothing", "/chats/c/d/e", "/docs", "/openapi.json", "//"]
    )
    def test_an_unknown_path(self, cloud: Cloud, path: str) -> None:
        reply = cloud.http("GET", path)
        assert (reply.status, reply.code) == (404, "route_not_found")

    @pytest.mark.parametrize(("method", "path"), [("PUT", "/chats"), ("PATCH", "/me")])
    def test_an_unknown_method(self, cloud: Cloud, method: str, path: str) -> None:
        reply = cloud.http(method, path)
        assert (reply.status, reply.code) == (405, "method_not_allowed")

    @pytest.mark.parametrize("raw_body", ["{", "hello", "{'title': 1}", "[" * 90_000])
    def test_a_body_that_is_not_json(self, cloud: Cloud, raw_body: str) -> None:
        reply = cloud.http("POST", "/chats", raw_body=raw_body)
        assert (reply.status, reply.code) == (400, "body_not_json")

    @pytest.mark.parametrize("raw_body", [None, ""])
    def test_no_body(self, cloud: Cloud, raw_body: str | None) -> None:
        reply = cloud.http("POST", "/chats", raw_body=raw_body)
        assert (reply.status, reply.code) == (400, "field_invalid")

    def test_bytes_that_are_not_utf8(self, cloud: Cloud) -> None:
        raw_body = base64.b64encode(b'{"title": "\xff\xfe"}').decode()
        reply = cloud.http("POST", "/chats", raw_body=raw_body, is_base64=True)
        assert (reply.status, reply.code) == (400, "body_not_json")

    @pytest.mark.parametrize("honest", [True, False])
    def test_a_body_over_the_limit(self, cloud: Cloud, honest: bool) -> None:
        raw_body = json.dumps({"title": "x" * 131_072})
        headers = {} if honest else {"content-length": "12"}
        reply = cloud.http("POST", "/chats", raw_body=raw_body, headers=headers)
        assert (reply.status, reply.code) == (413, "body_too_large")

    @pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1.5", ""])
    def test_a_bad_limit(self, cloud: Cloud, limit: str) -> None:
        reply = cloud.http("GET", "/chats", query={"limit": limit})
        assert (reply.status, reply.code) == (400, "field_invalid")

    @pytest.mark.parametrize("cursor", ["", "x", "WzEsMl0", "é", "a" * 500])
    def test_a_forged_cursor(self, cloud: Cloud, cursor: str) -> None:
        chat_id = new_chat(cloud)
        for path in ("/chats", f"/chats/{chat_id}/messages"):
            reply = cloud.http("GET", path, query={"cursor": cursor})
            assert (reply.status, reply.code) == (400, "cursor_invalid")

    def test_a_cursor_of_another_list(self, cloud: Cloud) -> None:
        chat_id = new_chat(cloud)
        cloud.complete(send(cloud, chat_id).body["run_id"])
        page = cloud.http("GET", f"/chats/{chat_id}/messages", query={"limit": "1"}).body
        reply = cloud.http("GET", "/chats", query={"cursor": page["next_cursor"]})
        assert (reply.status, reply.code) == (400, "cursor_invalid")

    @pytest.mark.parametrize("name", ["x" * 3_000, "ümlaut", "%ED%A0%80"])
    def test_ids_that_nothing_can_have(
        self, cloud: Cloud, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken: Any = Broken()
        stores = replace(cloud.stores, chats=broken, runs=broken)
        monkeypatch.setattr(load_function("http_api"), "stores", stores)
        assert cloud.http("GET", f"/chats/{name}").code == "chat_not_found"
        assert cloud.http("GET", f"/runs/{name}").code == "run_not_found"


class TestFaults:
    def test_a_store_that_is_away_is_busy(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chat_id = new_chat(cloud)
        away: Any = Away()
        monkeypatch.setattr(
            load_function("http_api"), "stores", replace(cloud.stores, chats=away, runs=away)
        )
        for reply in (cloud.http("GET", f"/chats/{chat_id}"), send(cloud, chat_id)):
            assert (reply.status, reply.code) == (503, "busy")
            assert "vendor" not in json.dumps(reply.body)

    def test_a_lane_that_is_away_is_busy_and_sending_again_works(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chat_id = new_chat(cloud)
        with monkeypatch.context() as patched:
            patched.setattr(load_function("http_api"), "lanes", Away())
            assert send(cloud, chat_id).code == "busy"
        assert send(cloud, chat_id).status == 200
        assert len(cloud.database.runs) == 1

    def test_a_fault_that_nobody_thought_of_says_nothing_of_itself(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken: Any = Broken()
        monkeypatch.setattr(
            load_function("http_api"), "stores", replace(cloud.stores, chats=broken)
        )
        reply = cloud.http("GET", "/chats")
        assert (reply.status, reply.code) == (500, "internal_error")
        assert "vendor" not in json.dumps(reply.body)
