"""The demo's parts, played to a server that answers at once: never more prompts than are allowed."""

import random
from typing import cast

import pytest

from chat.api import HttpApi
from chat.client import Client
from chat.transcript import Frame
from local import demo
from local.demo import Part, Player, Stage


def _answered_at_once(client: Client) -> None:
    """Every send's run is over as soon as it was said."""

    def say(frame: Frame) -> None:
        if frame["action"] != "send":
            return
        message_id = frame["message_id"]
        run = {"run_id": f"r_{message_id}", "chat_id": "c_1", "message_id": message_id, "epoch": 1}
        client.receive({"type": "run.started", "offset": 0, **run})
        client.receive(
            {"type": "run.completed", "length": 0, "usage": None, "finish_reason": "stop", **run}
        )

    client.connect(say)


@pytest.mark.parametrize("part", [demo.floods, demo.follows_up, demo.drops_in, demo.asks_briefly])
async def test_a_part_ends_when_the_prompts_are_used_up(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_MEAN_PAUSE_S", "_FOLLOW_UP_PAUSE_S"):
        monkeypatch.setattr(demo, name, 0.000_1)
    stage, client = Stage(prompts=9), Client()
    _answered_at_once(client)
    await part(Player(client, cast(HttpApi, None), stage, random.Random(1)))
    assert (stage.sent, stage.prompts) == (9, 0)
