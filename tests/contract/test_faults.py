"""The real adapters when AWS misbehaves: a proxy stands before MiniStack and does what it is told to.

Each write whose answer is lost has happened, and is repeated by the client below us or by our own
callers; here is what then comes of it.
"""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from chatcore.adapters.dynamo import tables
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import TableNames, open_tables
from chatcore.adapters.memory.queues import MemoryInboxes
from chatcore.adapters.sqs import SqsInboxes, SqsLanes, sqs_client
from chatcore.domain import lease
from chatcore.domain.beat import Beat
from chatcore.domain.calendar import LANES, Calendar
from chatcore.domain.chat import Chat
from chatcore.domain.errors import Retryable
from chatcore.domain.identity import User
from chatcore.domain.lanes import Lane
from chatcore.domain.ledger import cost_tokens
from chatcore.domain.run import Ending, Event, FinishReason, Run, Status, Usage
from chatcore.domain.stream import Checkpoint, durable_text
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.domain.usage import DayUsage, day_of
from chatcore.ports import Held, Lanes, Stores, Ticket
from chatcore.protocol.queue import Cancel, job_for
from chatcore.services.dispatch import dispatch
from chatcore.services.settle import settle
from chatcore.services.submit import Submitted, submit
from tests.contract.conftest import make_tables
from tests.contract.sends import NOW_MS, admitted, claimed, send_of

pytestmark = pytest.mark.enable_socket

ALWAYS = 99
LANE = Lane(Tier.FREE)
FREE_LANES = [lane for lane in LANES if lane.tier is Tier.FREE]
USAGE = Usage(input_tokens=40, cached_tokens=16, output_tokens=10)


class Fault(StrEnum):
    THROTTLED = "throttled"
    """It did not happen, and says so."""
    BROKEN = "broken"
    """A 500: it did not happen."""
    DROPPED = "dropped"
    """The connection ends before AWS has heard of it."""
    SILENT = "silent"
    """No answer for longer than the client waits; it did not happen."""
    LOST = "lost"
    """It happened, and the connection ends before the answer."""
    PARTIAL = "partial"
    """A batch of which half did not happen."""


@dataclass
class Proxy:
    """fault: what befalls the next requests to `action`, so often, once it has passed by so many."""

    target: str
    url: str = ""
    action: str = ""
    fault: Fault | None = None
    times: int = 0
    passed_by: int = 0
    seen: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def strike(self, action: str, fault: Fault, times: int, pass_by: int = 0) -> None:
        self.action, self.fault, self.times, self.passed_by = action, fault, times, pass_by
        self.seen.clear()

    def due(self, action: str) -> Fault | None:
        self.seen.append(action)
        if action != self.action or self.times <= 0:
            return None
        if self.passed_by > 0:
            self.passed_by -= 1
            return None
        self.times -= 1
        return self.fault


@pytest.fixture(scope="module")
def proxy(ministack_environment: dict[str, str]) -> Iterator[Proxy]:
    made = Proxy(ministack_environment["AWS_ENDPOINT_URL"])
    forward = httpx.Client(timeout=30)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            service, _, action = self.headers.get("X-Amz-Target", "").partition(".")
            fault = made.due(action)
            if fault is Fault.SILENT:
                made.closing.wait(5)
            if fault in (Fault.DROPPED, Fault.SILENT):
                self.close_connection = True
            elif fault is Fault.BROKEN:
                self._answer(500, b"{}")
            elif fault is Fault.THROTTLED:
                dynamo = service.startswith("DynamoDB")
                name = "ProvisionedThroughputExceededException" if dynamo else "RequestThrottled"
                self._answer(400, json.dumps({"__type": f"com.amazon#{name}"}).encode())
            elif fault is Fault.PARTIAL:
                self._answer_partially(body)
            else:
                answer = self._forwarded(body)
                if fault is Fault.LOST:
                    self.close_connection = True
                else:
                    self._answer(answer.status_code, answer.content)

        def _answer_partially(self, body: bytes) -> None:
            request = json.loads(body)
            left = {}
            for table, puts in request["RequestItems"].items():
                half = len(puts) // 2
                request["RequestItems"][table], left[table] = puts[:half], puts[half:]
            self._forwarded(json.dumps(request).encode())
            self._answer(200, json.dumps({"UnprocessedItems": left}).encode())

        def _forwarded(self, body: bytes) -> httpx.Response:
            kept = ("x-amz-target", "content-type", "authorization", "x-amz-date")
            headers = {name: self.headers[name] for name in kept if self.headers[name]}
            return forward.post(made.target + self.path, content=body, headers=headers)

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()
    forward.close()


@pytest.fixture(scope="module")
def through(proxy: Proxy, ministack_environment: dict[str, str]) -> Iterator[Proxy]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ministack_environment, "AWS_ENDPOINT_URL": proxy.url}.items():
            patch.setenv(name, value)
        patch.setattr(tables, "READ_TIMEOUT_S", 0.5)
        yield proxy


@pytest.fixture(autouse=True)
def _well_again(proxy: Proxy) -> Iterator[None]:
    yield
    proxy.times = 0


@pytest.fixture(scope="module")
def names(through: Proxy) -> TableNames:
    return make_tables()


@pytest.fixture
def stores(names: TableNames) -> Stores:
    """Over a client of their own: one that has failed often is given no more retries by botocore."""
    return dynamo_stores(open_tables(names))


@pytest.fixture
def lanes(through: Proxy) -> Lanes:
    client = sqs_client()
    prefix = f"f{uuid.uuid4().hex[:12]}-lane"
    for lane in FREE_LANES:
        url = client.create_queue(QueueName=f"{prefix}-{lane}")["QueueUrl"]
    return SqsLanes(client, url.removesuffix(f"-{FREE_LANES[-1]}"))


def ending(run: Run) -> Ending:
    return Ending(Event.COMPLETE, NOW_MS + 500, "Hi there", USAGE, FinishReason.STOP)


def pieces(run: Run, count: int) -> list[Checkpoint]:
    return [Checkpoint(run.run_id, run.epoch, 2 * number, "ab") for number in range(count)]


def somebody() -> User:
    return User(f"user-{uuid.uuid4().hex}", Tier.FREE)


def queued(stores: Stores) -> Run:
    return admitted(stores, send_of(user=somebody()))


def running(stores: Stores) -> Run:
    return claimed(stores, queued(stores))


def put_again(stores: Stores, user_id: str) -> None:
    ledger = stores.ledgers.get(user_id)
    stores.ledgers.put(replace(ledger, version=ledger.version + 1), ledger.version)


WRITES: dict[str, tuple[str, Callable[[Stores, Run], Any]]] = {
    "view": ("TransactGetItems", lambda stores, run: stores.runs.view(send_of())),
    "get": ("GetItem", lambda stores, run: stores.runs.get(run.run_id)),
    "claim": (
        "UpdateItem",
        lambda stores, run: stores.runs.claim(run.run_id, "w", "i", NOW_MS + 10**6),
    ),
    "renew": (
        "UpdateItem",
        lambda stores, run: stores.runs.renew(run.run_id, run.epoch, lease.until(NOW_MS + 9)),
    ),
    "hand_back": (
        "UpdateItem",
        lambda stores, run: stores.runs.hand_back(run.run_id, run.epoch, USAGE, False),
    ),
    "end": ("TransactWriteItems", lambda stores, run: stores.runs.end(run, ending(run))),
    "add_viewer": ("UpdateItem", lambda stores, run: stores.runs.add_viewer(run.run_id, "s")),
    "note_requeued": (
        "UpdateItem",
        lambda stores, run: stores.runs.note_requeued(run, NOW_MS),
    ),
    "request_cancel": (
        "UpdateItem",
        lambda stores, run: stores.runs.request_cancel(run.run_id),
    ),
    "put_checkpoints": (
        "BatchWriteItem",
        lambda stores, run: stores.runs.put_checkpoints(pieces(run, 2), NOW_MS),
    ),
    "checkpoints": ("Query", lambda stores, run: stores.runs.checkpoints(run.run_id)),
    "messages": ("Query", lambda stores, run: stores.messages.newest(run.chat_id, 9, None)),
    "ledger": ("GetItem", lambda stores, run: stores.ledgers.get(run.user_id)),
    "put_ledger": ("UpdateItem", lambda stores, run: put_again(stores, run.user_id)),
    "charge": ("UpdateItem", lambda stores, run: stores.ledgers.charge(run.user_id, "r", 9)),
    "usage": (
        "Query",
        lambda stores, run: stores.usage.days(run.user_id, "2027-01-01", "2027-01-31"),
    ),
    "calendar": ("GetItem", lambda stores, run: stores.calendars.get(Tier.FREE)),
    "advance": ("UpdateItem", lambda stores, run: stores.calendars.advance(Tier.FREE, 10**6)),
    "publish": (
        "UpdateItem",
        lambda stores, run: stores.calendars.publish(Calendar(Tier.PLUS), 0),
    ),
    "put_beat": (
        "PutItem",
        lambda stores, run: stores.beats.put(Beat("worker-1", "i", NOW_MS, 1, 0)),
    ),
    "beat": ("GetItem", lambda stores, run: stores.beats.get("worker-1")),
    "beats": ("Scan", lambda stores, run: stores.beats.all()),
    "put_ticket": (
        "PutItem",
        lambda stores, run: stores.tickets.put(Ticket("h", "u", Tier.FREE, NOW_MS + 9)),
    ),
    "create": (
        "TransactWriteItems",
        lambda stores, run: stores.chats.create(Chat(run.user_id, "c_new", None, 1, 1)),
    ),
    "all_chats": ("Query", lambda stores, run: stores.chats.all(run.user_id, 9, "")),
    "oldest": ("Query", lambda stores, run: stores.messages.oldest(run.chat_id, 9, 0)),
    "summaries": ("Query", lambda stores, run: stores.summaries.all(run.chat_id)),
    "active": ("Scan", lambda stores, run: stores.runs.active(9, "")),
    "forget": ("DeleteItem", lambda stores, run: stores.ledgers.forget("user-nobody")),
    "remove_usage": ("Query", lambda stores, run: stores.usage.remove(run.user_id)),
    "remove_tickets": ("Scan", lambda stores, run: stores.tickets.remove_of("u", 9, "")),
    "rename": (
        "UpdateItem",
        lambda stores, run: stores.chats.rename(run.user_id, run.chat_id, "New"),
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_does_not_happen_is_said_to_be_worth_another_try(
    stores: Stores, through: Proxy, name: str
) -> None:
    action, call = WRITES[name]
    run = running(stores)
    for fault in (Fault.THROTTLED, Fault.DROPPED):
        through.strike(action, fault, ALWAYS)
        with pytest.raises(Retryable):
            call(stores, run)
        # Bounded: whoever waits for it has a lease to keep.
        assert 1 <= through.seen.count(action) <= 3
    through.strike(action, Fault.THROTTLED, 0)
    call(stores, run)


@pytest.mark.parametrize("name", ["get", "renew", "end", "put_checkpoints"])
def test_silence_is_given_up(stores: Stores, through: Proxy, name: str) -> None:
    action, call = WRITES[name]
    run = running(stores)
    through.strike(action, Fault.SILENT, ALWAYS)
    with pytest.raises(Retryable):
        call(stores, run)


@pytest.mark.parametrize("name", WRITES)
def test_one_fault_is_got_over_without_a_word(stores: Stores, through: Proxy, name: str) -> None:
    action, call = WRITES[name]
    run = running(stores)
    through.strike(action, Fault.THROTTLED, 1)
    call(stores, run)
    assert through.seen.count(action) >= 2


class TestAnswersThatAreLost:
    """The write happened."""

    def test_an_admission_is_found_and_repeated(
        self, stores: Stores, lanes: Lanes, through: Proxy
    ) -> None:
        send = send_of(user=somebody())
        through.strike("TransactWriteItems", Fault.LOST, ALWAYS)
        outcome = submit(stores, lanes, MemoryInboxes(), DEFAULTS, send, NOW_MS)
        assert isinstance(outcome, Submitted)
        assert outcome.repeat
        assert set(stores.ledgers.get(send.user.user_id).active) == {outcome.run.run_id}
        assert len(stores.messages.newest(outcome.run.chat_id, 9, None).items) == 1

    def test_an_end_is_recognised_and_paid_once(self, stores: Stores, through: Proxy) -> None:
        run = running(stores)
        through.strike("TransactWriteItems", Fault.LOST, 1)
        stored = settle(stores.runs, run, ending(run))
        assert stored is not None
        assert stored.status is Status.COMPLETED
        ledger = stores.ledgers.get(run.user_id)
        assert (ledger.settled_tokens, dict(ledger.active)) == (cost_tokens(USAGE), {})
        today = day_of(NOW_MS)
        (used,) = stores.usage.days(run.user_id, today, today)
        assert used == DayUsage(today, 1, USAGE)
        chat = stores.chats.get(run.user_id, run.chat_id)
        assert chat is not None
        assert chat.usage == USAGE

    def test_a_claim_is_known_again(self, stores: Stores, through: Proxy) -> None:
        run = queued(stores)
        through.strike("UpdateItem", Fault.LOST, 1)
        first = claimed(stores, run)
        assert (first.epoch, first.attempts) == (1, 0)
        # By the claim that made it: not by another of the same worker, for a job that is there twice.
        again = stores.runs.claim(run.run_id, first.worker_id or "", first.inbox or "", NOW_MS)
        assert isinstance(again, Held)

    def test_a_take_over_is_known_again(self, stores: Stores, through: Proxy) -> None:
        run = running(stores)
        later_ms = NOW_MS + lease.LEASE_MS + lease.SKEW_MARGIN_MS + 1
        # The claim of a queued run is refused; the second try is the take-over.
        through.strike("UpdateItem", Fault.LOST, 1, pass_by=1)
        taken = claimed(stores, run, now_ms=later_ms)
        assert (taken.epoch, taken.attempts) == (run.epoch + 1, 1)

    def test_a_renewal_is_simply_made_again(self, stores: Stores, through: Proxy) -> None:
        run = running(stores)
        through.strike("UpdateItem", Fault.LOST, 1)
        renewed = stores.runs.renew(run.run_id, run.epoch, lease.until(NOW_MS + 9))
        assert renewed is not None
        assert renewed.lease_until_ms == lease.until(NOW_MS + 9)

    def test_a_hand_back_counts_once(self, stores: Stores, through: Proxy) -> None:
        run = running(stores)
        through.strike("UpdateItem", Fault.LOST, 1)
        # Not told apart from a lease that was lost; either way the run is not this worker's.
        assert not stores.runs.hand_back(run.run_id, run.epoch, USAGE, fault=True)
        stored = stores.runs.get(run.run_id)
        assert stored is not None
        assert (stored.status, stored.attempts, stored.spent) == (Status.QUEUED, 1, USAGE)

    def test_a_ticket_is_used_up(self, stores: Stores, through: Proxy) -> None:
        """Its owner takes another one."""
        stores.tickets.put(Ticket("hash", somebody().user_id, Tier.FREE, NOW_MS + 9))
        through.strike("DeleteItem", Fault.LOST, 1)
        assert stores.tickets.take("hash", NOW_MS) is None

    def test_a_checkpoint_is_put_again(self, stores: Stores, through: Proxy) -> None:
        run = running(stores)
        through.strike("BatchWriteItem", Fault.LOST, 1)
        stores.runs.put_checkpoints(pieces(run, 3), NOW_MS)
        assert durable_text(stores.runs.checkpoints(run.run_id)) == "ababab"

    def test_a_job_is_there_twice(self, stores: Stores, lanes: Lanes, through: Proxy) -> None:
        """One is claimed, the other acknowledged."""
        job = job_for(queued(stores))
        through.strike("SendMessage", Fault.LOST, 1)
        lanes.send(LANE, job)
        received = [lanes.receive(LANE, 0), lanes.receive(LANE, 0)]
        assert [each and each.item for each in received] == [job, job]


def test_a_batch_of_which_half_happened_is_completed_by_its_repeat(
    stores: Stores, through: Proxy
) -> None:
    run = running(stores)
    through.strike("BatchWriteItem", Fault.PARTIAL, 1)
    with pytest.raises(Retryable):
        stores.runs.put_checkpoints(pieces(run, 6), NOW_MS)
    assert durable_text(stores.runs.checkpoints(run.run_id)) == "ababab"
    stores.runs.put_checkpoints(pieces(run, 6), NOW_MS)
    assert durable_text(stores.runs.checkpoints(run.run_id)) == "ab" * 6


class TestAnAccountInTrouble:
    """While a run gets its slot. Its answer does not wait for this (see the worker's tests)."""

    def taken(self, lanes: Lanes) -> list[str]:
        run_ids: list[str] = []
        for lane in FREE_LANES:
            while (received := lanes.receive(lane, 0)) is not None:
                run_ids.append(received.item.run_id)
                lanes.acknowledge(lane, received.handle)
        return run_ids

    @pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.BROKEN, Fault.LOST])
    def test_the_users_next_run_is_put_in_in_the_end(
        self, stores: Stores, lanes: Lanes, through: Proxy, fault: Fault
    ) -> None:
        user = somebody()
        first, second = (admitted(stores, send_of(f"message-000{n}", user=user)) for n in range(2))
        run = claimed(stores, first)

        def once() -> int:
            calendar = Calendar(Tier.FREE)
            return dispatch(stores, lanes, calendar, user.user_id, run.run_id, run.weight, NOW_MS)

        through.strike("UpdateItem", fault, 1 if fault is Fault.LOST else ALWAYS)
        if fault is Fault.LOST:
            # It happened, and its repeat by the client below us finds the account written.
            charged = once()
        else:
            with pytest.raises(Retryable):
                once()
            assert stores.ledgers.get(user.user_id).waiting == (first.run_id, second.run_id)
            through.strike("", fault, 0)
            charged = once()
        ledger = stores.ledgers.get(user.user_id)
        assert ledger.waiting == (second.run_id,)
        assert dict(ledger.charged) == {first.run_id: charged}
        # Perhaps twice, which is harmless.
        assert set(self.taken(lanes)) == {second.run_id}

    def test_a_charge_that_is_throttled_leaves_what_was_charged(
        self, stores: Stores, lanes: Lanes, through: Proxy
    ) -> None:
        run = running(stores)
        calendar = Calendar(Tier.FREE)
        dispatch(stores, lanes, calendar, run.user_id, run.run_id, run.weight, NOW_MS)
        before = stores.ledgers.get(run.user_id)
        through.strike("UpdateItem", Fault.THROTTLED, ALWAYS)
        with pytest.raises(Retryable):
            stores.ledgers.charge(run.user_id, run.run_id, 9_999)
        through.strike("", Fault.THROTTLED, 0)
        assert stores.ledgers.get(run.user_id) == before
        stores.ledgers.charge(run.user_id, run.run_id, 9_999)
        assert stores.ledgers.get(run.user_id).charged[run.run_id] == 9_999


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.DROPPED])
def test_a_lane_in_trouble_says_so(
    stores: Stores, lanes: Lanes, through: Proxy, fault: Fault
) -> None:
    job = job_for(queued(stores))
    lanes.send(LANE, job)
    received = lanes.receive(LANE, 0)
    assert received is not None
    calls: dict[str, Callable[[], Any]] = {
        "SendMessage": lambda: lanes.send(LANE, job),
        "ReceiveMessage": lambda: lanes.receive(LANE, 0),
        "DeleteMessage": lambda: lanes.acknowledge(LANE, received.handle),
        "ChangeMessageVisibility": lambda: lanes.hide(LANE, received.handle, 0),
    }
    for action, call in calls.items():
        through.strike(action, fault, ALWAYS)
        with pytest.raises(Retryable):
            call()


@pytest.mark.parametrize("fault", [Fault.THROTTLED])
def test_an_inbox_in_trouble_says_so(through: Proxy, fault: Fault) -> None:
    inboxes = SqsInboxes(sqs_client(), "https://sqs.us-east-1.amazonaws.com/000000000000/f")
    inbox = inboxes.open("w1")
    calls: dict[str, Callable[[], Any]] = {
        "SendMessage": lambda: inboxes.send(inbox, Cancel(run_id="r")),
        "ReceiveMessage": lambda: inboxes.receive(inbox, 0),
        "CreateQueue": lambda: inboxes.open("w1"),
        "DeleteQueue": lambda: inboxes.close("w1"),
    }
    for action, call in calls.items():
        through.strike(action, fault, ALWAYS)
        with pytest.raises(Retryable):
            call()
    through.strike("", fault, 0)
    inboxes.close("w1")
