"""The compaction's state machine as it is written, with its function, on MiniStack: what it puts into the
lane, what its steps make of the run's end, and how it ends itself.

Left out, because the emulator does so: a heartbeat that stays away ends no step there.
"""

import uuid
from dataclasses import dataclass

import pytest

from chatcore.adapters import aws
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.sqs import SqsLanes, sqs_client
from chatcore.adapters.stepfunctions import StatesCompactions, StatesWaits, states_client
from chatcore.domain.calendar import returns_of
from chatcore.domain.chat import Chat
from chatcore.domain.identity import background_id_for
from chatcore.domain.run import Kind
from chatcore.domain.summary import Summary, SummaryAsked
from chatcore.domain.tiers import Tier
from chatcore.ports import Stores
from chatcore.protocol.queue import Job, decode_job
from tests.contract.conftest import make_tables
from tests.contract.machines import DEADLINE_S, Machine, deployed, function_of
from tests.contract.sends import ALICE, NOW_MS

LANE = returns_of(Tier.BACKGROUND)


@dataclass(frozen=True)
class Compactor(Machine):
    """The deployed machine, with what its function writes and who else has to do with it."""

    lane_url: str
    stores: Stores
    lanes: SqsLanes
    compactions: StatesCompactions
    waits: StatesWaits

    def start(self, chat: Chat, up_to_seq: int = 8) -> str:
        """Asked for as a worker does; the execution's ARN."""
        asked = SummaryAsked(chat.user_id, chat.chat_id, chat.summary_id, up_to_seq, 500)
        self.compactions.start(asked)
        return self.execution(f"compact-{chat.chat_id}-{up_to_seq}-{asked.asked_ms}")

    def job(self) -> Job:
        """The next one of the lane, which is there as if a Lambda had sent it."""
        (message,) = self.lanes.client.receive_message(
            QueueUrl=self.lane_url,
            WaitTimeSeconds=DEADLINE_S,
            MessageSystemAttributeNames=["MessageGroupId"],
        )["Messages"]
        job = decode_job(message["Body"])
        assert message["Attributes"] == {"MessageGroupId": job.user_id}
        return job


@pytest.fixture
def machine(ministack_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Compactor:
    for key, value in ministack_environment.items():
        monkeypatch.setenv(key, value)
    aws.session.cache_clear()
    names = make_tables()
    prefix = f"m{uuid.uuid4().hex[:12]}"
    client = sqs_client()
    lane_url = client.create_queue(QueueName=f"{prefix}-lane-{LANE}")["QueueUrl"]
    lanes = SqsLanes(client, lane_url.removesuffix(f"-{LANE}"), "")
    states = states_client()
    function = function_of("compact_chat", names)
    filled = {"CompactChatFunctionArn": function, "BackgroundLaneUrl": lane_url}
    machine = deployed(states, "compact", "CompactStateMachine", filled)
    return Compactor(
        machine.arn,
        states,
        lane_url,
        dynamo_stores(open_tables(names)),
        lanes,
        StatesCompactions(states, machine.arn),
        StatesWaits(states),
    )


@pytest.fixture
def chat(machine: Compactor) -> Chat:
    chat = Chat(ALICE.user_id, f"c_{uuid.uuid4().hex[:26]}", "Long", NOW_MS, NOW_MS, last_seq=12)
    machine.stores.chats.create(chat)
    return chat


def test_a_summary_is_asked_for_awaited_and_committed(machine: Compactor, chat: Chat) -> None:
    execution = machine.start(chat)
    job = machine.job()
    run_id = background_id_for(Kind.SUMMARY, chat.chat_id, 8)
    assert (job.run_id, job.kind, job.user_id, job.tier) == (
        run_id,
        Kind.SUMMARY,
        ALICE.user_id,
        Tier.BACKGROUND,
    )
    assert machine.waits.beat(job.task_token)
    machine.stores.summaries.put(Summary(chat.chat_id, run_id, 1, 8, "## Facts", NOW_MS))
    machine.waits.succeed(job.task_token)
    assert machine.end_of(execution)["status"] == "SUCCEEDED"
    assert machine.last_state(execution) == "Compacted"
    after = machine.stores.chats.get(*key(chat))
    assert after is not None
    assert (after.summary_id, after.compacting) == (run_id, "")
    # Over: nobody hears of its run any more, and asking for it again is no other execution.
    assert not machine.waits.beat(job.task_token)
    machine.waits.succeed(job.task_token)
    machine.waits.fail(job.task_token, "late", "too late")
    assert machine.start(chat) == execution
    executions = machine.states.list_executions(stateMachineArn=machine.arn)["executions"]
    assert [each["executionArn"] for each in executions] == [execution]


def test_a_run_that_fails_frees_the_chat_and_says_why(machine: Compactor, chat: Chat) -> None:
    execution = machine.start(chat)
    job = machine.job()
    machine.waits.fail(
        job.task_token, "engine_error", f"the run {job.run_id} ended as engine_error"
    )
    told = machine.end_of(execution)
    assert (told["status"], told["error"]) == ("FAILED", "engine_error")
    assert job.run_id in told["cause"]
    assert machine.last_state(execution) == "NotCompacted"
    assert machine.stores.chats.get(*key(chat)) == chat


def test_a_chat_deleted_meanwhile_keeps_nothing(machine: Compactor, chat: Chat) -> None:
    execution = machine.start(chat)
    job = machine.job()
    machine.stores.summaries.put(Summary(chat.chat_id, job.run_id, 1, 8, "## Facts", NOW_MS))
    machine.stores.chats.mark_deleted(*key(chat), NOW_MS)
    machine.waits.succeed(job.task_token)
    assert machine.end_of(execution)["status"] == "SUCCEEDED"
    assert machine.last_state(execution) == "NotNeeded"
    after = machine.stores.chats.get(*key(chat))
    assert after is not None
    assert (after.summary_id, after.compacting) == ("", "")


def test_a_lane_that_is_not_there_frees_the_chat(machine: Compactor, chat: Chat) -> None:
    machine.lanes.client.delete_queue(QueueUrl=machine.lane_url)
    execution = machine.start(chat)
    assert machine.end_of(execution)["status"] == "FAILED"
    assert machine.last_state(execution) == "NotCompacted"
    assert machine.stores.chats.get(*key(chat)) == chat


def test_what_is_not_needed_asks_nobody(machine: Compactor, chat: Chat) -> None:
    machine.stores.chats.mark_deleted(*key(chat), NOW_MS)
    execution = machine.start(chat)
    assert machine.end_of(execution)["status"] == "SUCCEEDED"
    assert machine.last_state(execution) == "NotNeeded"
    assert machine.lanes.receive(LANE, 0) is None


def key(chat: Chat) -> tuple[str, str]:
    return chat.user_id, chat.chat_id
