"""What the client makes of what it hears, and what it says to that. On a virtual clock."""

import asyncio

import pytest

from chat.client import Answer, Client, Refused
from tests.unit.chat.frames import delta, ended, error, queued, started
from tests.unit.chat.line import Said, actions, on_a_line


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


def test_a_message_that_is_too_long_is_not_said() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "x" * 40_000)
        assert (said, client.unanswered) == ([], [])
        with pytest.raises(Refused, match="text_too_long"):
            await answer.until_admitted()

    on_a_line(story)


def test_a_run_that_is_not_there_is_followed_no_more() -> None:
    problems: list[str] = []

    async def story(client: Client, said: Said) -> None:
        answer = client.follow("r_9")
        assert client.follow("r_9") is answer
        assert [frame["offset"] for frame in said] == [0]
        waiting = asyncio.create_task(answer.until_over())
        await asyncio.sleep(0)
        client.receive(error("busy", "r_9"))
        assert client.unanswered == ["r_9"]
        client.receive(error("run_not_found", "r_9"))
        with pytest.raises(Refused, match="run_not_found"):
            await waiting
        assert client.unanswered == []

    on_a_line(story, on_problem=lambda problem: problems.append(problem.code))
    assert problems == []


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


def test_the_next_connection_alone_is_spoken_to() -> None:
    async def story(client: Client, said: Said) -> None:
        client.disconnect()
        client.send("m_1", "c_1", "Hello")
        client.follow("r_2")
        client.cancel("r_2")
        await asyncio.sleep(300)
        assert said == []
        later: Said = []
        client.connect(later.append)
        assert later == [
            {"action": "send", "chat_id": "c_1", "message_id": "m_1", "text": "Hello"},
            {"action": "attach", "run_id": "r_2", "offset": 0, "epoch": 0},
            {"action": "cancel", "run_id": "r_2"},
        ]
        assert said == []

    on_a_line(story)


def test_a_run_that_is_over_is_not_stopped() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(ended("completed", 0))
        client.receive(started())
        said.clear()
        client.cancel("r_1")
        await asyncio.sleep(300)
        assert said == []

    on_a_line(story)


def test_a_pong_is_no_news() -> None:
    async def story(client: Client, said: Said) -> None:
        client.receive({"type": "pong"})
        assert (client.unanswered, client.answers) == ([], [])

    on_a_line(story)


def test_what_was_refused_may_be_tried_again_under_its_id() -> None:
    async def story(client: Client, said: Said) -> None:
        refused = client.send("m_1", None, "Hello")
        client.receive(error("too_many_active_runs", "m_1"))
        again = client.send("m_1", None, "Hello")
        assert again is not refused
        assert client.answers == [again]
        for frame in (started(), delta(0, "Hi"), ended("completed", 2)):
            client.receive(frame)
        await again.until_over()
        assert (again.text, again.refused) == ("Hi", None)

    on_a_line(story)


def test_an_end_ends_every_wait() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        waits = [answer.until_started(), answer.until_length(100), answer.until_admitted()]
        waiting = asyncio.gather(*waits)
        await asyncio.sleep(1)
        client.receive(queued())
        client.receive(ended("cancelled", 0))
        async with asyncio.timeout(1):
            await waiting

    on_a_line(story)


def test_what_never_started_has_no_moment_of_it() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        for frame in (queued(), ended("cancelled", 0)):
            client.receive(frame)
        assert answer.is_over
        assert (answer.started_ms, answer.first_text_ms) == (0, 0)

    on_a_line(story)


def test_what_is_told_after_the_end_is_no_end() -> None:
    clock = iter(range(1, 100))
    ends: list[str] = []

    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        for frame in (started(), ended("completed", 0), ended("completed", 0)):
            client.receive(frame)
        assert answer.ended_ms == 3

    on_a_line(
        story,
        now_ms=lambda: float(next(clock)),
        on_over=lambda transcript: ends.append(transcript.run_id),
    )
    assert ends == ["r_1"]
