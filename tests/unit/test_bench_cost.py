"""What is billed: DynamoDB's rules, by the examples and limits that its documentation gives; whose bill a
call is on; and what bills come to."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from bench.bill import Bill
from bench.cost_load import SETTLED, Phase, runs_per_s
from bench.dynamo_units import index_write_units, item_bytes, read_units, write_units
from bench.meter import SENDER, Meter, Sender

KB = 1024
OLD = {"at": {"N": "1"}, "title": {"S": "a"}}
RENAMED = {"at": {"N": "1"}, "title": {"S": "b"}}
MOVED = {"at": {"N": "2"}, "title": {"S": "a"}}


def item_of(size_bytes: int) -> dict[str, dict[str, str]]:
    return {"k": {"S": "x" * (size_bytes - 1)}}


@pytest.mark.parametrize(
    ("value", "size_bytes"),
    [
        ({"S": "naïve"}, 6),
        ({"S": ""}, 0),
        ({"N": "0"}, 1),
        ({"N": "7"}, 2),
        ({"N": "1234"}, 3),
        ({"N": "1200"}, 2),
        ({"N": "-12.5"}, 4),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"B": b"abc"}, 3),
        ({"SS": ["ab", "c"]}, 3),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}]}, 3 + 1 + 2),
        ({"M": {"ab": {"S": "c"}}}, 3 + 1 + 2 + 1),
    ],
)
def test_an_item_is_as_big_as_its_names_and_values(value: dict[str, Any], size_bytes: int) -> None:
    assert item_bytes({"name": value}) == len("name") + size_bytes


def test_no_item_has_no_size() -> None:
    assert item_bytes(None) == 0
    assert item_bytes({}) == 0


def test_an_unknown_type_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="no type X"):
        item_bytes({"name": {"X": "1"}})


@pytest.mark.parametrize(
    ("size_bytes", "units"), [(0, 1), (1, 1), (4 * KB, 1), (4 * KB + 1, 2), (8 * KB, 2)]
)
def test_a_read_is_billed_by_4_kb(size_bytes: int, units: int) -> None:
    assert read_units(size_bytes) == units
    assert read_units(size_bytes, transaction=True) == 2 * units
    assert read_units(size_bytes, consistent=False) == units / 2


@pytest.mark.parametrize(("size_bytes", "units"), [(2, 1), (KB, 1), (KB + 1, 2), (3 * KB, 3)])
def test_a_write_is_billed_by_1_kb(size_bytes: int, units: int) -> None:
    assert write_units(None, item_of(size_bytes)) == units
    assert write_units(None, item_of(size_bytes), transaction=True) == 2 * units


def test_an_update_is_billed_by_the_greater_of_before_and_after() -> None:
    assert write_units(item_of(3 * KB), item_of(KB)) == 3
    assert write_units(item_of(KB), item_of(3 * KB)) == 3


def test_a_delete_is_billed_by_what_was_there() -> None:
    assert write_units(item_of(2 * KB), None) == 2
    assert write_units(None, None) == 1


class TestIndex:
    def test_a_new_entry_is_one_write(self) -> None:
        assert index_write_units(None, OLD, "at") == 1

    def test_a_changed_entry_is_one_write(self) -> None:
        assert index_write_units(OLD, RENAMED, "at") == 1

    def test_a_changed_key_is_two(self) -> None:
        assert index_write_units(OLD, MOVED, "at") == 2
        assert index_write_units(OLD, MOVED, "at", transaction=True) == 4

    def test_what_does_not_change_costs_nothing(self) -> None:
        assert index_write_units(OLD, dict(OLD), "at") == 0

    def test_an_item_without_the_key_is_not_in_the_index(self) -> None:
        assert index_write_units(None, {"title": {"S": "a"}}, "at") == 0


@dataclass
class Table:
    """What the meter asks for an item's size after a write."""

    items: list[dict[str, Any]] = field(default_factory=list)

    def get_item(self, **_asked: object) -> dict[str, Any]:
        return {"Item": self.items.pop(0)} if self.items else {}


BACKGROUND = "aws/lane-background-returns"
LANES, RETURNS, INBOX = "aws/lane-free-3", "aws/lane-free-returns", "aws/x-inbox-w"


class Heard:
    """A meter, told of calls as botocore would."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.meter = Meter(cast(Any, Table(list(items))))

    def call(
        self, service: str, operation: str, params: dict[str, Any], answer: Mapping[str, Any]
    ) -> None:
        self.meter.count(self.meter.sort(service, operation, params), params, answer)

    def dynamo(self, operation: str, table: str, answer: object = None, **params: Any) -> None:
        found = {} if answer is None else {"Item": answer}
        self.call("DynamoDB", operation, {"TableName": f"stack-{table}", **params}, found)

    def sqs(self, operation: str, queue: str, *messages: dict[str, Any], **params: Any) -> None:
        answer = {"Messages": list(messages)} if messages else {}
        self.call("SQS", operation, {"QueueUrl": queue, **params}, answer)

    @contextmanager
    def handler(self, bill: Bill, connection_id: str = "c") -> Iterator[None]:
        token = SENDER.set(Sender(bill, connection_id))
        yield
        SENDER.reset(token)

    def send(self, bill: Bill, run_id: str = "r", user_id: str = "u") -> None:
        keys = [
            {"user_id": {"S": user_id}, "chat_id": {"S": f"chat of {user_id}"}},
            {"run_id": {"S": run_id}},
        ]
        look = {"TransactItems": [{"Get": {"TableName": "t", "Key": key}} for key in keys]}
        with self.handler(bill):
            self.call("DynamoDB", "TransactGetItems", look, {"Responses": [{}, {}]})

    def claim(self, run_id: str = "r") -> None:
        names = {"#0": "inbox", "#1": "epoch"}
        key = {"run_id": {"S": run_id}}
        self.dynamo("UpdateItem", "runs", Key=key, ExpressionAttributeNames=names)


def job(run_id: str, handle: str) -> dict[str, Any]:
    return {"Body": json.dumps({"run_id": run_id, "user_id": "u"}), "ReceiptHandle": handle}


class TestWhoseCall:
    def test_what_names_no_run_is_the_workers_own(self) -> None:
        heard, bill = Heard(), Bill()
        heard.send(bill)
        heard.dynamo("PutItem", "workers", Item={"worker_id": {"S": "w"}})
        heard.dynamo("GetItem", "calendars", Key={"tier": {"S": "free"}})
        heard.sqs("ReceiveMessage", LANES)
        heard.sqs("ReceiveMessage", INBOX)
        standing = heard.meter.stand()
        assert bill.calls == {("submit", "DynamoDB.TransactGetItems"): 1}
        assert standing.of_step(["survey"]) == {
            "DynamoDB.PutItem workers": 1,
            "DynamoDB.GetItem calendars": 1,
        }
        assert standing.of_step(["polls"]) == {
            "SQS.ReceiveMessage lane": 1,
            "SQS.ReceiveMessage inbox": 1,
        }
        assert standing.read_units["survey"] == 0.5
        assert heard.meter.stand().in_all() == 0

    def test_a_poll_is_on_the_bill_of_the_run_that_it_brought(self) -> None:
        heard, mine, other = Heard(), Bill(), Bill()
        heard.send(mine, "r1", "u1")
        heard.send(other, "r2", "u2")
        heard.sqs("ReceiveMessage", LANES, job("r2", "handle"))
        heard.sqs("DeleteMessage", LANES, ReceiptHandle="handle")
        assert mine.of_service("SQS") == 0
        assert other.of_step(["claim"]) == {
            "SQS.ReceiveMessage lane": 1,
            "SQS.DeleteMessage lane": 1,
        }
        assert heard.meter.standing.in_all() == 0

    def test_an_offer_is_known_by_the_job_in_it(self) -> None:
        heard, bill = Heard(), Bill()
        heard.send(bill)
        offer = {
            "Body": json.dumps({"kind": "offer", "job": {"run_id": "r"}}),
            "ReceiptHandle": "h",
        }
        heard.sqs("ReceiveMessage", INBOX, offer)
        assert bill.of_step(["claim"]) == {"SQS.ReceiveMessage inbox": 1}

    def test_the_steps_of_a_run_follow_from_its_calls(self) -> None:
        heard, bill = Heard(), Bill()
        user, run = {"user_id": {"S": "u"}}, {"run_id": {"S": "r"}}
        heard.send(bill)
        heard.sqs("ReceiveMessage", LANES, job("r", "handle"))
        heard.dynamo("GetItem", "ledgers", Key=user)
        heard.claim()
        asked_for = {":0": {"S": "chat of u"}}
        heard.dynamo("Query", "messages", ExpressionAttributeValues=asked_for, Limit=9)
        heard.dynamo("GetItem", "ledgers", Key=user)
        account = {"#0": "active", "#1": "waiting"}
        heard.dynamo("UpdateItem", "ledgers", Key=user, ExpressionAttributeNames=account)
        charge = {"#0": "charged"}
        heard.dynamo("UpdateItem", "ledgers", Key=user, ExpressionAttributeNames=charge)
        heard.dynamo("UpdateItem", "runs", Key=run, ExpressionAttributeNames={"#0": "epoch"})
        write = {"TransactItems": [{"Update": {"TableName": "stack-runs", "Key": run}}]}
        heard.call("DynamoDB", "TransactWriteItems", write, {})
        heard.sqs("DeleteMessage", LANES, ReceiptHandle="handle")
        steps = {
            step: sorted(bill.of_step([step])) for step in ("claim", "dispatch", "stream", "settle")
        }
        assert steps == {
            "claim": [
                "DynamoDB.GetItem ledgers",
                "DynamoDB.Query messages",
                "DynamoDB.UpdateItem runs",
                "SQS.ReceiveMessage lane",
            ],
            "dispatch": ["DynamoDB.GetItem ledgers", "DynamoDB.UpdateItem ledgers"],
            "stream": ["DynamoDB.UpdateItem ledgers", "DynamoDB.UpdateItem runs"],
            "settle": ["DynamoDB.TransactWriteItems", "SQS.DeleteMessage lane"],
        }
        assert bill.write_units["settle"] == 2

    def test_a_title_is_on_no_runs_bill(self) -> None:
        heard, bill = Heard(), Bill()
        heard.send(bill)
        chat = {":0": {"S": "chat of u"}}
        title = {"run_id": {"S": "b_title"}}
        heard.dynamo("PutItem", "runs", Item=title)
        heard.sqs("SendMessage", BACKGROUND, MessageBody="{}", MessageGroupId="u")
        heard.sqs("ReceiveMessage", BACKGROUND, job("b_title", "of the title"))
        heard.claim("b_title")
        heard.dynamo("Query", "messages", ExpressionAttributeValues=chat)
        heard.dynamo("UpdateItem", "chats", Key={"user_id": {"S": "u"}, "chat_id": chat[":0"]})
        heard.dynamo("DeleteItem", "runs", Key=title)
        heard.sqs("DeleteMessage", BACKGROUND, ReceiptHandle="of the title")
        assert heard.meter.background.in_all() == 8
        assert bill.in_all() == 1
        assert heard.meter.standing.in_all() == 0
        heard.sqs("ReceiveMessage", BACKGROUND)
        assert heard.meter.standing.of_step(["polls"]) == {"SQS.ReceiveMessage background": 1}

    def test_the_second_copy_of_a_job_is_the_twin(self) -> None:
        heard, bill = Heard(), Bill()
        heard.send(bill)
        heard.sqs("ReceiveMessage", INBOX, job("r", "offered"))
        heard.claim()
        heard.sqs("ReceiveMessage", RETURNS, job("r", "twin"))
        heard.claim()
        heard.dynamo("GetItem", "runs", Key={"run_id": {"S": "r"}}, ConsistentRead=True)
        heard.sqs("ChangeMessageVisibility", RETURNS, ReceiptHandle="twin")
        assert sum(bill.of_step(["claim"]).values()) == 2
        assert bill.of_step(["twin"]) == {
            "SQS.ReceiveMessage returns": 1,
            "DynamoDB.UpdateItem runs": 1,
            "DynamoDB.GetItem runs": 1,
            "SQS.ChangeMessageVisibility returns": 1,
        }

    def test_a_job_that_was_given_straight_back_is_no_twin(self) -> None:
        heard, bill = Heard(), Bill()
        heard.send(bill)
        heard.sqs("ReceiveMessage", LANES, job("r", "first"))
        heard.sqs("ChangeMessageVisibility", LANES, ReceiptHandle="first")
        heard.sqs("ReceiveMessage", LANES, job("r", "second"))
        heard.claim()
        assert sum(bill.of_step(["claim"]).values()) == 4
        assert bill.of_step(["twin"]) == {}

    def test_a_write_is_billed_by_what_was_there_and_what_is_there_now(self) -> None:
        heard = Heard(item_of(3 * KB), item_of(KB))
        heard.send(bill := Bill())
        heard.dynamo("PutItem", "ledgers", Item={"user_id": {"S": "u"}})
        heard.dynamo("PutItem", "ledgers", Item={"user_id": {"S": "u"}})
        assert sum(bill.write_units.values()) == 3 + 3

    def test_log_lines_are_the_runs_that_they_name(self) -> None:
        heard, bill = Heard(), Bill()
        heard.send(bill)
        with heard.handler(bill):
            heard.meter.note_line('{"message": "run.submitted"}', "function")
        line = json.dumps({"message": "run.claimed", "run_id": "r"})
        heard.meter.note_line(line, "worker")
        heard.meter.note_line('{"message": "worker.ready"}', "worker")
        assert bill.log_lines == {"function": 1, "worker": 1}
        assert bill.log_bytes["worker"] == len(line)
        assert heard.meter.standing.log_lines == {"worker": 1}

    def test_metrics_are_told_apart_by_their_dimensions(self) -> None:
        heard = Heard()
        directive = {"Dimensions": [["tier"]], "Metrics": [{"Name": "waiting"}, {"Name": "s"}]}
        for tier in ("free", "pro", "free"):
            told = {"tier": tier, "waiting": 1, "_aws": {"CloudWatchMetrics": [directive]}}
            heard.meter.note_line(json.dumps(told), "worker")
        assert len(heard.meter.metrics) == 4

    async def test_posts_are_the_runs_and_the_last_one_is_told(self) -> None:
        heard, bill = Heard(), Bill()
        heard.send(bill)
        last = heard.meter.last_frame("c")
        heard.meter.note_post("c", json.dumps({"type": "run.delta", "run_id": "r"}))
        await asyncio.sleep(0)
        assert not last.done()
        heard.meter.note_post("c", json.dumps({"type": "run.completed", "run_id": "r"}))
        assert await last == "run.completed"
        assert bill.frame_types == {"run.delta": 1, "run.completed": 1}
        assert heard.meter.standing.in_all() == 0


def test_a_bill_comes_to_its_list_prices() -> None:
    bill = Bill()
    bill.calls["polls", "SQS.ReceiveMessage lane"] = 1_000_000
    bill.calls["survey", "DynamoDB.PutItem workers"] = 1
    bill.read_units["survey"] = 2_000_000
    bill.write_units["survey"] = 3_000_000
    assert bill.usd() == pytest.approx(0.40 + 2 * 0.125 + 3 * 0.625)


def test_counts_are_divided_by_the_runs_and_empty_polls_told_apart() -> None:
    phase = Phase("x", runs=2)
    phase.own.calls["submit", "SQS.SendMessage inbox"] = 1
    phase.own.calls["submit", "SQS.SendMessage returns"] = 2
    phase.own.calls["claim", "SQS.ReceiveMessage lane"] = 3
    phase.own.calls["settle", "SQS.DeleteMessage lane"] = 4
    phase.standing.calls["polls", "SQS.ReceiveMessage lane"] = 10
    phase.standing.calls["polls", "SQS.ReceiveMessage inbox"] = 6
    phase.standing.calls["survey", "DynamoDB.PutItem workers"] = 8
    phase.said["job.moved"] = 1
    told = {name: count for name, count in phase.per_run().items() if count}
    assert told.pop("micro_usd") == pytest.approx(26 / 2 * 0.4)
    assert told == {
        "aws_calls": 17,
        "own_calls": 5,
        "sqs_sends": 1.5,
        "sqs_receives_with_job": 1.5,
        "sqs_deletes_and_hides": 2,
        "standing_calls": 12,
        "lane_polls_empty": 5,
        "inbox_polls_empty": 3,
        "survey_calls": 4,
        "offers": 0.5,
        "twins": 1,
        "moves": 0.5,
    }


def test_the_capacity_is_that_of_the_time_in_which_all_slots_were_busy() -> None:
    slow = [float(second) for second in range(SETTLED)]
    busy = [100 + number / 4 for number in range(41)]
    late = [200.0 + second for second in range(SETTLED)]
    assert runs_per_s([*busy, *late, *slow]) == pytest.approx(4)
