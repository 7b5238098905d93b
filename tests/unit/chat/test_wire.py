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
        error("busy", None),
        {"type": "pong"},
    ],
)
def test_a_known_frame_is_read_as_it_was_said(frame: dict[str, object]) -> None:
    read = wire.read(json.dumps({**frame, "told_by_a_newer_server": 1}))
    assert read is not None
    assert {name: value for name, value in frame.items() if name in read} == read


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
    frame = {"action": "send", "text": "é" * 16_000}
    assert wire.fits(frame)
    assert not wire.fits({**frame, "text": "é" * 16_384})


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
