"""A function's lines are read once, also those that come a little late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from local.watch.aws import FunctionLogs
from tests.unit.watch.said import NOW_MS, text

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

GROUP = "/aws/lambda/chatcore-run/ws_message"


class NoSuchGroup(Exception):
    pass


class Exceptions:
    ResourceNotFoundException = NoSuchGroup


@dataclass
class Group:
    """In place of the client: one log group, two events a page. asked_ms: where each reading began."""

    events: list[dict[str, Any]] = field(default_factory=list)
    exists: bool = True
    asked_ms: list[int] = field(default_factory=list)
    exceptions = Exceptions

    def says(self, name: str, at_ms: int, stream: str = "one") -> None:
        told = {"timestamp": at_ms, "message": f"{text(name, at_ms)}\n", "logStreamName": stream}
        self.events.append(told)

    def get_paginator(self, operation: str) -> Group:
        assert operation == "filter_log_events"
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        assert asked["logGroupName"] == GROUP
        if not self.exists:
            raise NoSuchGroup
        self.asked_ms.append(asked["startTime"])
        found = [event for event in self.events if event["timestamp"] >= asked["startTime"]]
        for first in range(0, len(found), 2):
            yield {"events": found[first : first + 2]}

    def read_by(self, logs: FunctionLogs) -> list[str]:
        return [line.name for line in logs.lines()]


def logs_of(group: Group) -> FunctionLogs:
    return FunctionLogs(cast("CloudWatchLogsClient", group), GROUP, "ws_message", NOW_MS)


def test_each_line_is_read_once_and_from_the_beginning_only_once() -> None:
    group = Group()
    logs = logs_of(group)
    group.says("before", NOW_MS - 1)
    for number in range(5):
        group.says(f"line.{number}", NOW_MS + number * 10_000)
    assert group.read_by(logs) == [f"line.{number}" for number in range(5)]
    group.says("line.5", NOW_MS + 40_000)
    assert group.read_by(logs) == ["line.5"]
    assert group.asked_ms == [NOW_MS, NOW_MS + 35_000]


def test_a_line_that_comes_a_little_late_is_read() -> None:
    group = Group()
    logs = logs_of(group)
    group.says("soon", NOW_MS + 20_000)
    assert group.read_by(logs) == ["soon"]
    group.says("late", NOW_MS + 15_000)
    group.says("too.late", NOW_MS + 14_999)
    assert group.read_by(logs) == ["late"]
    assert group.read_by(logs) == []


def test_two_of_the_same_moment_are_two_where_two_say_them() -> None:
    group = Group()
    for stream in ("one", "two"):
        group.says("run.submitted", NOW_MS, stream)
    assert group.read_by(logs_of(group)) == ["run.submitted"] * 2


def test_a_function_that_has_not_run_yet_has_nothing_to_say() -> None:
    group = Group(exists=False)
    logs = logs_of(group)
    assert group.read_by(logs) == []
    group.exists = True
    group.says("first", NOW_MS)
    assert group.read_by(logs) == ["first"]
