"""Queue bodies: ASCII on the wire, and what is not understood is told apart."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.tiers import Tier
from chatcore.protocol.queue import (
    Attach,
    BadBody,
    Cancel,
    Control,
    Drain,
    Job,
    decode_control,
    decode_job,
    encode,
)
from chatcore.protocol.websocket import MAX_OFFSET

JOB = Job(run_id="r_1", chat_id="c_1", user_id="user", tier=Tier.PRO, message_seq=3)


@given(st.text(), st.text())
def test_bodies_are_ascii_without_control_characters(user_id: str, trace_id: str) -> None:
    job = Job(
        run_id="r_1",
        chat_id="c_1",
        user_id=user_id,
        tier=Tier.PRO,
        message_seq=3,
        trace_id=trace_id,
    )
    body = encode(job)
    assert body.isascii()
    assert body.isprintable()
    assert decode_job(body) == job


@pytest.mark.parametrize(
    "control",
    [
        Cancel(run_id="r_1"),
        Attach(run_id="r_1", connection_id="a=\x00\u2028", offset=0),
        Attach(run_id="r_1", connection_id="a", offset=MAX_OFFSET, epoch=999),
        Drain(),
    ],
)
def test_controls_come_back_as_they_were(control: Control) -> None:
    body = encode(control)
    assert body.isascii()
    assert body.isprintable()
    assert decode_control(body) == control


def body_of(body: str, **changes: Any) -> str:
    fields = {**json.loads(body), **changes}
    return json.dumps({key: value for key, value in fields.items() if value is not ...})


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not json",
        "[]",
        "null",
        "\ud800",
        body_of(encode(JOB), v=2),
        body_of(encode(JOB), v="1"),
        body_of(encode(JOB), tier="gold"),
        body_of(encode(JOB), run_id=None),
        body_of(encode(JOB), run_id=...),
        body_of(encode(JOB), message_seq="3"),
        encode(Cancel(run_id="r_1")),
    ],
)
def test_what_is_no_job(body: str) -> None:
    with pytest.raises(BadBody):
        decode_job(body)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        "\ud800",
        body_of(encode(Cancel(run_id="r_1")), kind="preempt"),
        body_of(encode(Cancel(run_id="r_1")), kind=...),
        body_of(encode(Cancel(run_id="r_1")), v=2),
        body_of(encode(Cancel(run_id="r_1")), run_id=7),
        encode(JOB),
    ],
)
def test_what_is_no_control(body: str) -> None:
    with pytest.raises(BadBody):
        decode_control(body)


def test_fields_of_a_later_release_are_passed_over() -> None:
    assert decode_job(body_of(encode(JOB), lane_hint=3)) == JOB
    assert decode_control(body_of(encode(Cancel(run_id="r_1")), why="x")) == Cancel(run_id="r_1")
