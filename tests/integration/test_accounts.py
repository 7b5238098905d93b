"""An account, exported and deleted: all of it is in the files, and afterwards nothing names its user."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from chatcore.domain.moment import rfc3339
from tests.cloud import Cloud, Row, eventually
from tests.person import Person, sign_in

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("cannot wait for three hours, and scans the tables of everybody"),
]

TABLES = (
    "chats",
    "messages",
    "summaries",
    "runs",
    "checkpoints",
    "ledgers",
    "usage",
    "tickets",
    "calendars",
    "workers",
)
SECRET = "Quartzfeather"
"""What she says and nobody else."""


def test_all_of_it_is_given_and_then_all_of_it_goes(
    cloud: Cloud, person: Callable[[str], Person]
) -> None:
    alice, bob = person("plus"), person("free")
    bobs_run = bob.ended_run(bob.send("This chat is Bob's.")["run_id"])
    eventually(lambda: bob.get(f"/chats/{bobs_run['chat_id']}")["title"], "Bob's title")
    with alice.line() as line:
        first = line.ask(f"My dog is called {SECRET}.")
        line.finish(first)
        chat_id = str(first.end and first.end["chat_id"])
        line.finish(line.ask("Please count to 20.", chat_id))
        alice.ended_run(alice.send(f"{SECRET} again, in another chat.")["run_id"])
        alice.post("/chats", {"title": f"Nothing but {SECRET}"})
        cloud.table("summaries").put_item(
            Item={
                "chat_id": chat_id,
                "summary_id": "b_made_by_hand",
                "version": 1,
                "up_to_seq": 1,
                "text": f"- Facts: {SECRET}",
                "made_ms": 1_800_000_000_000,
            }
        )
        eventually(lambda: _is_settled(alice), "all titles")

        _check_export(cloud, alice)

        streaming = line.ask("Please count to 500.", chat_id)
        line.until_length(streaming, 200)
        before = _of(cloud, bob)
        wrong = alice.refused("DELETE", "/me", json={"email": bob.email})
        assert wrong == (400, "confirmation_wrong")
        closed = alice.http.request("DELETE", "/me", json={"email": alice.email})
        assert closed.status_code == 202

        line.finish(streaming, deadline_s=5)
        assert streaming.end is not None
        assert streaming.end["type"] == "run.cancelled"
        # Her token and her socket are good still, and of no use.
        line.say("send", chat_id=None, message_id="after-the-end", text=f"{SECRET}?")
        line.hear_until(lambda frame: frame.get("ref") == "after-the-end", "a refusal")
        assert line.errors[-1]["code"] == "account_closed"
        assert alice.refused("POST", "/chats", json={}) == (403, "account_closed")
        assert alice.refused("POST", "/me/export") == (403, "account_closed")
        again = alice.http.request("DELETE", "/me", json={"email": alice.email})
        assert (again.status_code, again.json()) == (202, closed.json())
    unused_ticket = alice.post("/tickets")["ticket"]

    execution = _execution(cloud, "PurgeAccountStateMachineArn", f"purge-account-{alice.user_id}")
    # All but the mark is gone soon, and nobody signs in.
    eventually(lambda: _is_but_a_mark(cloud, alice), "the end of all else")
    (account,) = [row for row in cloud.rows("ledgers") if row["user_id"] == alice.user_id]
    assert rfc3339(account["closed_ms"]) == closed.json()["closed_at"]
    with pytest.raises(cloud.cognito.exceptions.ClientError):
        sign_in(cloud, cloud.endpoints.user_pool_client_id, alice.email)
    assert alice.refused("POST", "/chats", json={}) == (403, "account_closed")

    told = eventually(lambda: _ended(cloud, execution), "the end of the purge", 90)
    assert (told["status"], json.loads(told["output"])) == ("SUCCEEDED", {"outcome": "purged"})
    stored = _all_that_is_stored(cloud)
    for word in (alice.user_id, alice.email, SECRET, unused_ticket, chat_id):
        assert word not in stored, word
    assert _of(cloud, bob) == before
    assert len(bob.messages(bobs_run["chat_id"])) == 2
    for run_id in (first.run_id, streaming.run_id):
        assert cloud.run(run_id).keys() == {"run_id", "is_gone", "expires_at"}
    # The address is free: who comes back by it is somebody else.
    assert bob.get("/me")["email"] == bob.email


def _is_but_a_mark(cloud: Cloud, alice: Person) -> bool:
    """The account says no more than that it is closed: it is emptied last, when all else is gone."""
    if _tables_of(cloud, alice) != ["ledgers", "tickets"]:
        return False
    (account,) = [row for row in cloud.rows("ledgers") if row["user_id"] == alice.user_id]
    return int(account["settled_tokens"]) == 0


def _check_export(cloud: Cloud, alice: Person) -> None:
    """What the files hold is what the tables do."""
    export_id = alice.post("/me/export", status=202)["export_id"]
    assert alice.post("/me/export", status=202)["export_id"] == export_id

    def ready() -> Row | None:
        export: Row = alice.get(f"/me/export/{export_id}")
        assert export["status"] in {"preparing", "ready"}
        return export if export["status"] == "ready" else None

    export = eventually(ready, "the export")
    lines: list[Row] = []
    for file in export["files"]:
        # By the link alone, as a browser does it.
        body = httpx.get(file["url"]).raise_for_status().content
        assert len(body) == file["bytes"]
        said = [json.loads(text) for text in body.decode("utf-8").splitlines()]
        assert len(said) == file["lines"]
        lines += said
    by_kind: dict[str, list[Row]] = {}
    for said_line in lines:
        by_kind.setdefault(said_line["kind"], []).append(said_line)
    assert {kind: len(found) for kind, found in by_kind.items()} == export["counts"]

    (profile,) = by_kind["profile"]
    assert (profile["user_id"], profile["email"]) == (alice.user_id, alice.email)
    assert (profile["tier"], profile["email_verified"]) == ("plus", True)
    chats = [row for row in cloud.rows("chats") if row["user_id"] == alice.user_id]
    assert len(chats) == 3
    assert sorted((line["chat_id"], line["title"]) for line in by_kind["chat"]) == sorted(
        (row["chat_id"], row.get("title")) for row in chats
    )
    mine = {row["chat_id"] for row in chats}
    messages = [row for row in cloud.rows("messages") if row["chat_id"] in mine]
    assert len(messages) == 6
    assert sorted(_message(line) for line in by_kind["message"]) == sorted(map(_message, messages))
    summaries = [row for row in cloud.rows("summaries") if row["chat_id"] in mine]
    assert [line["text"] for line in by_kind["summary"]] == [row["text"] for row in summaries]
    days = [row for row in cloud.rows("usage") if row["user_id"] == alice.user_id]
    assert [(line["day"], line["runs"], line["usage"]) for line in by_kind["usage_day"]] == [
        (
            row["day"],
            row["runs"],
            {name: row[name] for name in ("input_tokens", "cached_tokens", "output_tokens")},
        )
        for row in days
    ]
    (ledger,) = [row for row in cloud.rows("ledgers") if row["user_id"] == alice.user_id]
    (account,) = by_kind["account"]
    assert account["settled_tokens"] == ledger["settled_tokens"]
    assert str(ledger["settled_tokens"]) in account["words"][0]
    # Nobody without the link, and nobody else by his token.
    bare_url = export["files"][0]["url"].partition("?")[0]
    assert SECRET in json.dumps(lines)
    assert bare_url.endswith(f"{alice.user_id}/{export_id}/part-00001.jsonl")


def _message(said: Row) -> tuple[Any, ...]:
    return tuple(said[name] for name in ("chat_id", "message_id", "role", "text", "run_id"))


def _is_settled(person: Person) -> bool:
    """No run of the background is under way any more."""
    rows = person.cloud.rows("runs")
    return not any(row.get("user_id") == person.user_id and row["kind"] != "answer" for row in rows)


def _of(cloud: Cloud, person: Person) -> dict[str, list[Row]]:
    """All that the tables hold of a person, but for what time alone changes."""
    chats = {row["chat_id"] for row in cloud.rows("chats") if row["user_id"] == person.user_id}
    found = {
        name: [
            row
            for row in cloud.rows(name)
            if row.get("user_id") == person.user_id or row.get("chat_id") in chats
        ]
        for name in TABLES
    }
    assert len(found["messages"]) == 2
    return {
        name: sorted(rows, key=lambda row: json.dumps(row, default=str))
        for name, rows in found.items()
    }


def _tables_of(cloud: Cloud, person: Person) -> list[str]:
    """Where anything names the person."""
    return [name for name in TABLES if person.user_id in json.dumps(cloud.rows(name), default=str)]


def _all_that_is_stored(cloud: Cloud) -> str:
    """Of everybody, as text: tables, files of exports, and the user pool."""
    bucket = cloud.outputs["ExportsBucketName"]
    s3 = cloud.aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
    users = [
        user
        for page in cloud.cognito.get_paginator("list_users").paginate(
            UserPoolId=cloud.outputs["UserPoolId"]
        )
        for user in page["Users"]
    ]
    return json.dumps([{name: cloud.rows(name) for name in TABLES}, keys, users], default=str)


def _execution(cloud: Cloud, machine: str, name: str) -> str:
    """The one execution of that name."""
    listed = cloud.states.list_executions(stateMachineArn=cloud.outputs[machine])["executions"]
    (found,) = [each["executionArn"] for each in listed if each["name"] == name]
    return found


def _ended(cloud: Cloud, execution: str) -> Row | None:
    told: Row = dict(cloud.states.describe_execution(executionArn=execution))
    return None if told["status"] == "RUNNING" else told
