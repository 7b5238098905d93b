"""Deleting deletes: hidden at once, its run stopped, and soon nothing of it left in any table."""

import pytest

from tests.cloud import Cloud, Row, eventually
from tests.person import Person

pytestmark = pytest.mark.integration


def test_a_deleted_chat_is_gone_at_once_and_purged_soon(alice: Person, cloud: Cloud) -> None:
    kept = alice.ended_run(alice.send("This chat stays.")["run_id"])
    with alice.line() as line:
        first = line.ask("My dog is called Biscuit.")
        line.finish(first)
        chat_id = str(first.end and first.end["chat_id"])
        streaming = line.ask("Please count to 500.", chat_id)
        # Beyond the first checkpoint.
        line.until_length(streaming, 200)
        assert _rows_of(cloud, chat_id, {first.run_id, streaming.run_id}).keys() == {
            "chats",
            "messages",
            "runs",
            "checkpoints",
        }

        alice.delete(f"/chats/{chat_id}")
        path = f"/chats/{chat_id}"
        assert alice.refused("GET", path) == (404, "chat_not_found")
        assert alice.refused("GET", f"{path}/messages") == (404, "chat_not_found")
        assert alice.refused("PATCH", path, json={"title": "Back?"}) == (404, "chat_not_found")
        assert [chat["chat_id"] for chat in alice.get("/chats")["chats"]] == [kept["chat_id"]]
        line.finish(streaming, deadline_s=5)
        assert streaming.end is not None
        assert streaming.end["type"] == "run.cancelled"
        line.say(
            "send", chat_id=chat_id, message_id="after-the-end", text="Is anybody still there?"
        )
        line.hear_until(lambda frame: frame.get("ref") == "after-the-end", "a refusal")
        assert line.errors[-1]["code"] == "chat_not_found"

    # Deleting it again does no harm, whether its purge is still going on or over.
    assert alice.http.delete(path).status_code in {204, 404}
    execution = _purge_of(cloud, chat_id)
    assert eventually(lambda: _outcome(cloud, execution), "the end of the purge") == "SUCCEEDED"
    assert _rows_of(cloud, chat_id, {first.run_id, streaming.run_id}) == {}
    # A run leaves a mark, for those who still come to speak of it: that it is gone, and no more.
    for run_id in (first.run_id, streaming.run_id):
        assert cloud.run(run_id).keys() == {"run_id", "is_gone", "expires_at"}
    assert alice.refused("DELETE", path) == (404, "chat_not_found")
    assert alice.refused("GET", f"/runs/{first.run_id}") == (404, "run_not_found")
    # What was used stays used, and nothing stays reserved.
    usage = alice.usage()
    assert usage["used_tokens"] > 0
    assert (usage["reserved_tokens"], usage["active_runs"]) == (0, 0)
    assert len(alice.messages(kept["chat_id"])) == 2


def test_an_empty_chat_is_purged_too(alice: Person, cloud: Cloud) -> None:
    chat_id = alice.post("/chats", {"title": "Nothing in it"})["chat_id"]
    alice.delete(f"/chats/{chat_id}")
    execution = _purge_of(cloud, chat_id)
    assert eventually(lambda: _outcome(cloud, execution), "the end of the purge") == "SUCCEEDED"
    assert _rows_of(cloud, chat_id, set()) == {}


def _rows_of(cloud: Cloud, chat_id: str, run_ids: set[str]) -> dict[str, list[Row]]:
    """What the tables hold of a chat, by table; tables without any are left out."""
    found = {
        "chats": [row for row in cloud.rows("chats") if row["chat_id"] == chat_id],
        "messages": [row for row in cloud.rows("messages") if row["chat_id"] == chat_id],
        "runs": [row for row in cloud.rows("runs") if row.get("chat_id") == chat_id],
        "checkpoints": [row for row in cloud.rows("checkpoints") if row["run_id"] in run_ids],
    }
    return {table: rows for table, rows in found.items() if rows}


def _purge_of(cloud: Cloud, chat_id: str) -> str:
    """The one execution of the state machine for this chat."""
    executions = cloud.states.list_executions(
        stateMachineArn=cloud.outputs["PurgeStateMachineArn"]
    )["executions"]
    (found,) = [e["executionArn"] for e in executions if e["name"] == f"purge-{chat_id}"]
    return found


def _outcome(cloud: Cloud, execution: str) -> str | None:
    status = cloud.states.describe_execution(executionArn=execution)["status"]
    return None if status == "RUNNING" else status
