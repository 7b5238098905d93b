"""What the logs tell of a run, and what they must never tell: anybody's words."""

import json
import re

import pytest

from tests.cloud import Cloud, Row, eventually
from tests.measured import measured
from tests.person import Person

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("reads the logs of all processes"),
]

SECRET_PROMPT = "My neighbour Xanthippe keeps a zebrafinch called Quetzal."
SECRET_WORDS = ("Xanthippe", "zebrafinch", "Quetzal")
# Where text goes that nobody should find it in: the functions' log groups and all processes' files.
FUNCTIONS = ("http_api", "ws_authorizer", "ws_message", "purge_chat")


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
    alice.refused("POST", "/chats", json={"title": SECRET_PROMPT * 10})
    alice.delete(f"/chats/{chat_id}")
    secret = re.compile("|".join(SECRET_WORDS), re.IGNORECASE)
    for function in FUNCTIONS:
        assert not secret.search("\n".join(cloud.lambda_log(function))), function
    files = [path for path in cloud.stack.logs.rglob("*.log") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        assert not secret.search(path.read_text(errors="replace")), path.name
