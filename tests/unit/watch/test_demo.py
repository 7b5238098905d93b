"""The demo's parts, played to a server of this process: never more prompts than are allowed, and what each
is there to show. On a virtual clock."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from chat.api import HttpApi, Problem
from chat.client import Client
from chat.transcript import Frame
from local import demo
from local.demo import Part, Player, Stage
from virtual_clock.loop import run

ANSWER_S = 5.0
TEXT = "x" * 200


@dataclass
class Server:
    """Its answers take a while; refuses: whether the send of this number is refused; sends,
    cancels: what came, and when; chat_ids: of the runs; deleted, gone: chats."""

    refuses: Callable[[int], bool] = lambda number: False
    sends: list[tuple[float, Frame]] = field(default_factory=list)
    cancels: list[tuple[float, str]] = field(default_factory=list)
    chat_ids: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    gone: frozenset[str] = frozenset()

    def played(self, part: Part, prompts: int) -> Stage:
        stage = Stage(prompts)

        async def play() -> None:
            async with asyncio.timeout(3_600):
                await part(self.player(stage))

        run(play())
        return stage

    def player(self, stage: Stage) -> Player:
        client = Client()
        client.connect(lambda frame: self._said(client, frame))
        return Player(client, cast(HttpApi, self), stage, random.Random(1))

    async def delete(self, chat_id: str) -> None:
        self.deleted.append(chat_id)
        if chat_id in self.gone:
            raise Problem("chat_not_found", 404, "")

    def _said(self, client: Client, frame: Frame) -> None:
        loop = asyncio.get_running_loop()
        if frame["action"] == "cancel":
            run_id = frame["run_id"]
            self.cancels.append((loop.time(), run_id))
            loop.call_soon(self._tell, client, run_id, self.chat_ids[run_id], "run.cancelled")
        elif frame["action"] == "send":
            message_id, number = frame["message_id"], len(self.sends)
            self.sends.append((loop.time(), frame))
            if self.refuses(number):
                problem = {"code": "too_many_active_runs", "message": "", "retry_at": None}
                error = {"type": "error", "ref": message_id, **problem}
                loop.call_soon(client.receive, error)
                return
            run_id, chat_id = f"r_{number}", frame["chat_id"] or f"c_{number}"
            self.chat_ids[run_id] = chat_id
            for kind, after_s in (("started", 1.0), ("delta", 2.0), ("completed", ANSWER_S)):
                told = (client, run_id, chat_id, f"run.{kind}", message_id)
                loop.call_later(after_s, self._tell, *told)

    @staticmethod
    def _tell(
        client: Client, run_id: str, chat_id: str, kind: str, message_id: str | None = None
    ) -> None:
        told = {"run_id": run_id, "chat_id": chat_id, "message_id": message_id, "epoch": 1}
        length = 0 if kind == "run.cancelled" else len(TEXT)
        end = {"length": length, "usage": None, "finish_reason": None}
        client.receive({"type": kind, "offset": 0, "text": TEXT, **told, **end})

    @property
    def chats(self) -> list[str | None]:
        return [frame["chat_id"] for _, frame in self.sends]


PARTS: list[Part] = [demo.floods, demo.follows_up, demo.drops_in, demo.asks_briefly]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("prompts", [0, 1, 9])
def test_a_part_ends_when_the_prompts_are_used_up(part: Part, prompts: int) -> None:
    server = Server()
    stage = server.played(part, prompts)
    assert (stage.sent, stage.prompts, stage.refused) == (prompts, 0, 0)
    assert len(server.sends) == prompts


@pytest.mark.parametrize("part", PARTS)
def test_what_is_refused_is_counted_and_ends_nothing(part: Part) -> None:
    server = Server(refuses=lambda number: number in (2, 5))
    assert server.played(part, 9).refused == 2
    assert len(server.sends) == 9


def test_who_floods_pauses_for_nothing_but_a_refusal() -> None:
    server = Server(refuses=lambda number: number == 1)
    server.played(demo.floods, 4)
    first_s = server.sends[0][0]
    # Each is admitted after a second, and not waited for.
    assert [moment_s - first_s for moment_s, _ in server.sends] == [0, 1, 2, 3]


@pytest.mark.parametrize("part", [demo.follows_up, demo.asks_briefly])
def test_a_chat_grows(part: Part) -> None:
    server = Server(refuses=lambda number: number == 2)
    server.played(part, 4)
    assert server.chats == [None, "c_0", "c_0", "c_0"]
    moments_s = [moment_s for moment_s, _ in server.sends]
    assert moments_s[1] - moments_s[0] > ANSWER_S


def test_every_third_answer_is_stopped_and_every_fourth_prompt_is_a_burst() -> None:
    server = Server()
    server.played(demo.drops_in, 12)
    texts = [frame["text"] for _, frame in server.sends]
    one, burst = "Please count to 60.", "Please count to 100."
    assert texts == [one] * 3 + [burst] * 6 + [one] * 3
    assert len({moment_s for moment_s, _ in server.sends[3:9]}) == 1
    # The third, and the sixth turn.
    assert [run_id for _, run_id in server.cancels] == ["r_2", "r_10"]
    assert server.cancels[0][0] - server.sends[2][0] == 2


def test_a_burst_takes_no_more_prompts_than_there_are() -> None:
    assert Server().played(demo.drops_in, 5).prompts == 0


def test_who_leaves_stops_what_is_being_made_and_deletes_his_chats() -> None:
    server = Server(gone=frozenset({"c_0"}))

    async def play() -> None:
        player = server.player(Stage(9))
        await player.over(player.ask("One"))
        player.ask("Two", "c_0")
        going = player.ask("Three")
        await going.until_started()
        begun_s = asyncio.get_running_loop().time()
        await player.stop()
        assert asyncio.get_running_loop().time() == begun_s
        assert player.client.unanswered == []
        await player.clear_away()

    run(play())
    assert sorted(run_id for _, run_id in server.cancels) == ["r_1", "r_2"]
    assert sorted(server.deleted) == ["c_0", "c_2"]


def test_who_leaves_waits_only_so_long() -> None:
    async def play() -> None:
        client = Client()
        client.connect(lambda frame: None)
        player = Player(client, cast(HttpApi, None), Stage(9), random.Random(1))
        player.ask("One")
        begun_s = asyncio.get_running_loop().time()
        await player.stop()
        assert asyncio.get_running_loop().time() - begun_s == 20

    run(play())
