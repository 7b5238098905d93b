"""Disconnecting is not stopping: attaching, reconnecting and watching from several places."""

import pytest

from tests.person import Answer, Person, new_message_id

pytestmark = pytest.mark.integration


def test_a_second_connection_attaches_in_mid_stream_at_its_exact_place(alice: Person) -> None:
    with alice.line() as first, alice.line() as second:
        answer = first.ask("Please count to 150.")
        first.until_length(answer, 60)
        # From the beginning, and with no notion of the epoch.
        watched = second.attach(answer.run_id)
        second.finish(watched)
        first.finish(answer)
    assert watched.text == answer.text
    assert watched.text.endswith("149, 150.")
    # It came in while the answer was growing, so it was told in pieces.
    assert watched.types[0] == "run.started"
    assert len(watched.deltas) > 2


def test_closing_the_socket_in_mid_stream_loses_nothing(alice: Person) -> None:
    with alice.line() as line:
        seen = line.ask("Please count to 150.")
        line.until_length(seen, 60)
    with alice.line() as line:
        # Strictly: the first delta has to start exactly where the closed socket's text ended.
        answer = line.attach(seen.run_id, seen)
        line.finish(answer)
    assert answer.types[0] == "run.started"
    assert "run.rewound" not in answer.types
    run = alice.get(f"/runs/{seen.run_id}")
    assert (run["status"], run["epoch"]) == ("completed", 1)
    assert answer.text == alice.stored_answer(run["chat_id"])["text"]
    assert answer.text.endswith("149, 150.")


def test_a_run_ends_though_nobody_is_there_and_can_be_attached_to_afterwards(alice: Person) -> None:
    with alice.line() as line:
        seen = line.ask("Please count to 80.")
        line.until_length(seen, 40)
    run = alice.ended_run(seen.run_id)
    assert run["status"] == "completed"
    stored = alice.stored_answer(run["chat_id"])["text"]
    with alice.line() as line:
        whole = line.attach(seen.run_id)
        line.finish(whole)
        rest = line.attach(seen.run_id, seen)
        line.finish(rest)
    assert whole.text == rest.text == stored
    assert whole.end == rest.end
    assert rest.deltas[0]["offset"] == len(seen.text)


def test_attaching_with_more_than_there_is_cuts_back(alice: Person) -> None:
    run = alice.ended_run(alice.send("Please count to 20.")["run_id"])
    with alice.line() as line:
        answer = line.attach(run["run_id"], Answer(run["run_id"], "x" * 5_000, epoch=1))
        line.finish(answer)
    stored = alice.stored_answer(run["chat_id"])["text"]
    assert "run.rewound" in answer.types
    assert len(answer.text) == len(stored)


def test_two_windows_see_the_same(alice: Person) -> None:
    with alice.line() as left, alice.line() as right:
        asked = left.ask("Please count to 100.")
        watched = right.attach(asked.run_id)
        left.finish(asked)
        right.finish(watched)
    assert asked.text == watched.text
    assert asked.end == watched.end


def test_one_connection_watches_several_chats_at_once(alice: Person) -> None:
    with alice.line() as line:
        answers = [line.ask(f"Please count to {last}.") for last in (40, 50, 60)]
        for answer in answers:
            line.finish(answer)
    assert [answer.text[-4:] for answer in answers] == [" 40.", " 50.", " 60."]


def test_a_repeated_send_replays_the_answer_and_makes_no_second_one(alice: Person) -> None:
    message_id = new_message_id()
    with alice.line() as line:
        first = line.ask("Please count to 100.", message_id=message_id)
        line.until_length(first, 40)
    with alice.line() as line:
        # As a client does that has not heard whether its send was taken.
        again = line.ask("Please count to 100.", message_id=message_id)
        assert again.run_id == first.run_id
        line.finish(again)
    assert again.text.startswith(first.text)
    run = alice.get(f"/runs/{first.run_id}")
    assert run["epoch"] == 1
    chat = alice.messages(run["chat_id"])
    assert [message["role"] for message in chat] == ["user", "assistant"]
    assert chat[1]["text"] == again.text
    usage = run["usage"]
    charged = usage["input_tokens"] - usage["cached_tokens"] + 2 * usage["output_tokens"]
    assert alice.usage()["used_tokens"] == charged
    # Over HTTP too, when it is long over.
    body = {"message_id": message_id, "text": "Please count to 100."}
    repeated = alice.post(f"/chats/{run['chat_id']}/messages", body, status=200)
    assert repeated == run
    assert alice.footprint()[:3] == (1, 2, 1)
