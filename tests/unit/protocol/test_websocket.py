"""Frames: every bad one gets its code, none a crash; every good one means what it says."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.run import Run, Status, Usage
from chatcore.domain.stream import MAX_FRAME_BYTES
from chatcore.domain.tiers import Tier
from chatcore.protocol import websocket as ws

SEND = {"action": "send", "chat_id": None, "message_id": "message-0001", "text": "Hello"}
ATTACH = {"action": "attach", "run_id": "r_1", "offset": 0}
NO_STRINGS: list[object] = [1, True, [], {}, 1.5]
NO_NUMBERS: list[object] = [-1, "0", None, 0.0, 1.5, True, [], 2**70, math.nan, math.inf]


def code_of(frame: str) -> Code:
    outcome = ws.decode(frame)
    assert isinstance(outcome, Refusal)
    # Whatever was refused, the client can be told.
    ws.encode(ws.error_for(outcome))
    return outcome.code


def changed(frame: dict[str, Any], **changes: Any) -> str:
    return json.dumps({**frame, **changes})


def without(frame: dict[str, Any], key: str) -> str:
    return json.dumps({name: value for name, value in frame.items() if name != key})


@pytest.mark.parametrize(
    ("frame", "action"),
    [
        (SEND, ws.Send(chat_id=None, message_id="message-0001", text="Hello")),
        (
            {**SEND, "chat_id": "c_1", "text": "😀\n\x00"},
            ws.Send(chat_id="c_1", message_id="message-0001", text="😀\n\x00"),
        ),
        (without(SEND, "chat_id"), ws.Send(message_id="message-0001", text="Hello")),
        ({"action": "cancel", "run_id": "r_1"}, ws.Cancel(run_id="r_1")),
        ({**ATTACH, "offset": 7, "epoch": 2}, ws.Attach(run_id="r_1", offset=7, epoch=2)),
        (without(ATTACH, "offset"), ws.Attach(run_id="r_1", offset=0, epoch=0)),
        ({"action": "ping"}, ws.Ping()),
        ({"action": "ping", "sent_at": 12, "new": {}}, ws.Ping()),
    ],
)
def test_good_frames(frame: dict[str, Any] | str, action: ws.Action) -> None:
    assert ws.decode(frame if isinstance(frame, str) else json.dumps(frame)) == action


@pytest.mark.parametrize(
    "frame",
    [
        "",
        " ",
        "{",
        "hello",
        '{"action": "ping"',
        "[" * 15_000,
        '{"a":' * 6_000,
        "\ud800",
        "\x00",
        '{"action": ping}',
        "{'action': 'ping'}",
        '{"action": "ping"} {}',
        "1" * 5_000,
    ],
)
def test_not_json(frame: str) -> None:
    assert code_of(frame) is Code.FRAME_NOT_JSON


@pytest.mark.parametrize("frame", ["[]", "null", "1", '"ping"', "true", '[{"action": "ping"}]'])
def test_not_an_object(frame: str) -> None:
    assert code_of(frame) is Code.FRAME_NOT_OBJECT


@pytest.mark.parametrize(
    "action", [None, 1, True, [], {}, ["ping"], "", "PING", "ping ", "sends", "\ud800"]
)
def test_an_unknown_action(action: object) -> None:
    assert code_of(json.dumps({"action": action})) is Code.ACTION_UNKNOWN


def test_no_action_at_all() -> None:
    assert code_of("{}") is Code.ACTION_UNKNOWN


@pytest.mark.parametrize(
    "frame",
    [
        *(without(SEND, key) for key in ("message_id", "text")),
        *(
            changed(SEND, **{key: value})
            for key in ("chat_id", "message_id", "text")
            for value in NO_STRINGS
        ),
        *(changed(SEND, **{key: None}) for key in ("message_id", "text")),
        *(
            changed(SEND, message_id=value)
            for value in (
                "",
                "short12",
                "x" * 65,
                "with space",
                "abcdefgh\n",
                "ümlaut-1",
                "\ud800" * 9,
            )
        ),
        without({"action": "cancel", "run_id": "r_1"}, "run_id"),
        changed({"action": "cancel"}, run_id=None),
        changed({"action": "cancel"}, run_id=7),
        without(ATTACH, "run_id"),
        *(changed(ATTACH, **{key: value}) for key in ("offset", "epoch") for value in NO_NUMBERS),
        changed(ATTACH, offset=ws.MAX_OFFSET + 1),
    ],
)
def test_a_field_that_is_missing_or_wrong(frame: str) -> None:
    assert code_of(frame) is Code.FIELD_INVALID


@pytest.mark.parametrize("value", ["", "\ud800", "r" * 65, "ümlaut", "\x00" * 80])
def test_an_id_that_nothing_can_have_is_one_that_is_not_there(value: str) -> None:
    assert code_of(changed(ATTACH, run_id=value)) is Code.RUN_NOT_FOUND
    assert code_of(changed({"action": "cancel"}, run_id=value)) is Code.RUN_NOT_FOUND
    assert code_of(changed(SEND, chat_id=value)) is Code.CHAT_NOT_FOUND


def test_half_a_surrogate_pair_escaped_in_a_text_is_left_to_the_texts_own_check() -> None:
    action = ws.decode(changed(SEND, text="a\ud800b"))
    assert isinstance(action, ws.Send)
    assert action.text == "a\ud800b"


def test_size_is_measured_in_bytes() -> None:
    room = MAX_FRAME_BYTES - len(json.dumps({**SEND, "text": ""}))
    fits = json.dumps({**SEND, "text": "x" * room})
    assert isinstance(ws.decode(fits), ws.Send)
    assert code_of(fits + " ") is Code.FRAME_TOO_LARGE
    emoji = json.dumps({**SEND, "text": "😀" * (room // 4 + 1)}, ensure_ascii=False)
    assert len(emoji) < MAX_FRAME_BYTES
    assert code_of(emoji) is Code.FRAME_TOO_LARGE
    assert code_of("\ud800" * MAX_FRAME_BYTES) is Code.FRAME_TOO_LARGE


@pytest.mark.parametrize(
    ("frame", "ref"),
    [
        (changed(SEND, text=1), "message-0001"),
        (changed(ATTACH, offset=-1), "r_1"),
        (changed(SEND, message_id="x" * 65), None),
        (changed(SEND, message_id="ü" * 9), None),
        (changed(SEND, message_id=8), None),
    ],
)
def test_the_refusal_names_what_it_answers_where_that_can_be_named(
    frame: str, ref: str | None
) -> None:
    outcome = ws.decode(frame)
    assert isinstance(outcome, Refusal)
    assert outcome.ref == ref


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


@given(st.sampled_from(["send", "cancel", "attach", "ping"]), st.data())
def test_no_frame_whatsoever_is_a_crash(action: str, data: st.DataObject) -> None:
    fields = {
        name: data.draw(json_values)
        for name in ("chat_id", "message_id", "text", "run_id", "offset", "epoch")
        if data.draw(st.booleans())
    }
    outcome = ws.decode(json.dumps({"action": action, **fields}))
    if isinstance(outcome, Refusal):
        ws.encode(ws.error_for(outcome))


@given(st.text(max_size=200))
def test_no_text_whatsoever_is_a_crash(frame: str) -> None:
    ws.decode(frame)


RUN = Run(
    run_id="r_1",
    user_id="user-alice",
    chat_id="c_1",
    tier=Tier.FREE,
    message_id="message-0001",
    message_seq=1,
    digest="",
    created_ms=0,
    status=Status.COMPLETED,
    epoch=3,
    usage=Usage(5, 1, 2),
    length=4,
)


class TestEvents:
    def test_names_and_fields(self) -> None:
        ended = json.loads(ws.encode(ws.ended_for(RUN)))
        assert ended == {
            "type": "run.completed",
            "run_id": "r_1",
            "chat_id": "c_1",
            "message_id": RUN.answer_message_id,
            "epoch": 3,
            "length": 4,
            "usage": {"input_tokens": 5, "cached_tokens": 1, "output_tokens": 2},
            "finish_reason": "stop",
        }
        assert json.loads(ws.encode(ws.started_for(RUN, 2))) == {
            "type": "run.started",
            "run_id": "r_1",
            "chat_id": "c_1",
            "message_id": "message-0001",
            "epoch": 3,
            "offset": 2,
        }

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    def test_every_end_says_what_was_used(self, status: Status) -> None:
        ended = json.loads(ws.encode(ws.ended_for(replace(RUN, status=status))))
        assert ended["usage"] == {"input_tokens": 5, "cached_tokens": 1, "output_tokens": 2}

    @pytest.mark.parametrize("code", [*ws.FAILURE_WORDS, None, Code.INTERNAL_ERROR])
    def test_a_failure_says_its_code_and_a_sentence(self, code: Code | None) -> None:
        failed = ws.ended_for(replace(RUN, status=Status.FAILED, failure=code, length=0))
        assert isinstance(failed, ws.RunFailed)
        assert failed.code == (code or Code.INTERNAL_ERROR)
        assert failed.message.endswith(".")
        assert failed.message_id is None

    def test_an_error_says_when_to_try_again(self) -> None:
        refusal = Refusal(Code.BUDGET_EXHAUSTED, "Used up.", "message-0001", 1_800_000_000_123)
        assert json.loads(ws.encode(ws.error_for(refusal))) == {
            "type": "error",
            "code": "budget_exhausted",
            "message": "Used up.",
            "ref": "message-0001",
            "retry_at": "2027-01-15T08:00:00.123Z",
        }
