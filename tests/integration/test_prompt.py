"""The whole way of a prompt on the local cloud: over WebSocket, over HTTP, and what is kept of it."""

from collections.abc import Callable

import pytest

from tests.cloud import Cloud, eventually
from tests.person import Person, new_message_id

pytestmark = pytest.mark.integration

COUNTED = "The demo engine counts to 60: " + ", ".join(str(n) for n in range(1, 61)) + "."


def test_a_prompt_is_answered_and_what_was_seen_is_what_is_stored(alice: Person) -> None:
    message_id = new_message_id()
    with alice.line() as line:
        answer = line.ask("Please count to 60.", message_id=message_id)
        line.finish(answer)
    assert answer.end is not None
    assert answer.end["type"] == "run.completed"
    assert answer.end["finish_reason"] == "stop"
    assert answer.text == COUNTED
    # run.queued comes from another machine than the rest: only its place may differ.
    told = [kind for kind in answer.types if kind != "run.queued"]
    assert answer.types.count("run.queued") == 1
    assert told == ["run.started", *["run.delta"] * len(answer.deltas), "run.completed"]
    assert len(answer.deltas) >= 3

    run = alice.get(f"/runs/{answer.run_id}")
    question, stored = alice.messages(run["chat_id"])
    assert (question["message_id"], question["role"]) == (message_id, "user")
    assert question["text"] == "Please count to 60."
    assert stored["text"] == answer.text
    assert answer.end["length"] == len(stored["text"])
    assert stored["message_id"] == answer.end["message_id"] == run["answer_message_id"]
    assert stored["run_id"] == answer.run_id
    assert stored["usage"] == answer.end["usage"] == run["usage"]
    assert (run["status"], run["epoch"]) == ("completed", 1)
    assert run["created_at"] <= run["started_at"] <= run["ended_at"]


def test_usage_is_the_engines_and_is_what_is_charged(alice: Person) -> None:
    before = alice.usage()
    assert before["used_tokens"] == 0
    run = alice.ended_run(alice.send("Please count to 60.")["run_id"])
    usage = run["usage"]
    # Sixty numbers and their commas, and the prompt with its system part.
    assert usage["output_tokens"] > 60
    assert usage["input_tokens"] > usage["cached_tokens"] >= 0
    after = alice.usage()
    uncached = usage["input_tokens"] - usage["cached_tokens"]
    assert after["used_tokens"] == uncached + 2 * usage["output_tokens"]
    assert (after["reserved_tokens"], after["active_runs"]) == (0, 0)
    assert after["window_ends_at"] > run["created_at"]


def test_an_answer_comes_from_the_turns_before(alice: Person) -> None:
    with alice.line() as line:
        first = line.ask("My dog is called Biscuit.")
        line.finish(first)
        chat_id = first.end["chat_id"] if first.end else ""
        line.finish(line.ask("Please count to 20.", chat_id))
        third = line.ask("What is my dog called?", chat_id)
        line.finish(third)
    assert "Biscuit" in third.text
    roles = [message["role"] for message in alice.messages(chat_id)]
    assert roles == ["user", "assistant"] * 3


def test_another_chat_knows_nothing_of_it(alice: Person) -> None:
    with alice.line() as line:
        line.finish(line.ask("My dog is called Biscuit."))
        elsewhere = line.ask("What is my dog called?")
        line.finish(elsewhere)
    assert "Biscuit" not in elsewhere.text


def test_a_prompt_without_a_socket_is_answered_all_the_same(alice: Person) -> None:
    sent = alice.send("Please count to 20.")
    assert sent["status"] == "queued"
    run = alice.ended_run(sent["run_id"])
    assert run["status"] == "completed"
    assert alice.stored_answer(run["chat_id"])["text"].endswith("19, 20.")


def test_messages_are_paged_from_the_newest_on_in_reading_order(alice: Person) -> None:
    chat_id = alice.post("/chats", {"title": "Paging"})["chat_id"]
    for number in range(3):
        alice.ended_run(alice.send(f"Statement number {number}.", chat_id)["run_id"])
    everything = alice.messages(chat_id)
    assert len(everything) == 6
    pages = []
    cursor = None
    while True:
        page = alice.get(
            f"/chats/{chat_id}/messages", limit=2, **({"cursor": cursor} if cursor else {})
        )
        pages.append(page["messages"])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [len(page) for page in pages] == [2, 2, 2]
    assert pages[0][0]["text"] == "Statement number 2."
    assert [message for page in reversed(pages) for message in page] == everything


def test_chats_are_listed_by_their_latest_activity_in_pages(alice: Person) -> None:
    chat_ids = [alice.post("/chats", {"title": f"Chat {n}"})["chat_id"] for n in range(3)]
    alice.ended_run(alice.send("This one is the latest.", chat_ids[0])["run_id"])
    first = alice.get("/chats", limit=2)
    second = alice.get("/chats", limit=2, cursor=first["next_cursor"])
    listed = [chat["chat_id"] for chat in first["chats"] + second["chats"]]
    assert listed == [chat_ids[0], chat_ids[2], chat_ids[1]]
    assert second["next_cursor"] is None


def test_a_title_can_be_given_and_changed(alice: Person) -> None:
    chat = alice.post("/chats", {})
    assert chat["title"] is None
    renamed = alice.patch(f"/chats/{chat['chat_id']}", {"title": "Hunde 🐕"})
    assert renamed["title"] == "Hunde 🐕"
    assert alice.get(f"/chats/{chat['chat_id']}") == renamed
    assert [each["title"] for each in alice.get("/chats")["chats"]] == ["Hunde 🐕"]


def test_text_arrives_as_it_was_sent(alice: Person) -> None:
    """No character is repaired, normalised or lost on its way through JSON, SQS, DynamoDB, gRPC."""
    text = 'Zoë’s dog e\u0301: "\\" <|im_end|> 👩‍👩‍👧 \u200b\ttab\r\nnew line 漢字 &amp; </b>'
    with alice.line() as line:
        answer = line.ask(text)
        line.finish(answer)
        chat_id = answer.end["chat_id"] if answer.end else ""
    question, stored = alice.messages(chat_id)
    assert question["text"] == text
    assert stored["text"] == answer.text


def test_a_chat_shows_its_active_run(alice: Person) -> None:
    run = alice.send("Please count to 200.")
    shown = alice.get(f"/chats/{run['chat_id']}")["active_run"]
    assert shown["run_id"] == run["run_id"]
    assert shown["message_id"] == run["message_id"]
    # Queued still, or running already: both are stopped by it.
    assert alice.http.post(f"/runs/{run['run_id']}/cancel").is_success
    alice.ended_run(run["run_id"])
    assert alice.get(f"/chats/{run['chat_id']}")["active_run"] is None


def test_the_tier_of_the_token_sets_the_limits(person: Callable[[str], Person]) -> None:
    limits = {tier: person(tier).get("/me") for tier in ("free", "plus", "pro")}
    assert [limits[tier]["tier"] for tier in limits] == ["free", "plus", "pro"]
    budgets = [account["usage"]["budget_tokens"] for account in limits.values()]
    assert budgets == sorted(set(budgets))


def test_an_answer_leaves_nothing_in_its_lane(alice: Person, cloud: Cloud) -> None:
    alice.ended_run(alice.send("Please count to 5.")["run_id"])
    lane = f"{cloud.outputs['LaneBaseUrl']}-plus-0"

    def is_empty() -> bool:
        counts = cloud.sqs.get_queue_attributes(
            QueueUrl=lane,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )["Attributes"]
        return all(count == "0" for count in counts.values())

    eventually(is_empty, "an empty lane")
