"""What users used, by day and by chat: what is promised, whichever side it is on."""

from dataclasses import replace

import boto3
import pytest

from bench.dynamo_units import write_units
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.domain.identity import User
from chatcore.domain.run import Ending, Event, FinishReason, Run, Usage
from chatcore.domain.tiers import Tier
from chatcore.domain.usage import RETENTION_S, DayUsage, day_of
from chatcore.ports import Stores
from tests.contract.conftest import make_tables
from tests.contract.sends import ALICE, NOW_MS, admitted, claimed, send_of

DAY_MS = 24 * 3600 * 1000
TODAY, TOMORROW = day_of(NOW_MS), day_of(NOW_MS + DAY_MS)
USAGE = Usage(input_tokens=40, cached_tokens=16, output_tokens=10)
ALL = ("0000-01-01", "9999-12-31")


def ending(event: Event = Event.COMPLETE, usage: Usage = USAGE, ended_ms: int = NOW_MS) -> Ending:
    reason = FinishReason.STOP if event is Event.COMPLETE else FinishReason.CANCELLED
    return Ending(event, ended_ms, "Hi", usage, reason)


def running(
    stores: Stores, message_id: str = "message-0001", chat_id: str | None = None, user: User = ALICE
) -> Run:
    return claimed(stores, admitted(stores, send_of(message_id, chat_id=chat_id, user=user)))


def used_in(stores: Stores, run: Run) -> Usage:
    chat = stores.chats.get(run.user_id, run.chat_id)
    assert chat is not None
    return chat.usage


def test_who_has_used_nothing_has_no_days(stores: Stores) -> None:
    assert list(stores.usage.days(ALICE.user_id, *ALL)) == []


def test_a_run_is_counted_on_the_day_of_its_end(stores: Stores) -> None:
    run = running(stores)
    assert list(stores.usage.days(ALICE.user_id, *ALL)) == []
    assert stores.runs.end(run, ending(ended_ms=NOW_MS + DAY_MS))
    assert list(stores.usage.days(ALICE.user_id, *ALL)) == [DayUsage(TOMORROW, 1, USAGE)]


def test_runs_of_a_day_add_up_however_they_end(stores: Stores) -> None:
    first = running(stores)
    assert stores.runs.end(first, ending())
    second = running(stores, "message-0002", first.chat_id)
    assert stores.runs.end(second, ending(Event.CANCEL, Usage(5, 0, 1)))
    third = running(stores, "message-0003")
    assert stores.runs.end(third, ending(Event.FAIL, Usage(3, 3, 0)))
    assert list(stores.usage.days(ALICE.user_id, *ALL)) == [DayUsage(TODAY, 3, Usage(48, 19, 11))]
    # Each chat knows of its own.
    assert used_in(stores, first) == Usage(45, 16, 11)
    assert used_in(stores, third) == Usage(3, 3, 0)


def test_days_are_told_oldest_first_and_no_others_than_asked_for(stores: Stores) -> None:
    for number in (3, 0, 1, 2):
        run = running(stores, f"message-000{number}")
        assert stores.runs.end(run, ending(ended_ms=NOW_MS + number * DAY_MS))
    days = [day_of(NOW_MS + number * DAY_MS) for number in range(4)]
    assert [used.day for used in stores.usage.days(ALICE.user_id, *ALL)] == days
    middle = stores.usage.days(ALICE.user_id, days[1], days[2])
    assert [used.day for used in middle] == days[1:3]
    assert list(stores.usage.days(ALICE.user_id, "0000-01-01", day_of(NOW_MS - DAY_MS))) == []


def test_another_users_days_are_his_own(stores: Stores) -> None:
    bob = User("user-bob", Tier.FREE)
    assert stores.runs.end(running(stores), ending())
    assert stores.runs.end(running(stores, user=bob), ending(usage=Usage(1, 0, 1)))
    assert list(stores.usage.days(bob.user_id, *ALL)) == [DayUsage(TODAY, 1, Usage(1, 0, 1))]
    assert list(stores.usage.days(ALICE.user_id, *ALL)) == [DayUsage(TODAY, 1, USAGE)]


def test_a_run_that_used_nothing_is_not_counted(stores: Stores) -> None:
    run = admitted(stores, send_of())
    assert stores.runs.end(run, ending(Event.CANCEL, Usage()))
    assert list(stores.usage.days(ALICE.user_id, *ALL)) == []
    assert used_in(stores, run) == Usage()


def test_a_run_is_counted_once_whoever_ends_it_again(stores: Stores) -> None:
    run = running(stores)
    assert stores.runs.end(run, ending())
    assert not stores.runs.end(run, ending())
    assert not stores.runs.end(run, ending(Event.CANCEL, ended_ms=NOW_MS + DAY_MS))
    assert not stores.runs.end(replace(run, epoch=run.epoch + 1), ending())
    assert list(stores.usage.days(ALICE.user_id, *ALL)) == [DayUsage(TODAY, 1, USAGE)]
    assert used_in(stores, run) == USAGE


def test_what_is_written_on_a_chat_afterwards_leaves_what_it_used(stores: Stores) -> None:
    first = running(stores)
    assert stores.runs.end(first, ending())
    renamed = stores.chats.rename(ALICE.user_id, first.chat_id, "New")
    assert renamed is not None
    assert renamed.usage == USAGE
    second = running(stores, "message-0002", first.chat_id)
    assert used_in(stores, second) == USAGE
    (listed,) = stores.chats.newest(ALICE.user_id, 10, None).items
    assert listed.usage == USAGE


def test_a_chat_that_is_removed_takes_nothing_from_its_users_days(stores: Stores) -> None:
    run = running(stores)
    assert stores.runs.end(run, ending())
    stores.runs.remove([run.run_id])
    stores.messages.remove(run.chat_id, stores.messages.newest(run.chat_id, 10, None).items)
    stores.chats.remove(ALICE.user_id, run.chat_id)
    assert list(stores.usage.days(ALICE.user_id, *ALL)) == [DayUsage(TODAY, 1, USAGE)]


class TestOnDynamoDb:
    """By moto."""

    @pytest.fixture(autouse=True)
    def _environment(
        self, moto_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for key, value in moto_environment.items():
            monkeypatch.setenv(key, value)

    def test_a_day_goes_so_long_after_its_last_run_and_costs_two_units_a_run(self) -> None:
        names = make_tables()
        stores = dynamo_stores(open_tables(names))
        key = {"user_id": {"S": ALICE.user_id}, "day": {"S": TODAY}}
        for number in (1, 2):
            ended_ms = NOW_MS + number * 60_000
            run = running(stores, f"message-000{number}")
            assert stores.runs.end(run, ending(usage=Usage(10**9, 10**9, 99), ended_ms=ended_ms))
            item = boto3.client("dynamodb").get_item(TableName=names.usage, Key=key)["Item"]
            assert item["expires_at"] == {"N": str(ended_ms // 1000 + RETENTION_S)}
            assert write_units(item, item, transaction=True) == 2

    def test_a_chat_from_before_usage_was_counted_counts_from_now_on(self) -> None:
        names = make_tables()
        stores = dynamo_stores(open_tables(names))
        run = running(stores)
        boto3.client("dynamodb").update_item(
            TableName=names.chats,
            Key={"user_id": {"S": run.user_id}, "chat_id": {"S": run.chat_id}},
            UpdateExpression="REMOVE input_tokens, cached_tokens, output_tokens",
        )
        assert used_in(stores, run) == Usage()
        assert stores.runs.end(run, ending())
        assert used_in(stores, run) == USAGE
