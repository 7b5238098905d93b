"""The compaction's state machine as it is written, with its function, on MiniStack: what it puts into the
lane, what its steps make of the run's end, and how it ends itself.

Left out, because the emulator does so: a heartbeat that stays away ends no step there.
"""

import io
import json
import sys
import uuid
import zipfile
from dataclasses import asdict, dataclass
from typing import Any

import boto3
import pytest

from chatcore.adapters import aws
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import TableNames, open_tables
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
from tests.cloud import eventually
from tests.contract.conftest import ROOT, make_tables
from tests.contract.sends import ALICE, NOW_MS
from tests.template.source import properties, read

LANE = returns_of(Tier.BACKGROUND)
DEADLINE_S = 20


@dataclass(frozen=True)
class Machine:
    """The deployed machine, with what its function writes and who else has to do with it."""

    arn: str
    lane_url: str
    states: Any
    stores: Stores
    lanes: SqsLanes
    compactions: StatesCompactions
    waits: StatesWaits

    def start(self, chat: Chat, up_to_seq: int = 8) -> str:
        """Asked for as a worker does; the execution's ARN."""
        asked = SummaryAsked(chat.user_id, chat.chat_id, chat.summary_id, up_to_seq, 500)
        self.compactions.start(asked)
        name = f"compact-{chat.chat_id}-{up_to_seq}-{asked.asked_ms}"
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{name}"

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

    def end_of(self, execution: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            told: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            return None if told["status"] == "RUNNING" else told

        return eventually(ended, "the end of the execution", DEADLINE_S)

    def last_state(self, execution: str) -> str:
        events = self.states.get_execution_history(executionArn=execution, maxResults=1000)
        entered = [
            e["stateEnteredEventDetails"]
            for e in events["events"]
            if "stateEnteredEventDetails" in e
        ]
        return str(entered[-1]["name"])


@pytest.fixture
def machine(ministack_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Machine:
    for key, value in ministack_environment.items():
        monkeypatch.setenv(key, value)
    aws.session.cache_clear()
    names = make_tables()
    prefix = f"m{uuid.uuid4().hex[:12]}"
    client = sqs_client()
    lane_url = client.create_queue(QueueName=f"{prefix}-lane-{LANE}")["QueueUrl"]
    lanes = SqsLanes(client, lane_url.removesuffix(f"-{LANE}"), "")
    states = states_client()
    arn = states.create_state_machine(
        name=prefix,
        roleArn="arn:aws:iam::000000000000:role/compact",
        definition=definition(function_of(prefix, names), lane_url),
    )["stateMachineArn"]
    return Machine(
        arn,
        lane_url,
        states,
        dynamo_stores(open_tables(names)),
        lanes,
        StatesCompactions(states, arn),
        StatesWaits(states),
    )


def definition(function_arn: str, lane_url: str) -> str:
    """The machine's, with what the template fills in."""
    text = json.dumps(read("statemachines/compact.asl.yaml"))
    filled = {"CompactChatFunctionArn": function_arn, "BackgroundLaneUrl": lane_url}
    assert filled.keys() == properties("CompactStateMachine")["DefinitionSubstitutions"].keys()
    for name, value in filled.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    return text


def function_of(name: str, tables: TableNames) -> str:
    """The function as it is in the repository, with the packages of these tests in place of its layers;
    its ARN."""
    paths = [
        str(ROOT / "layers" / "chatcore"),
        *(path for path in sys.path if "site-packages" in path),
    ]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr(
            "first.py", f"import sys\nsys.path[:0] = {paths!r}\nfrom app import handler\n"
        )
        archive.write(ROOT / "functions" / "compact_chat" / "app.py", "app.py")
    variables = {f"{table.upper()}_TABLE": name for table, name in asdict(tables).items()}
    made = boto3.client("lambda").create_function(
        FunctionName=name,
        Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
        Handler="first.handler",
        Role="arn:aws:iam::000000000000:role/compact",
        Code={"ZipFile": code.getvalue()},
        Timeout=25,
        Environment={"Variables": variables},
    )
    return str(made["FunctionArn"])


@pytest.fixture
def chat(machine: Machine) -> Chat:
    chat = Chat(ALICE.user_id, f"c_{uuid.uuid4().hex[:26]}", "Long", NOW_MS, NOW_MS, last_seq=12)
    machine.stores.chats.create(chat)
    return chat


def test_a_summary_is_asked_for_awaited_and_committed(machine: Machine, chat: Chat) -> None:
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


def test_a_run_that_fails_frees_the_chat_and_says_why(machine: Machine, chat: Chat) -> None:
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


def test_a_chat_deleted_meanwhile_keeps_nothing(machine: Machine, chat: Chat) -> None:
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


def test_a_lane_that_is_not_there_frees_the_chat(machine: Machine, chat: Chat) -> None:
    machine.lanes.client.delete_queue(QueueUrl=machine.lane_url)
    execution = machine.start(chat)
    assert machine.end_of(execution)["status"] == "FAILED"
    assert machine.last_state(execution) == "NotCompacted"
    assert machine.stores.chats.get(*key(chat)) == chat


def test_what_is_not_needed_asks_nobody(machine: Machine, chat: Chat) -> None:
    machine.stores.chats.mark_deleted(*key(chat), NOW_MS)
    execution = machine.start(chat)
    assert machine.end_of(execution)["status"] == "SUCCEEDED"
    assert machine.last_state(execution) == "NotNeeded"
    assert machine.lanes.receive(LANE, 0) is None


def key(chat: Chat) -> tuple[str, str]:
    return chat.user_id, chat.chat_id
