"""What the logs tell of a run, and what they must never tell: anybody's words."""

import json
import re

import pytest

from tests.cloud import Cloud, Row, eventually
from tests.measured import measured
from tests.person import PASSWORD, Person

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("reads the logs of all processes"),
]

SECRET_PROMPT = "My neighbour Xanthippe keeps a zebrafinch called Quetzal."
SECRET_TITLE = "Gluggavedur over Kirkjubaejarklaustur"
SECRET_WORDS = ("Xanthippe", "zebrafinch", "Quetzal", "Gluggavedur", "Kirkjubaejarklaustur")
SHORTEST_CHARS = 16
"""Of what is looked for: less may be somebody's words and an event's name by chance."""

TOKEN = re.compile(r"eyJ[\w-]{16,}\.[\w-]{16,}\.[\w-]{16,}")


def test_one_trace_id_joins_a_runs_lines_from_the_lambda_to_the_worker(
    alice: Person, cloud: Cloud
) -> None:
    run = alice.ended_run(alice.send("Please count to 5.")["run_id"])

    def lines() -> list[Row] | None:
        found = [
            line
            for worker in cloud.workers
            for line in worker.log_lines()
            if line.get("run_id") == run["run_id"]
        ]
        return found if any(line["message"] == "run.ended" for line in found) else None

    told = eventually(lines, "the worker's line on the run's end")
    assert {"run.claimed", "run.first_token", "run.ended"} <= {line["message"] for line in told}
    trace_ids = {line["trace_id"] for line in told}
    assert trace_ids == {cloud.run(run["run_id"])["trace_id"]}
    assert all(trace_ids)
    assert {line["tier"] for line in told} == {alice.tier}
    (ended,) = [line for line in told if line["message"] == "run.ended"]
    assert ended["output_tokens"] == run["usage"]["output_tokens"]
    assert ended["status"] == "completed"
    found = measured(ended)
    assert found.dimensions == {"service": "worker", "tier": alice.tier}
    assert 0 < found.values["ttft_ms"] <= found.values["total_ms"]
    assert found.values["completed"] == 1


def test_the_lambda_that_took_a_prompt_logs_its_run_and_trace_id(
    alice: Person, cloud: Cloud
) -> None:
    run = alice.ended_run(alice.send("Please count to 5.")["run_id"])

    def line() -> Row | None:
        for entry in cloud.lambda_log("http_api"):
            if entry.startswith("{") and run["run_id"] in entry:
                found: Row = json.loads(entry)
                return found
        return None

    told = eventually(line, "the Lambda's line on the run", deadline_s=10)
    assert told["run_id"] == run["run_id"]
    assert told["trace_id"] == cloud.run(run["run_id"])["trace_id"]
    assert measured(told).values == {"sends": 1}
    assert measured(told).dimensions == {"service": "http_api", "tier": alice.tier}


def all_logs(cloud: Cloud) -> dict[str, str]:
    """Wherever something is logged: the stack's log groups, and the files of all processes."""
    groups = [
        group["logGroupName"]
        for page in cloud.logs.get_paginator("describe_log_groups").paginate()
        for group in page["logGroups"]
        if cloud.endpoints.stack_name in group["logGroupName"]
    ]
    logs = {
        group: "\n".join(
            event["message"]
            for page in cloud.logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            for event in page["events"]
        )
        for group in groups
    }
    for path in cloud.stack.logs.rglob("*.log"):
        logs[path.name] = logs.get(path.name, "") + path.read_text(errors="replace")
    return logs


def pieces(text: str) -> set[str]:
    """What a log would show of a text, however it writes line ends, quotes and other letters."""
    return set(re.findall(rf"[A-Za-z0-9 ,;:.!?()-]{{{SHORTEST_CHARS},80}}", text))


def told(logs: dict[str, str], words: set[str]) -> dict[str, set[str]]:
    """Which log holds which of these."""
    found = {name: {each for each in words if each in text} for name, text in logs.items()}
    return {name: held for name, held in found.items() if held}


def test_no_log_holds_anybodys_words(alice: Person, cloud: Cloud) -> None:
    with alice.line() as line:
        answer = line.ask(SECRET_PROMPT)
        line.finish(answer)
        chat_id = alice.get(f"/runs/{answer.run_id}")["chat_id"]
        asked = line.ask("What is the zebrafinch called?", chat_id)
        line.finish(asked)
        # Refused texts, too, are somebody's words.
        line.refused(json.dumps({"action": "send", "message_id": "x", "text": SECRET_PROMPT}))
        line.refused(SECRET_PROMPT)
    assert "Quetzal" in asked.text
    alice.send(SECRET_PROMPT)
    alice.patch(f"/chats/{chat_id}", {"title": SECRET_TITLE})
    alice.refused("POST", "/chats", json={"title": SECRET_TITLE * 10})
    alice.delete(f"/chats/{chat_id}")
    secret = re.compile("|".join(SECRET_WORDS), re.IGNORECASE)
    for name, text in all_logs(cloud).items():
        assert not secret.search(text), name
        for of_alice in (alice.email, alice.id_token, alice.access_token, PASSWORD):
            assert of_alice not in text, name


@pytest.mark.last
def test_after_all_that_was_done_no_log_holds_what_is_stored(alice: Person, cloud: Cloud) -> None:
    """Behind the other tests of the running cloud, the browser's included: what all of them wrote."""
    run = alice.ended_run(alice.send(SECRET_PROMPT)["run_id"])
    stored = [row["text"] for table in ("messages", "summaries") for row in cloud.rows(table)]
    stored += [row.get("title") or "" for row in cloud.rows("chats")]
    words = {piece for text in stored for piece in pieces(text)}
    assert {SECRET_PROMPT} <= words
    users = cloud.cognito.get_paginator("list_users").paginate(
        UserPoolId=cloud.outputs["UserPoolId"]
    )
    emails = {
        attribute["Value"]
        for page in users
        for user in page["Users"]
        for attribute in user["Attributes"]
        if attribute["Name"] == "email"
    }
    assert alice.email in emails
    logs = all_logs(cloud)
    # What is logged is found, in functions and workers, and so would be what must not be.
    assert len(told(logs, {run["run_id"]})) >= 2
    assert len(told(logs, {"connection.authorized", "worker.ready"})) >= 2
    assert told(logs, words) == {}
    # The emulator plays Cognito, and says whom it has made.
    assert told({name: logs[name] for name in logs if name != "ministack.log"}, emails) == {}
    assert [name for name, text in logs.items() if TOKEN.search(text)] == []
