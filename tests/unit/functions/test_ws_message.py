"""The WebSocket's Lambda: whatever is said is answered by frames, and nothing makes it fail."""

import json
from dataclasses import replace
from typing import Any

import pytest

from chatcore.adapters.memory.tiers import MemoryTiers
from chatcore.domain.chat import Chat
from chatcore.domain.lanes import Lane
from chatcore.domain.ledger import Ledger, Window
from chatcore.domain.tiers import DEFAULTS, Tier, Tiers
from chatcore.ports import Posted
from chatcore.protocol.queue import Attach, Cancel
from tests.unit.functions.cloud import Away, Broken, Cloud
from tests.unit.functions.loading import load_function

SEND = {"action": "send", "chat_id": None, "message_id": "message-0001", "text": "Hello"}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    cloud.enter(load_function("ws_message"), monkeypatch)
    return cloud


def only(frames: list[dict[str, Any]]) -> dict[str, Any]:
    (frame,) = frames
    return frame


def error_of(frames: list[dict[str, Any]]) -> tuple[str, str | None]:
    frame = only(frames)
    assert frame["type"] == "error"
    assert not [word for word in ("Traceback", "vendor", "boto") if word in json.dumps(frame)]
    return frame["code"], frame["ref"]


def sent(cloud: Cloud, **changes: Any) -> str:
    queued = only(cloud.say({**SEND, **changes}))
    assert queued["type"] == "run.queued"
    run_id: str = queued["run_id"]
    return run_id


class TestSend:
    def test_is_queued_streamed_to_its_connection_and_in_its_lane(self, cloud: Cloud) -> None:
        queued = only(cloud.say(SEND))
        run = cloud.database.runs[queued["run_id"]]
        assert queued == {
            "type": "run.queued",
            "run_id": run.run_id,
            "chat_id": run.chat_id,
            "message_id": "message-0001",
            "epoch": 0,
            "reason": "starting",
            "position": None,
            "estimate_s": None,
            "look_again_s": 5.0,
        }
        assert run.viewers == {"socket-1"}
        assert run.trace_id
        received = cloud.lanes.receive(Lane(Tier.FREE), 0)
        assert received is not None
        assert received.item.run_id == run.run_id
        assert received.item.trace_id == run.trace_id

    def test_the_tier_is_the_authorizers(self, cloud: Cloud) -> None:
        cloud.say({**SEND, "tier": "pro"}, tier="plus")
        assert cloud.lanes.depth(Lane(Tier.PLUS)) == 1

    def test_again_while_queued_is_one_run(self, cloud: Cloud) -> None:
        first = only(cloud.say(SEND))
        assert only(cloud.say(SEND)) == first
        assert len(cloud.database.runs) == 1

    def test_again_from_another_connection_gains_a_viewer(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        cloud.posts.open("socket-2")
        cloud.say(SEND, connection_id="socket-2")
        assert cloud.database.runs[run_id].viewers == {"socket-1", "socket-2"}

    def test_again_while_running_asks_the_worker_to_replay(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        cloud.claim(run_id)
        assert cloud.say(SEND) == []
        assert list(cloud.inboxes.receive("worker-1", 0)) == [
            Attach(run_id=run_id, connection_id="socket-1", offset=0, epoch=0)
        ]

    def test_again_when_it_is_over_tells_all_of_it(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        cloud.complete(run_id, "The answer")
        frames = cloud.say(SEND)
        assert [frame["type"] for frame in frames] == ["run.started", "run.delta", "run.completed"]
        assert frames[1]["text"] == "The answer"

    def test_into_a_chat_goes_on_in_it(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        chat_id = cloud.complete(run_id).chat_id
        second = sent(cloud, chat_id=chat_id, message_id="message-0002")
        assert cloud.database.runs[second].chat_id == chat_id

    def test_refusals_name_the_message(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        chat_id = cloud.database.runs[run_id].chat_id
        assert error_of(cloud.say({**SEND, "text": "Other"})) == (
            "message_conflict",
            "message-0001",
        )
        second = {**SEND, "message_id": "message-0002"}
        assert error_of(cloud.say({**second, "chat_id": chat_id})) == ("run_active", "message-0002")
        assert error_of(cloud.say({**second, "text": " "}))[0] == "text_empty"
        assert error_of(cloud.say({**second, "text": "x" * 4_001}))[0] == "text_too_long"
        assert error_of(cloud.say({**second, "text": "\ud800"}))[0] == "text_invalid"
        foreign = cloud.say({**second, "chat_id": chat_id}, user_id="user-bob")
        assert error_of(foreign) == ("chat_not_found", "message-0002")
        assert len(cloud.database.runs) == 1

    def test_over_budget_says_when_to_come_back(self, cloud: Cloud) -> None:
        cloud.database.ledgers["user-alice"] = Ledger(
            "user-alice",
            version=1,
            settled_tokens=DEFAULTS[Tier.FREE].budgets[0].tokens,
            windows=(Window(cloud.clock() + 90_000), Window(cloud.clock() + 90_000 * 2)),
        )
        frame = only(cloud.say(SEND))
        assert (frame["code"], frame["retry_at"]) == (
            "budget_exhausted",
            "2027-01-15T08:01:30.000Z",
        )

    def test_a_paused_tier_takes_nothing_new(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        free = replace(DEFAULTS[Tier.FREE], paused=True)
        cloud.tiers.tiers = {**DEFAULTS, Tier.FREE: free}
        second = {**SEND, "message_id": "message-0002"}
        assert error_of(cloud.say(second)) == ("tier_paused", "message-0002")
        assert {frame["run_id"] for frame in cloud.say(SEND)} == {run_id}

    def test_settings_are_refreshed_when_all_is_said(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[int] = []

        class Watched(MemoryTiers):
            def refresh(self) -> Tiers:
                said.append(len(cloud.posts.frames["socket-1"]))
                return super().refresh()

        monkeypatch.setattr(load_function("ws_message"), "tiers", Watched())
        cloud.say(SEND)
        assert said == [1]

    def test_into_a_deleted_chat(self, cloud: Cloud) -> None:
        chat_id = cloud.complete(sent(cloud)).chat_id
        cloud.stores.chats.mark_deleted("user-alice", chat_id, cloud.clock())
        late = {**SEND, "chat_id": chat_id, "message_id": "message-0002"}
        assert error_of(cloud.say(late)) == ("chat_not_found", "message-0002")


class TestCancel:
    def test_of_a_queued_run_is_answered_by_its_end(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        frame = only(cloud.say({"action": "cancel", "run_id": run_id}))
        assert (frame["type"], frame["length"], frame["message_id"]) == ("run.cancelled", 0, None)

    def test_of_a_running_run_is_answered_by_its_worker(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        cloud.claim(run_id)
        assert cloud.say({"action": "cancel", "run_id": run_id}) == []
        assert list(cloud.inboxes.receive("worker-1", 0)) == [
            Cancel(run_id=run_id, connection_id="socket-1", asked_ms=cloud.clock())
        ]

    def test_of_a_foreign_run_does_not_find_it(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        said = cloud.say({"action": "cancel", "run_id": run_id}, user_id="user-bob")
        assert error_of(said) == ("run_not_found", run_id)
        assert cloud.database.runs[run_id].status == "queued"


class TestAttach:
    def test_from_a_place_in_a_finished_run(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        cloud.complete(run_id, "The answer")
        frames = cloud.say({"action": "attach", "run_id": run_id, "offset": 4, "epoch": 1})
        assert [frame["type"] for frame in frames] == ["run.started", "run.delta", "run.completed"]
        assert (frames[1]["offset"], frames[1]["text"]) == (4, "answer")

    def test_to_a_foreign_run_does_not_find_it(self, cloud: Cloud) -> None:
        run_id = sent(cloud)
        said = cloud.say({"action": "attach", "run_id": run_id}, user_id="user-bob")
        assert error_of(said) == ("run_not_found", run_id)
        assert cloud.database.runs[run_id].viewers == {"socket-1"}


class TestWatch:
    def test_another_device_is_told_of_a_run_from_its_beginning(self, cloud: Cloud) -> None:
        cloud.posts.open("socket-2")
        for chat_id in ("c_1", "c_2"):
            cloud.stores.chats.create(Chat("user-alice", chat_id, "Dogs", 1, 1))
            watch = {"action": "watch", "chat_id": chat_id}
            assert cloud.say(watch, connection_id="socket-2") == []
        run_id = sent(cloud, chat_id="c_1")
        assert cloud.database.runs[run_id].viewers == {"socket-1", "socket-2"}
        # Nobody is before it: its worker will tell.
        assert cloud.posts.frames.get("socket-2", []) == []
        waiting_id = sent(cloud, message_id="message-0002", chat_id="c_2")
        (told,) = (json.loads(frame) for frame in cloud.posts.frames["socket-2"])
        assert (told["type"], told["run_id"]) == ("run.queued", waiting_id)
        assert told["reason"] == "own_runs"

    def test_a_chat_that_is_not_ones_own_is_not_there(self, cloud: Cloud) -> None:
        cloud.complete(sent(cloud))
        (chat,) = cloud.database.chats.values()
        said = cloud.say({"action": "watch", "chat_id": chat.chat_id}, user_id="user-bob")
        assert error_of(said) == ("chat_not_found", chat.chat_id)
        said = cloud.say({"action": "watch", "chat_id": "\ud800"})
        assert error_of(said) == ("chat_not_found", None)


def test_a_ping_is_answered(cloud: Cloud) -> None:
    assert cloud.say({"action": "ping"}) == [{"type": "pong"}]


@pytest.mark.parametrize(
    ("raw_body", "code"),
    [
        ("", "frame_not_json"),
        ("hello", "frame_not_json"),
        ("[" * 20_000, "frame_not_json"),
        ("[]", "frame_not_object"),
        ("{}", "action_unknown"),
        ('{"action": "shout"}', "action_unknown"),
        ('{"action": "send"}', "field_invalid"),
        ('{"action": "attach", "run_id": "r_1", "offset": -1}', "field_invalid"),
        ('{"action": "cancel", "run_id": "\\ud800"}', "run_not_found"),
        ('{"action": "cancel", "run_id": ""}', "run_not_found"),
        ('{"action": "ping", "pad": "' + "x" * 32_768 + '"}', "frame_too_large"),
        ('{"action": "\ud800"}', "action_unknown"),
    ],
)
def test_bad_frames(cloud: Cloud, raw_body: str, code: str) -> None:
    assert error_of(cloud.say(raw_body=raw_body))[0] == code


def test_a_binary_frame_is_not_json(cloud: Cloud) -> None:
    assert error_of(cloud.say(raw_body="eyJhY3Rpb24iOiJwaW5nIn0=", is_base64=True))[0] == (
        "frame_not_json"
    )


def test_a_store_that_is_away_is_busy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    away: Any = Away()
    monkeypatch.setattr(load_function("ws_message"), "stores", replace(cloud.stores, runs=away))
    assert error_of(cloud.say(SEND)) == ("busy", "message-0001")
    assert error_of(cloud.say({"action": "cancel", "run_id": "r_1"})) == ("busy", "r_1")


def test_a_lane_that_is_away_is_busy_and_sending_again_works(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(load_function("ws_message"), "lanes", Away())
        assert error_of(cloud.say(SEND)) == ("busy", "message-0001")
    sent(cloud)
    assert len(cloud.database.runs) == cloud.lanes.depth(Lane(Tier.FREE)) == 1


def test_a_fault_that_nobody_thought_of_says_nothing_of_itself(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: Any = Broken()
    monkeypatch.setattr(load_function("ws_message"), "stores", replace(cloud.stores, runs=broken))
    assert error_of(cloud.say(SEND)) == ("internal_error", "message-0001")


def test_a_connection_that_is_gone_stops_the_reply_and_not_the_run(cloud: Cloud) -> None:
    cloud.posts.close("socket-1")
    assert cloud.say(SEND) == []
    assert len(cloud.database.runs) == cloud.lanes.depth(Lane(Tier.FREE)) == 1


def test_the_run_is_in_its_lane_before_anything_is_said(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths = []

    class Looking:
        def post(self, connection_id: str, frame: bytes) -> Posted:
            depths.append(cloud.lanes.depth(Lane(Tier.FREE)))
            return Posted.SENT

    monkeypatch.setattr(load_function("ws_message"), "posts", Looking())
    cloud.say(SEND)
    assert depths == [1]


def test_a_send_of_a_sampled_trace_is_traced_on(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, parent = "1-581cf771-a006649127e371903a2de979", "53995c3f42cd8ad8"
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={root};Parent={parent};Sampled=1")
    run = cloud.database.runs[sent(cloud)]
    assert (run.trace_id, run.trace_parent) == (root, parent)
    received = cloud.lanes.receive(Lane(Tier.FREE), 0)
    assert received is not None
    assert (received.item.trace_id, received.item.trace_parent) == (root, parent)
