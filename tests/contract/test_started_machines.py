"""The state machines that are started by hand, or by an account's user, as they are written, with their
functions, on MiniStack: what they do to tables, files, queues and the user pool, and how they end.

Their waits are a thousandth of what they say (see `conftest`). A crash after each of the writes is played
on the real adapters too, in this process.
"""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest

from chatcore.adapters import aws
from chatcore.adapters.clock import now_ms
from chatcore.adapters.cognito import CognitoUserPool, cognito_client
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import TableNames, open_tables
from chatcore.adapters.s3 import S3ExportFiles, s3_client
from chatcore.adapters.sqs import SqsInboxes, SqsLanes, sqs_client
from chatcore.adapters.stepfunctions import (
    StatesAccountPurges,
    StatesExportJobs,
    states_client,
)
from chatcore.domain.beat import Beat
from chatcore.domain.calendar import LANES
from chatcore.domain.chat import Chat
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.export import ExportState
from chatcore.domain.identity import User
from chatcore.domain.run import Run
from chatcore.domain.stream import Checkpoint
from chatcore.domain.summary import Summary
from chatcore.domain.tiers import Tier
from chatcore.ports import Claimed, Stores, Ticket
from chatcore.protocol.export import (
    MANIFEST,
    Line,
    MessageLine,
    decode_lines,
    decode_manifest,
)
from chatcore.protocol.queue import Drain
from chatcore.services.purge import PurgeState
from chatcore.services.purge_account import (
    Forgotten,
    forget,
    remove_chats,
    remove_rest,
    shut,
)
from tests.contract.conftest import make_tables
from tests.contract.machines import Machine, deployed, function_of
from tests.contract.sends import admitted, send_of
from tests.contract.test_stores import ending
from tests.unit.services.test_purge_account import WRITES, Crashing, crashing

pytestmark = pytest.mark.enable_socket

DEADLINE_S = 60
OLD_MS = 20 * 60_000


@dataclass
class House:
    """Real tables, files, queues and a pool, with people in them."""

    names: TableNames = field(default_factory=make_tables)
    prefix: str = field(default_factory=lambda: f"h{uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self.states = states_client()
        self.stores: Stores = dynamo_stores(open_tables(self.names))
        self.sqs: Any = sqs_client()
        for lane in LANES:
            url = self.sqs.create_queue(QueueName=f"{self.prefix}-lane-{lane}")["QueueUrl"]
        self.base_url = url.removesuffix(f"-lane-{LANES[-1]}")
        self.lanes = SqsLanes(self.sqs, f"{self.base_url}-lane")
        self.inboxes = SqsInboxes(self.sqs, f"{self.base_url}-inbox")
        boto3.client("s3").create_bucket(Bucket=self.prefix)
        self.files = S3ExportFiles(s3_client(), self.prefix)
        self.cognito: Any = boto3.client("cognito-idp")
        pool = self.cognito.create_user_pool(PoolName=self.prefix, UsernameAttributes=["email"])
        self.pool_id = str(pool["UserPool"]["Id"])
        self.pool = CognitoUserPool(cognito_client(), self.pool_id)

    def machine(self, file: str, logical_id: str, function: str, arn_name: str) -> Machine:
        variables = {
            "INBOX_BASE_URL": f"{self.base_url}-inbox",
            "LANE_BASE_URL": f"{self.base_url}-lane",
            "EXPORTS_BUCKET": self.prefix,
            "USER_POOL_ID": self.pool_id,
        }
        arn = function_of(function, self.names, variables)
        return deployed(self.states, file, logical_id, {arn_name: arn})

    def moved_in(self, name: str, turns: int = 2) -> User:
        """With answered chats, a summary, a run that waits, a ticket, an export, a chat being deleted."""
        made = self.cognito.admin_create_user(
            UserPoolId=self.pool_id,
            Username=f"{name}@example.com",
            UserAttributes=[{"Name": "email", "Value": f"{name}@example.com"}],
            MessageAction="SUPPRESS",
        )
        told = {each["Name"]: each["Value"] for each in made["User"]["Attributes"]}
        user = User(told["sub"], Tier.FREE)
        for number in range(turns):
            run = self.answered(user, f"{name}-answered-{number}", f"I am {name}, {number}")
        self.stores.summaries.put(Summary(run.chat_id, "b_1", 1, 5, f"- {name}", now_ms()))
        for suffix in ("empty", "deleted"):
            chat_id = f"c_{suffix}_{user.user_id}"
            self.stores.chats.create(Chat(user.user_id, chat_id, None, 1, 1))
        self.stores.chats.mark_deleted(user.user_id, chat_id, 2)
        admitted(self.stores, send_of(f"{name}-waiting", f"{name} waits", user), now_ms())
        self.stores.tickets.put(Ticket(f"hash-{name}", user.user_id, user.tier, 1))
        self.files.put(user.user_id, "e_before", MANIFEST, b"{}")
        return user

    def answered(self, user: User, message_id: str, text: str) -> Run:
        run = admitted(self.stores, send_of(message_id, text, user), now_ms())
        claim = self.stores.runs.claim(run.run_id, "worker-1", "inbox", now_ms())
        assert isinstance(claim, Claimed)
        self.stores.runs.put_checkpoints([Checkpoint(run.run_id, 1, 0, text)], now_ms())
        assert self.stores.runs.end(claim.run, ending(text=f"Hello! {text}"))
        return run

    def all_that_is_stored(self) -> str:
        """Of everybody, as text: tables, files, and the pool."""
        dynamodb, s3 = boto3.client("dynamodb"), boto3.client("s3")
        tables = [
            dynamodb.scan(TableName=name, ConsistentRead=True)["Items"]
            for name in vars_of(self.names).values()
        ]
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket=self.prefix).get("Contents", [])]
        users = self.cognito.list_users(UserPoolId=self.pool_id)["Users"]
        return json.dumps([tables, keys, users], default=str)

    def traces_of(self, user: User, name: str) -> list[str]:
        stored = self.all_that_is_stored()
        return [word for word in (user.user_id, name) if word in stored]


def vars_of(names: TableNames) -> dict[str, str]:
    return {name: getattr(names, name) for name in names.__slots__}


@pytest.fixture
def house(
    ministack_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    for key, value in ministack_environment.items():
        monkeypatch.setenv(key, value)
    aws.session.cache_clear()
    yield House()
    aws.session.cache_clear()


class TestPurge:
    @pytest.fixture
    def machine(self, house: House) -> Machine:
        return house.machine(
            "purge_account",
            "PurgeAccountStateMachine",
            "purge_account",
            "PurgeAccountFunctionArn",
        )

    def test_nothing_names_the_user_any_more_and_all_of_another_stays(
        self, house: House, machine: Machine
    ) -> None:
        bob = house.moved_in("bobby")
        before = house.all_that_is_stored()
        alice = house.moved_in("alicia")
        assert house.traces_of(alice, "alicia") == [alice.user_id, "alicia"]
        purges = StatesAccountPurges(house.states, machine.arn)
        purges.start(alice.user_id)
        purges.start(alice.user_id)
        told = machine.end_of(machine.execution(f"purge-account-{alice.user_id}"), DEADLINE_S)
        assert told["status"] == "SUCCEEDED", told
        assert json.loads(told["output"]) == {"outcome": "purged"}
        assert house.traces_of(alice, "alicia") == []
        assert house.traces_of(bob, "bobby") == [bob.user_id, "bobby"]
        # But for runs that say that they are gone, all is as it was before she came.
        stored = json.loads(house.all_that_is_stored())
        for table in stored[0]:
            table[:] = [item for item in table if "is_gone" not in item]
        assert _sorted(stored) == _sorted(json.loads(before))

    def test_somebody_who_is_not_there_is_purged_too(self, house: House, machine: Machine) -> None:
        bob = house.moved_in("bobby")
        before = house.all_that_is_stored()
        execution = machine.started({"user_id": str(uuid.uuid4())})
        assert machine.end_of(execution, DEADLINE_S)["status"] == "SUCCEEDED"
        assert house.all_that_is_stored() == before
        assert house.traces_of(bob, "bobby")

    def test_a_worker_that_never_lets_go_fails_it_and_says_whose(
        self, house: House, machine: Machine
    ) -> None:
        alice = house.moved_in("alicia")
        run = admitted(house.stores, send_of("held-by-one", "Hi", alice), now_ms())
        far_ms = now_ms() + 3_600_000
        assert isinstance(house.stores.runs.claim(run.run_id, "worker-1", "", far_ms), Claimed)
        execution = machine.started({"user_id": alice.user_id})
        told = machine.end_of(execution, DEADLINE_S)
        assert (told["status"], told["error"]) == ("FAILED", "WorkersHoldOn")
        assert alice.user_id in told["cause"]
        # All others are gone, and nothing new is taken.
        assert [chat.chat_id for chat in house.stores.chats.all(alice.user_id, 9, "")] == [
            run.chat_id
        ]
        assert house.stores.ledgers.get(alice.user_id).is_closed

    def test_a_crash_after_each_write_is_made_good_by_the_step_done_again(
        self, house: House
    ) -> None:
        bob = house.moved_in("bobby", turns=1)
        before = house.all_that_is_stored()
        alice = house.moved_in("alicia")
        died_after: list[str] = []
        for step in (_shut, _chats, _rest, _forgotten):
            # Each try dies after its first write; where that is one that each try does, after the next.
            writes, died = 1, ""
            while True:
                try:
                    if step(Dying(house, writes), alice):
                        break
                except StoreUnavailable as error:
                    writes += died == str(error)
                    died = str(error)
                    died_after.append(died)
                assert len(died_after) < 200
        assert set(died_after) == set(WRITES) - {"request_cancel"}
        assert house.traces_of(alice, "alicia") == []
        stored = json.loads(house.all_that_is_stored())
        for table in stored[0]:
            table[:] = [item for item in table if "is_gone" not in item]
        assert _sorted(stored) == _sorted(json.loads(before))
        assert house.traces_of(bob, "bobby")


@dataclass
class Dying:
    """The house's ports in a process that dies after so many writes."""

    house: House
    after_writes: int

    def __post_init__(self) -> None:
        left = [self.after_writes]
        self.stores = crashing(self.house.stores, left)
        self.files: Any = Crashing(self.house.files, left)
        self.pool: Any = Crashing(self.house.pool, left)
        self.inboxes = self.house.inboxes


def _shut(at: Dying, user: User) -> bool:
    shut(at.stores, at.inboxes, at.pool, user.user_id, now_ms())
    return True


def _chats(at: Dying, user: User) -> bool:
    purged = remove_chats(at.stores, at.inboxes, user.user_id, now_ms())
    return purged.state is PurgeState.DONE


def _rest(at: Dying, user: User) -> bool:
    state = remove_rest(at.stores, at.files, at.pool, user.user_id, now_ms())
    return state is PurgeState.DONE


def _forgotten(at: Dying, user: User) -> bool:
    return forget(at.stores, at.files, user.user_id, "").state is Forgotten.DONE


def _sorted(stored: Any) -> Any:
    """Tables are scanned in no order."""
    return [
        [sorted(table, key=json.dumps) for table in stored[0]],
        sorted(stored[1]),
        sorted(stored[2], key=json.dumps),
    ]


class TestExport:
    @pytest.fixture
    def machine(self, house: House) -> Machine:
        return house.machine(
            "export", "ExportStateMachine", "export_account", "ExportAccountFunctionArn"
        )

    def lines(self, house: House, user: User, export_id: str) -> list[Line]:
        body = house.files.get(user.user_id, export_id, MANIFEST)
        assert body is not None
        lines: list[Line] = []
        for file in decode_manifest(body).files:
            part = house.files.get(user.user_id, export_id, file.name)
            assert part is not None
            lines += decode_lines(part)
        return lines

    def test_all_of_a_user_is_written_over_several_steps(
        self, house: House, machine: Machine
    ) -> None:
        house.moved_in("bobby")
        alice = house.moved_in("alicia")
        # More chats than go into one file.
        for number in range(205):
            chat = Chat(alice.user_id, f"c_many_{number:04d}", f"No. {number}", 1, 1)
            house.stores.chats.create(chat)
        jobs = StatesExportJobs(house.states, machine.arn)
        assert jobs.state(alice.user_id, "e_1") is None
        jobs.start(alice.user_id, "e_1")
        assert jobs.state(alice.user_id, "e_1") is ExportState.PREPARING
        jobs.start(alice.user_id, "e_1")
        told = machine.end_of(machine.execution(f"export-{alice.user_id}-e_1"), DEADLINE_S)
        assert told["status"] == "SUCCEEDED", told
        assert jobs.state(alice.user_id, "e_1") is ExportState.READY
        said = json.loads(told["output"])
        lines = self.lines(house, alice, "e_1")
        assert said["outcome"] == "exported"
        assert said["files"] == 2
        assert said["counts"]["chat"] == 205 + 4
        assert sum(said["counts"].values()) == len(lines)
        texts = {line.text for line in lines if isinstance(line, MessageLine)}
        assert texts == {
            "I am alicia, 0",
            "Hello! I am alicia, 0",
            "I am alicia, 1",
            "Hello! I am alicia, 1",
            "alicia waits",
        }
        assert "bobby" not in str(lines)

    def test_of_a_closed_account_it_is_given_up(self, house: House, machine: Machine) -> None:
        alice = house.moved_in("alicia")
        shut(house.stores, house.inboxes, house.pool, alice.user_id, now_ms())
        jobs = StatesExportJobs(house.states, machine.arn)
        jobs.start(alice.user_id, "e_1")
        told = machine.end_of(machine.execution(f"export-{alice.user_id}-e_1"), DEADLINE_S)
        assert (told["status"], told["error"]) == ("FAILED", "AccountClosed")
        assert jobs.state(alice.user_id, "e_1") is ExportState.FAILED
        assert house.files.get(alice.user_id, "e_1", MANIFEST) is None


class TestDrain:
    @pytest.fixture
    def machine(self, house: House) -> Machine:
        return house.machine("drain", "DrainStateMachine", "drain_worker", "DrainWorkerFunctionArn")

    def ended(self, machine: Machine, worker_id: str = "worker-1") -> tuple[str, str]:
        told = machine.end_of(machine.started({"worker_id": worker_id}), DEADLINE_S)
        if told["status"] == "SUCCEEDED":
            assert json.loads(told["output"]) == {"outcome": "drained", "worker_id": worker_id}
        else:
            assert worker_id in told["cause"]
        return told["status"], told.get("error", "")

    def test_a_worker_that_leaves_is_drained(self, house: House, machine: Machine) -> None:
        inbox = house.inboxes.open("worker-1")
        with _Beating(house, inbox) as leaves:
            heard: list[Any] = []

            def listen() -> None:
                while not heard:
                    heard.extend(house.inboxes.receive(inbox, 1))
                leaves()

            listener = threading.Thread(target=listen)
            listener.start()
            assert self.ended(machine) == ("SUCCEEDED", "")
            listener.join(DEADLINE_S)
            assert set(map(type, heard)) == {Drain}

    def test_who_works_on_is_said_to(self, house: House, machine: Machine) -> None:
        """As a worker of a release does that does not know what it is told."""
        inbox = house.inboxes.open("worker-1")
        with _Beating(house, inbox):
            assert self.ended(machine) == ("FAILED", "WorkerStays")

    def test_who_is_dead_or_unknown_is_said_to_be(self, house: House, machine: Machine) -> None:
        assert self.ended(machine, "worker-2") == ("FAILED", "NoSuchWorker")
        inbox = house.inboxes.open("worker-1")
        house.stores.beats.put(Beat("worker-1", inbox, now_ms() - 60_000, 1, 1))
        assert self.ended(machine) == ("FAILED", "WorkerIsDead")


class _Beating:
    """A worker's beats, until it leaves."""

    def __init__(self, house: House, inbox: str) -> None:
        self._house = house
        self._inbox = inbox
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def __enter__(self) -> Callable[[], None]:
        self._put()
        self._thread.start()
        return self._leave

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _put(self) -> None:
        self._house.stores.beats.put(Beat("worker-1", self._inbox, now_ms(), 1, 1))

    def _beat(self) -> None:
        while not self._stop.wait(1):
            self._put()

    def _leave(self) -> None:
        self.__exit__()
        self._house.stores.beats.remove("worker-1")


class TestRedrive:
    @pytest.fixture
    def machine(self, house: House) -> Machine:
        return house.machine(
            "redrive", "RedriveStateMachine", "redrive_runs", "RedriveRunsFunctionArn"
        )

    def jobs(self, house: House) -> list[str]:
        run_ids: list[str] = []
        for lane in LANES:
            while (received := house.lanes.receive(lane, 0)) is not None:
                run_ids.append(received.item.run_id)
                house.lanes.acknowledge(lane, received.handle)
        return sorted(run_ids)

    def test_stuck_runs_get_their_jobs_again_and_it_says_how_many(
        self, house: House, machine: Machine
    ) -> None:
        users = [User(f"user-{number}", Tier.FREE) for number in range(4)]
        old_ms = now_ms() - OLD_MS
        queued, held, dead = [
            admitted(house.stores, send_of(f"message-{user.user_id}", user=user), old_ms)
            for user in users[:3]
        ]
        fresh = admitted(house.stores, send_of("message-fresh", user=users[3]), now_ms())
        for run, at_ms in ((held, now_ms()), (dead, old_ms)):
            claim = house.stores.runs.claim(run.run_id, "worker-1", "inbox", at_ms)
            assert isinstance(claim, Claimed)
        told = machine.end_of(machine.started({}), DEADLINE_S)
        assert told["status"] == "SUCCEEDED", told
        assert json.loads(told["output"]) == {
            "outcome": "through",
            "looked_at": 4,
            "requeued": 1,
            "taken_over": 1,
            "behind": 0,
            "changed": 0,
        }
        assert self.jobs(house) == sorted([queued.run_id, dead.run_id])
        # Once is enough for as long.
        told = machine.end_of(machine.started({"older_than_minutes": 5}), DEADLINE_S)
        assert json.loads(told["output"])["requeued"] == 0
        assert self.jobs(house) == []
        # Whatever is asked for, nobody's job is put in more often than attaching does it.
        told = machine.end_of(machine.started({"older_than_minutes": 0}), DEADLINE_S)
        assert json.loads(told["output"])["requeued"] == 0
        stored = house.stores.runs.get(fresh.run_id)
        assert stored is not None
        assert replace(stored, requeued_ms=0) == fresh

    def test_it_walks_through_all_pages_from_where_it_is_told(
        self, house: House, machine: Machine
    ) -> None:
        old_ms = now_ms() - OLD_MS
        for number in range(520):
            house.stores.runs.put(
                Run(
                    run_id=f"r_{number:05d}",
                    user_id="user-1",
                    chat_id="c_1",
                    tier=Tier.FREE,
                    message_id=f"message-{number}",
                    message_seq=number,
                    digest="",
                    created_ms=old_ms,
                    started_ms=old_ms,
                    lease_until_ms=now_ms() + 3_600_000,
                )
            )
        told = json.loads(machine.end_of(machine.started({}), DEADLINE_S)["output"])
        assert (told["outcome"], told["looked_at"]) == ("through", 520)
        page = house.stores.runs.active(500, "")
        asked = {"after_id": page.next_id}
        told = json.loads(machine.end_of(machine.started(asked), DEADLINE_S)["output"])
        assert (told["outcome"], told["looked_at"]) == ("through", 20)
