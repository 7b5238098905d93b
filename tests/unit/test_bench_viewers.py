"""A benchmark's viewer: it keeps the protocol, and counts what a strict one would complain of."""

import asyncio
from typing import Any

import pytest

from bench.cancel import sorted_within
from bench.viewers import Refused, Seen

RUN = {"run_id": "r_1", "epoch": 1}


def delta(offset: int, text: str, epoch: int = 1) -> dict[str, Any]:
    return {**RUN, "type": "run.delta", "offset": offset, "text": text, "epoch": epoch}


def test_text_in_order_is_neither_lost_nor_repeated() -> None:
    seen = Seen()
    assert seen.take(delta(0, "Hel"), 1.0)
    assert seen.take(delta(3, "lo"), 2.0)
    assert (seen.text, seen.repeated, seen.new_text_ms) == ("Hello", 0, 2.0)


def test_a_repeat_is_counted_and_cut() -> None:
    seen = Seen()
    seen.take(delta(0, "Hello"), 1.0)
    assert seen.take(delta(3, "lo you"), 2.0)
    assert (seen.text, seen.repeated) == ("Hello you", 2)
    assert seen.take(delta(0, "Hel"), 3.0)
    assert (seen.text, seen.repeated, seen.new_text_ms) == ("Hello you", 5, 2.0)


def test_a_gap_is_told_and_not_closed() -> None:
    seen = Seen()
    assert not seen.take(delta(3, "lo"), 1.0)
    assert not seen.take({**RUN, "type": "run.completed", "length": 5}, 2.0)
    assert (seen.text, seen.is_over()) == ("", False)


def test_a_rewind_is_counted_and_is_no_repeat() -> None:
    seen = Seen()
    seen.take(delta(0, "Hello"), 1.0)
    seen.take({"run_id": "r_1", "epoch": 2, "type": "run.rewound", "offset": 2}, 2.0)
    seen.take(delta(2, "llo", epoch=2), 3.0)
    # Nothing new yet: it has been there before.
    assert (seen.text, seen.rewound, seen.repeated, seen.new_text_ms) == ("Hello", 3, 0, 1.0)
    seen.take(delta(5, "!", epoch=2), 4.0)
    assert seen.new_text_ms == 4.0


def test_an_older_epoch_says_nothing() -> None:
    seen = Seen()
    seen.take(delta(0, "new", epoch=2), 1.0)
    assert seen.take(delta(3, "old", epoch=1), 2.0)
    assert seen.text == "new"


def test_each_rounds_slots_go_to_those_who_waited_first() -> None:
    assert sorted_within(2, [3.0, 1.0, 2.0, 4.0, 0.0]) == [1.0, 3.0, 2.0, 4.0, 0.0]


async def test_a_refusal_ends_every_wait() -> None:
    seen = Seen(message_id="m")
    waiting = asyncio.create_task(seen.until_length(1))
    await asyncio.sleep(0)
    async with seen.changed:
        seen.refused = "too_many_active_runs"
        seen.changed.notify_all()
    with pytest.raises(Refused, match="too_many_active_runs"):
        await waiting
