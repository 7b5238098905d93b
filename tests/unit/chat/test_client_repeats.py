"""When the client says again what has no answer: soon enough, and never in a storm. On a virtual clock."""

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.client import Client, Refused
from chat.transcript import Frame
from tests.unit.chat.frames import delta, ended, error, queued, started
from tests.unit.chat.line import Said, actions, on_a_line
from virtual_clock.loop import run


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


@pytest.mark.parametrize(
    ("action", "first_s", "most_s"), [("send", 8, 60), ("attach", 5, 120), ("cancel", 5, 30)]
)
def test_each_repeat_waits_around_twice_as_long_up_to_its_most(
    action: str, first_s: float, most_s: float
) -> None:
    second_s: set[float] = set()
    for seed in range(5):
        moments_s: list[float] = []

        async def play(seed: int = seed, moments_s: list[float] = moments_s) -> None:
            client, loop = Client(rng=random.Random(seed)), asyncio.get_running_loop()
            begun_s = loop.time()

            def say(frame: Frame) -> None:
                if frame["action"] == action:
                    moments_s.append(loop.time() - begun_s)

            living = asyncio.create_task(client.live())
            client.connect(say)
            client.send("m_2", "c_2", "Hello")
            client.follow("r_1")
            client.cancel("r_1")
            await asyncio.sleep(1_000)
            living.cancel()

        run(play())
        second_s.add(moments_s[1])
        for number, (one_s, next_s) in enumerate(pairwise(moments_s)):
            around_s = min(most_s, first_s * 2.0**number)
            assert 0.75 * around_s <= next_s - one_s <= 1.25 * around_s + 0.5
    assert len(second_s) > 1


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


def test_another_attempt_is_news_though_it_adds_nothing_yet() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(started())
        client.receive(delta(0, "Hi"))
        said.clear()
        await asyncio.sleep(20)
        client.receive(started(2, 2))
        await asyncio.sleep(29)
        assert said == []
        await asyncio.sleep(2)
        assert actions(said) == ["attach"]

    on_a_line(story)


def test_what_is_no_news_does_not_put_the_question_off() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(started())
        client.receive(delta(0, "Hi"))
        said.clear()
        await asyncio.sleep(20)
        client.receive(delta(0, "Hi"))
        await asyncio.sleep(11)
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


def test_a_server_that_wants_to_be_asked_at_once_is_not_believed() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(queued(look_again_s=0))
        said.clear()
        await asyncio.sleep(0.9)
        assert said == []
        await asyncio.sleep(0.7)
        assert actions(said) == ["attach"]

    on_a_line(story)


def test_a_late_word_of_an_earlier_wait_says_nothing_of_this_one() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.receive(started())
        client.receive(queued(epoch=1, look_again_s=30.0))
        client.receive(queued(epoch=0, look_again_s=5.0))
        said.clear()
        await asyncio.sleep(29)
        assert said == []
        await asyncio.sleep(2)
        assert actions(said) == ["attach"]

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


@pytest.mark.parametrize("code", ["busy", "internal_error"])
def test_a_refusal_that_passes_is_got_over_and_another_is_final(code: str) -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        client.receive(error(code, "m_1"))
        assert answer.refused is None
        await asyncio.sleep(2)
        assert actions(said) == ["send", "send"]
        waiting = asyncio.create_task(answer.until_over())
        await asyncio.sleep(0)
        client.receive(error("budget_exhausted", "m_1"))
        with pytest.raises(Refused, match="budget_exhausted"):
            await waiting

    on_a_line(story)


def test_what_the_gateway_could_not_run_is_said_again_soon_and_later_each_time() -> None:
    async def story(client: Client, said: Said) -> None:
        client.follow("r_1")
        client.cancel("r_1")
        client.send("m_2", "c_2", "Hello")
        assert actions(said) == ["attach", "cancel", "send"]
        for soonest_s, latest_s in ((0.75, 1.75), (1.5, 3.0), (3.0, 5.5)):
            said.clear()
            client.ask_again_sooner()
            await asyncio.sleep(soonest_s - 0.01)
            assert said == []
            await asyncio.sleep(latest_s - soonest_s)
            assert sorted(actions(said)) == ["attach", "cancel", "send"]

    on_a_line(story)


def test_what_is_answered_is_not_asked_again_when_the_gateway_speaks() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        client.follow("r_1")
        client.receive(started())
        client.receive(delta(0, "Hi"))
        said.clear()
        client.ask_again_sooner()
        await asyncio.sleep(20)
        assert said == []

    on_a_line(story)


def test_the_gateway_puts_nothing_off() -> None:
    async def story(client: Client, said: Said) -> None:
        client.send("m_1", None, "Hello")
        for _ in range(4):
            client.ask_again_sooner()
            await asyncio.sleep(0.5)
        assert actions(said) == ["send", "send"]

    on_a_line(story)


@given(st.lists(st.floats(0, 20), max_size=60))
def test_however_often_the_gateway_speaks_nothing_is_said_in_a_storm(pauses_s: list[float]) -> None:
    """It fails what it is asked, and says so at any moments besides."""
    moments_s: dict[str, list[float]] = {}

    async def play() -> None:
        client, loop = Client(rng=random.Random(1)), asyncio.get_running_loop()

        def say(frame: Frame) -> None:
            moments_s.setdefault(frame["action"], []).append(loop.time())
            loop.call_soon(client.ask_again_sooner)

        living = asyncio.create_task(client.live())
        client.connect(say)
        client.follow("r_1")
        client.cancel("r_1")
        client.send("m_2", "c_2", "Hello")
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            client.ask_again_sooner()
        living.cancel()

    run(play())
    for said_s in moments_s.values():
        for number, (one_s, next_s) in enumerate(pairwise(said_s)):
            assert next_s - one_s >= 0.75 * min(30.0, 2.0**number)


def test_busy_again_and_again_is_an_answer() -> None:
    async def story(client: Client, said: Said) -> None:
        answer = client.send("m_1", None, "Hello")
        for _ in range(4):
            client.receive(error("busy", "m_1"))
        assert client.unanswered == ["m_1"]
        client.receive(error("busy", "m_1"))
        assert answer.refused is not None
        assert client.unanswered == []

    on_a_line(story)
