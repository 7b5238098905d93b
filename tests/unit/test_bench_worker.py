"""The arithmetic of bench-worker: the search, the gaps, and the sink's answers."""

import json

import pytest

from bench.sink import Noted, Sink
from bench.streams import TOKEN, added_gaps
from bench.worker import most
from chatcore.domain.stream import floor_ms


@pytest.mark.parametrize("limit", [0, 7, 20, 149, 150, 151, 310, 1_000, 9_999])
def test_the_search_comes_close_to_what_is_carried(limit: int) -> None:
    tried: list[int] = []

    def carries(streams: int) -> bool:
        tried.append(streams)
        return streams <= limit

    found = most(carries)
    assert found <= limit
    if 40 <= limit <= 3_200:
        assert found * 1.2 >= limit - 1
    assert len(tried) <= 12


def delta(at_s: float, token: int) -> list[object]:
    frame = {"type": "run.delta", "offset": token * len(TOKEN), "text": TOKEN}
    return ["a", at_s, json.dumps(frame)]


def test_a_gap_is_what_neither_engine_nor_floor_asked_for() -> None:
    # 30 tokens a second from second 10 on: token 3 is due at 10.1, token 30 at 11.
    frames = [
        ["a", 9.0, json.dumps({"type": "run.started"})],
        delta(10.002, 0),
        delta(10.105, 3),
        delta(11.25, 30),
    ]
    gaps_s, counted = added_gaps(frames, {"a": 10.0}, 0.0, 20.0)
    assert counted == 3
    floor_s = floor_ms(1) / 1000
    assert gaps_s == pytest.approx([0.002, 10.105 - max(10.1, 10.002 + floor_s), 0.25])


def test_frames_before_the_measured_time_only_lead_up_to_it() -> None:
    gaps_s, counted = added_gaps([delta(10.5, 0), delta(11.5, 30)], {"a": 10.0}, 11.0, 12.0)
    assert counted == 1
    assert gaps_s == pytest.approx([0.5])


class Answers:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def test_the_sink_takes_requests_in_pieces_and_notes_frames() -> None:
    noted = Noted()
    sink, answers = Sink(noted), Answers()
    sink._transport = answers  # type: ignore[assignment]
    request = b"POST /v1/@connections/a%3D HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd"
    sink.data_received(request + request[:30])
    sink.data_received(request[30:])
    assert [(name, body) for name, _, body in noted.frames] == [("a=", "abcd")] * 2
    assert answers.written.count(b"HTTP/1.1 200 OK") == 2


def test_the_sink_answers_an_update_with_the_runs_item() -> None:
    noted = Noted(items={"r_1": {"run_id": {"S": "r_1"}}})
    body = json.dumps({"Key": {"run_id": {"S": "r_1"}}}).encode()
    head = {"x-amz-target": "DynamoDB_20120810.UpdateItem"}
    answer = json.loads(Sink(noted)._answer("POST", "/", head, body))
    assert answer == {"Attributes": {"run_id": {"S": "r_1"}}}
    assert noted.calls == {"UpdateItem": 1}
