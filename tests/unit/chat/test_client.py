"""What the client says, when it says it again, and what it makes of the answers. On a virtual clock."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chat.client import Answer, Client, Refused
from chat.transcript import Frame
from tests.unit.chat.frames import delta, ended, error, queued, started
from virtual_clock.loop import run

Said = list[Frame]


def on_a_line(story: Callable[[Client, Said], Coroutine[Any, Any, None]], **options: Any) -> Client:
    """Play it with a client that is connected; what it says is kept."""
    said: Said = []
    client = Client(rng=random.Random(1), **options)

    async def play() -> None:
        living = asyncio.create_task(client.live())
        client.connect(said.append)
        await story(client, said)
        living.cancel()

    run(play())
    return client


def actions(said: Said) -> list[str]:
    return [frame["action"] for frame in said]


def test_a_send_is_repeated_until_a_frame_names_its_message() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        await asyncio.sleep(60)
        assert actions(said) == ["send"] * len(said)
        assert 3 <= len(said) <= 5
        assert said[0] == said[-1]
        client.receive(queued())
        client.receive(delta(0, "Hi"))
        client.receive(ended("completed", 2))
        told = len(said)
        await asyncio.sleep(300)
        assert (answer.text, answer.run_id, answer.is_over, len(said)) == ("Hi", "r_1", True, told)
        assert client.unanswered == []

    on_a_line(story)


def test_a_new_connection_says_again_what_is_unanswered() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(started())
        client.receive(delta(0, "Hi"))
        client.send("m_2", "c_2", "And you?")
        client.cancel("r_1")
        client.disconnect()
        said.clear()
        client.connect(said.append)
        assert actions(said) == ["send", "attach", "cancel"]
        assert (said[0]["message_id"], said[1]["offset"], said[1]["epoch"]) == ("m_2", 2, 1)

    on_a_line(story)


def test_a_gap_is_asked_for_once() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(started())
        said.clear()
        client.receive(delta(2, "llo"))
        client.receive(delta(5, "!"))
        assert [frame["offset"] for frame in said] == [0]
        client.receive(delta(0, "He"))
        client.receive(delta(3, "lo"))
        assert [frame["offset"] for frame in said] == [0, 2]

    on_a_line(story)


def test_silence_is_asked_about() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(started())
        said.clear()
        await asyncio.sleep(29)
        assert said == []
        await asyncio.sleep(2)
        assert actions(said) == ["attach"]

    on_a_line(story)


@pytest.mark.parametrize(("looks", "asked"), [(True, ["attach"]), (False, [])])
def test_a_waiting_run_is_looked_at_when_the_server_says(looks: bool, asked: list[str]) -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(queued(look_again_s=5.0))
        said.clear()
        await asyncio.sleep(4)
        assert said == []
        await asyncio.sleep(2)
        assert actions(said) == asked

    on_a_line(story, looks_again=looks)


def test_a_refusal_that_passes_is_got_over_and_another_is_final() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        client.receive(error("busy", "m_1"))
        assert answer.refused is None
        await asyncio.sleep(2)
        assert actions(said) == ["send", "send"]
        waiting = asyncio.create_task(answer.until_over())
        await asyncio.sleep(0)
        client.receive(error("budget_exhausted", "m_1"))
        with pytest.raises(Refused, match="budget_exhausted"):
            await waiting

    on_a_line(story)


def test_busy_again_and_again_is_an_answer() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        for _ in range(5):
            client.receive(error("busy", "m_1"))
        assert answer.refused is not None
        assert client.unanswered == []

    on_a_line(story)


def test_a_message_that_is_too_long_is_not_said() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "x" * 40_000)
        assert (said, client.unanswered) == ([], [])
        with pytest.raises(Refused, match="text_too_long"):
            await answer.until_admitted()

    on_a_line(story)


def test_a_cancel_is_repeated_until_the_end_is_told() -> None:
    ended_runs: list[str] = []

    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(started())
        said.clear()
        client.cancel("r_1")
        client.cancel("r_1")
        await asyncio.sleep(8)
        assert actions(said) == ["cancel", "cancel"]
        client.receive(ended("cancelled", 0))
        client.cancel("r_1")
        await asyncio.sleep(60)
        assert len(said) == 2

    on_a_line(story, on_over=lambda transcript: ended_runs.append(transcript.run_id))
    assert ended_runs == ["r_1"]


def test_a_run_that_is_not_there_is_followed_no_more() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.follow("r_9")
        assert client.follow("r_9") is answer
        assert [frame["offset"] for frame in said] == [0]
        client.receive(error("run_not_found", "r_9"))
        with pytest.raises(Refused):
            await answer.until_over()
        assert client.unanswered == []

    on_a_line(story)


def test_what_is_nobodys_answer_is_a_problem_of_its_own() -> None:
    problems: list[str] = []

    async def story(client: Client, said: Said) -> None:
        client.receive(error("frame_not_json", None))

    on_a_line(story, on_problem=lambda problem: problems.append(problem.code))
    assert problems == ["frame_not_json"]


def test_moments_are_those_of_what_is_new() -> None:
    clock = iter(range(1, 100))
    moments: list[float] = []

    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        answer.on_new_text = moments.append
        for frame in (queued(), started(), delta(0, "He"), delta(0, "He"), delta(2, "y")):
            client.receive(frame)
        client.receive(ended("completed", 3))
        told: Answer = answer
        assert (told.asked_ms, told.admitted_ms, told.started_ms) == (1, 2, 3)
        assert (told.first_text_ms, told.new_text_ms, told.ended_ms) == (4, 6, 7)

    on_a_line(story, now_ms=lambda: float(next(clock)))
    assert moments == [4.0, 6.0]


def test_waits_are_bounded_where_that_is_wanted() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        with pytest.raises(TimeoutError):
            await answer.until_over()

    on_a_line(story, timeout_s=120.0)


def test_quiet_is_when_everything_is_answered() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        quiet = asyncio.create_task(client.quiet())
        for frame in (started(), delta(0, "Hi"), ended("failed", 2)):
            await asyncio.sleep(1)
            assert not quiet.done()
            client.receive(frame)
        await quiet

    on_a_line(story)


def test_a_run_is_known_by_its_first_frame_and_its_message_by_a_later_one() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        client.receive(delta(0, "Hi"))
        assert (answer.text, client.unanswered) == ("", ["m_1", "r_1"])
        client.receive(started())
        assert (answer.text, client.unanswered) == ("Hi", ["r_1"])

    on_a_line(story)


def test_whoever_sent_it_and_whoever_follows_it_see_the_same() -> None:
    async def story(client: Client, said: Said) -> None:
        followed = client.follow("r_1")
        answer = client.send("m_1", None, "Hello")
        assert client.send("m_1", None, "Hello") is answer
        for frame in (started(), delta(0, "Hi"), ended("completed", 2)):
            client.receive(frame)
        await answer.until_over()
        await followed.until_over()
        assert answer.text == followed.text == "Hi"

    on_a_line(story)
