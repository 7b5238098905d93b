"""Reads a log line as CloudWatch does: what of it is a metric. (Vendor's page: Specification: Embedded
metric format.)"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any

from aws_lambda_powertools import Logger

Line = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """values, units: by metric; dimensions: their values by name."""

    values: Mapping[str, float]
    units: Mapping[str, str]
    dimensions: Mapping[str, str]


def measured(line: Line) -> Measured:
    """Fails where CloudWatch would not take the line."""
    ((directive,), timestamp) = line["_aws"]["CloudWatchMetrics"], line["_aws"]["Timestamp"]
    assert isinstance(timestamp, int)
    assert directive["Namespace"] == "chatcore"
    (names,) = directive["Dimensions"]
    values = {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}
    assert all(type(value) in (int, float) for value in values.values())
    dimensions = {name: line[name] for name in names}
    assert all(type(value) is str and value for value in dimensions.values())
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    return Measured(values, units, dimensions)


class Lines:
    """A real logger, and what it has written. name: no other logger's, or they would share a stream."""

    def __init__(self, name: str) -> None:
        self._stream = StringIO()
        self.logger = Logger(service=name, level="INFO", stream=self._stream)

    def all(self, message: str) -> list[Line]:
        lines = [json.loads(text) for text in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["message"] == message]

    def one(self, message: str) -> Line:
        (line,) = self.all(message)
        return line
