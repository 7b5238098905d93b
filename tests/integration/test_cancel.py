"""Cancelling, by both ways and in every state: queued, streaming, over."""

import pytest

from tests.busy import BusyEngine
from tests.cloud import Cloud
from tests.person import Answer, Line, Person

pytestmark = pytest.mark.integration

CANCEL_S = 3.0
"""A control message and an engine step. Below the five seconds after which a worker would come upon
the note on the run by itself: the message is what has to be quick."""


def _stored_as_seen(person: Person, answer: Answer) -> None:
    """A stopped answer is kept up to where its viewers saw it, and its chat is free again."""
    assert answer.end is not None
    assert answer.end["type"] == "run.cancelled"
    run = person.ended_run(answer.run_id)
    assert (run["status"], run["finish_reason"]) == ("cancelled", "cancelled")
    stored = person.stored_answer(run["chat_id"])
    assert stored["text"] == answer.text
    assert stored["finish_reason"] == "cancelled"
    assert person.get(f"/chats/{run['chat_id']}")["active_run"] is None
    assert person.usage()["reserved_tokens"] == 0


def test_cancel_of_a_streaming_run_over_the_socket(alice: Person) -> None:
    with alice.line() as line:
        answer = line.ask("Please count to 500.")
        line.until_length(answer, 60)
        line.say("cancel", run_id=answer.run_id)
        line.finish(answer, deadline_s=CANCEL_S)
    assert answer.text
    assert not answer.text.endswith("500.")
    _stored_as_seen(alice, answer)


def test_cancel_of_a_streaming_run_over_http(alice: Person) -> None:
    with alice.line() as line:
        answer = line.ask("Please count to 500.")
        line.until_length(answer, 60)
        run = alice.post(f"/runs/{answer.run_id}/cancel", status=202)
        assert run["status"] == "running"
        line.finish(answer, deadline_s=CANCEL_S)
    _stored_as_seen(alice, answer)


def test_cancel_frees_the_engines_slot(alice: Person) -> None:
    """What was generated stops with the cancel: the engine is not left to finish in silence."""
    with alice.line() as line:
        answer = line.ask("Please count to 500.")
        line.until_length(answer, 60)
        line.say("cancel", run_id=answer.run_id)
        line.finish(answer, deadline_s=CANCEL_S)
    # A token each 20 ms: five hundred numbers would be over a thousand.
    assert alice.ended_run(answer.run_id)["usage"]["output_tokens"] < 300


def test_cancel_of_a_finished_run_tells_how_it_ended(alice: Person) -> None:
    with alice.line() as line:
        answer = line.ask("Please count to 5.")
        completed = line.finish(answer)
        line.say("cancel", run_id=answer.run_id)
        again = line.answers[answer.run_id] = Answer(answer.run_id, answer.text, answer.epoch)
        line.finish(again)
    assert again.end == completed
    run = alice.post(f"/runs/{answer.run_id}/cancel", status=200)
    assert run["status"] == "completed"


@pytest.mark.local("takes all slots of workers whose number it knows")
@pytest.mark.usefixtures("busy_engine")
def test_cancel_of_a_queued_run_ends_it_at_once(alice: Person, cloud: Cloud) -> None:
    with alice.line() as line:
        by_socket = line.ask("This one has to wait.")
        line.say("cancel", run_id=by_socket.run_id)
        line.finish(by_socket, deadline_s=5)
        _nothing_was_made(alice, by_socket, line)
    by_http = alice.send("This one has to wait, too.")
    ended = alice.post(f"/runs/{by_http['run_id']}/cancel", status=200)
    assert ended["status"] == "cancelled"
    assert ended["usage"]["output_tokens"] == 0
    assert [m["role"] for m in alice.messages(by_http["chat_id"])] == ["user"]
    usage = alice.usage()
    assert (usage["used_tokens"], usage["reserved_tokens"], usage["active_runs"]) == (0, 0, 0)
    assert cloud.run(by_http["run_id"])["epoch"] == 0


def _nothing_was_made(person: Person, answer: Answer, line: Line) -> None:
    assert answer.types == ["run.queued", "run.cancelled"]
    assert answer.end is not None
    assert (answer.end["length"], answer.end["message_id"]) == (0, None)
    # The chat can be gone on with.
    run = person.get(f"/runs/{answer.run_id}")
    assert person.get(f"/chats/{run['chat_id']}")["active_run"] is None
    assert line.is_alive()


@pytest.mark.local("takes all slots of workers whose number it knows")
def test_a_queued_run_is_told_of_when_attached_to_and_goes_on_when_a_slot_is_free(
    alice: Person, busy_engine: BusyEngine
) -> None:
    with alice.line() as line:
        answer = line.ask("My dog is called Biscuit.")
        assert answer.types == ["run.queued"]
        with alice.line() as other:
            watched = other.attach(answer.run_id)
            other.hear_until(lambda frame: frame["type"] == "run.queued", "run.queued")
            busy_engine.stop()
            other.finish(watched)
        line.finish(answer)
    assert watched.text == answer.text
    assert "Biscuit" in answer.text
