"""What is read of a frame, and what is passed over."""

import json

import pytest

from chat import wire
from tests.unit.chat.frames import delta, ended, error, queued, started


@pytest.mark.parametrize(
    "frame",
    [
        queued(),
        queued(position=None),
        started(),
        delta(0, "é"),
        ended("completed", 3),
        ended("failed", 0),
        {**ended("cancelled", 0), "usage": None, "message_id": None},
        error("busy", None),
        {**error("budget_exhausted", "m_1"), "retry_at": "2026-11-28T12:00:00Z"},
        {"type": "pong"},
    ],
)
def test_a_known_frame_is_read_as_it_was_said(frame: dict[str, object]) -> None:
    read = wire.read(json.dumps({**frame, "told_by_a_newer_server": 1}))
    assert read is not None
    assert {name: value for name, value in frame.items() if name in read} == read
    assert frame.keys() - read.keys() <= {"finish_reason"}


@pytest.mark.parametrize(
    "said",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        '{"message": "Internal server error", "connectionId": "x"}',
        '{"type": "run.paused", "run_id": "r_1"}',
        '{"type": 3}',
        json.dumps({**delta(0, "x"), "offset": -1}),
        json.dumps({**delta(0, "x"), "offset": True}),
        json.dumps({**delta(0, "x"), "text": None}),
        json.dumps({**started(), "chat_id": None}),
    ],
)
def test_whatever_else_comes_is_passed_over(said: str) -> None:
    assert wire.read(said) is None


def test_what_may_be_null_may_be_left_out() -> None:
    assert wire.read('{"type": "error", "code": "busy", "message": "Later."}') == {
        "type": "error",
        "code": "busy",
        "message": "Later.",
        "ref": None,
        "retry_at": None,
    }


def test_a_frame_fits_by_its_bytes() -> None:
    rest = len(wire.encode({"action": "send", "text": ""}))
    frame = {"action": "send", "text": "é" * 16_000 + "x" * (wire.MAX_FRAME_BYTES - 32_000 - rest)}
    assert wire.fits(frame)
    assert not wire.fits({**frame, "text": f"{frame['text']}x"})


def test_half_of_a_pair_is_the_servers_to_refuse() -> None:
    assert wire.fits({"action": "send", "text": "\ud83e"})


@pytest.mark.parametrize(
    ("said", "is_so"),
    [
        ('{"message": "Internal server error", "connectionId": "x", "requestId": "y"}', True),
        (b'{"message": "Forbidden"}', True),
        ('{"type": "error", "message": "No."}', False),
        ('{"type": null, "message": "No."}', False),
        ('{"message": 3}', False),
        ("{}", False),
        ('["message"]', False),
        ("no JSON", False),
    ],
)
def test_what_the_gateway_itself_says_has_a_message_and_no_type(
    said: str | bytes, is_so: bool
) -> None:
    assert wire.is_of_gateway(said) == is_so
