"""What an answer costs: its measured counts times the list prices, part by part.

    usd = Σ over parts: quantity of the part × its price (bench/prices.toml)

Owns the parts, and what has to be assumed where nothing on this machine can be measured: times on AWS, and
how people use a chat. Each line says which it is. Counts come in from `bench.cost`; GPU seconds are
`bench.gpu_cost`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.bill import POST, Bill
from bench.prices import Price

MEASURED, MODELLED = "measured", "modelled"

MESSAGE_BYTES = 32 * 1024
LINE_BYTES = 26
"""Beside its text, for each event that CloudWatch Logs takes (vendor's page: PutLogEvents)."""
GB = 1e9
FULL_CPU_MB = 1769
"""With that much memory a function has one vCPU (vendor's page: Configure Lambda function memory)."""

CALL_MS: Mapping[str, float] = {
    "TransactGetItems": 8,
    "TransactWriteItems": 15,
    "GetItem": 4,
    "SendMessage": 8,
    "PostToConnection": 15,
    "GetParameter": 15,
}
"""What a warm function waits for a call inside its Region, about: assumed, not measured."""

PLATFORM_LOG_BYTES, PLATFORM_LOG_LINES = 330, 3
"""START, END and REPORT of an invocation, with the trace's id."""
SAMPLED = 0.05
"""Of traces, beyond the first in a second (vendor's page: X-Ray sampling rules)."""
FRAME_OVERHEAD_BYTES = 60
"""TLS record, TCP and IP header, and WebSocket header, in a segment of its own."""


@dataclass(frozen=True)
class Use:
    """How people use a chat: assumed. answers: in a chat, which is also a visit of the page (WildChat, ICLR
    2024: 2.5 million turns in a million conversations). minutes: that a visit keeps its connection.
    http_requests: the page's own, the ticket among them; request_ms: what one takes. slots, load: of a
    worker, and the mean share of them that is busy; tokens_per_s: of one answer. compactions: for each
    answer (`make bench-context`: five in a chat of 1,000 turns), of so many transitions."""

    answers: float = 2.5
    minutes: float = 6.0
    pings: int = 1
    compactions: float = 0.005
    transitions: int = 4
    http_requests: int = 4
    request_ms: float = 25.0
    slots: int = 64
    load: float = 0.5
    tokens_per_s: float = 30.0


@dataclass(frozen=True)
class Stack:
    """What the template says of the functions. memory in MB."""

    sender_mb: int
    http_mb: int
    authorizer_mb: int


@dataclass(frozen=True)
class Counts:
    """Of one answer, measured, but for waiting_ms: what the Lambda waits for its calls, which is modelled.
    messages: the send, and the frames posted. bytes_out: of the frames."""

    output_tokens: int
    messages: int
    bytes_out: int
    write_units: float
    read_units: float
    sqs_requests: int
    grouped_sends: int
    lambda_cpu_ms: float
    waiting_ms: float
    log_bytes: int
    log_lines: int


@dataclass(frozen=True)
class Line:
    """quantity: of the unit, for one answer. how: measured, modelled."""

    part: str
    quantity: float
    unit: str
    usd_each: float
    how: str

    @property
    def usd(self) -> float:
        return self.quantity * self.usd_each


def counts_of(output_tokens: int, bill: Bill) -> Counts:
    posts = bill.of_call(POST)
    submitted = bill.of_step(["submit"])
    waiting_ms = sum(
        count * CALL_MS[name.partition(".")[2].partition(" ")[0]]
        for name, count in submitted.items()
    )
    return Counts(
        output_tokens=output_tokens,
        messages=1 + sum(bill.frame_types.values()),
        bytes_out=bill.frame_bytes + posts * FRAME_OVERHEAD_BYTES,
        write_units=sum(bill.write_units.values()),
        read_units=sum(bill.read_units.values()),
        sqs_requests=bill.of_service("SQS"),
        grouped_sends=bill.of_call("SQS.SendMessage lane", "SQS.SendMessage returns"),
        lambda_cpu_ms=bill.handler_cpu_s * 1000,
        waiting_ms=waiting_ms,
        log_bytes=sum(bill.log_bytes.values()),
        log_lines=sum(bill.log_lines.values()),
    )


def frame_a_token(counts: Counts, frame_bytes: float) -> Counts:
    """The same answer by one that posts each token by itself: as many frames more, each of so many bytes
    beside its text."""
    deltas = max(0, counts.messages - NOTICES)
    more = counts.output_tokens - deltas
    return replace(
        counts,
        messages=counts.messages + more,
        bytes_out=round(counts.bytes_out + more * (frame_bytes + FRAME_OVERHEAD_BYTES)),
    )


NOTICES = 4
"""The send, and what is said beside the text: queued, started, completed."""


def answer_lines(
    counts: Counts, stack: Stack, prices: Mapping[str, Price], architecture: str = "x86"
) -> list[Line]:
    """Of the answer itself, from the send to the acknowledged job."""
    seconds = _lambda_s(counts.lambda_cpu_ms, counts.waiting_ms, stack.sender_mb)
    log_bytes = counts.log_bytes + PLATFORM_LOG_BYTES
    log_lines = counts.log_lines + PLATFORM_LOG_LINES
    gb_s, log_gb = seconds * stack.sender_mb / 1024, (log_bytes + log_lines * LINE_BYTES) / GB
    return [
        _line("WebSocket messages", counts.messages, prices["websocket_message"], MEASURED),
        _line("DynamoDB writes", counts.write_units, prices["dynamodb_write"], MEASURED),
        _line("DynamoDB reads", counts.read_units, prices["dynamodb_read"], MEASURED),
        _line("SQS requests", counts.sqs_requests, prices["sqs_request"], MEASURED),
        _line("fair queues", counts.grouped_sends, prices["sqs_fair_queue_surcharge"], MODELLED),
        _line("Lambda time", gb_s, prices[f"lambda_{architecture}_gb_s"], MODELLED),
        _line("Lambda request", 1, prices["lambda_request"], MEASURED),
        _line("log", log_gb, prices["logs_gb"], MEASURED),
        _line("trace", SAMPLED, prices["xray_trace"], MODELLED),
        _line("bytes to the client", counts.bytes_out / GB, prices["data_out_gb"], MEASURED),
    ]


def share_lines(
    use: Use,
    stack: Stack,
    prices: Mapping[str, Price],
    output_tokens: int,
    worker_hour_usd: float,
    title_usd: float,
) -> list[Line]:
    """An answer's share of what its visit, its chat and its worker cost. worker_hour_usd, title_usd: as
    measured, and priced already."""
    each = 1 / use.answers
    page_gb_s = use.request_ms / 1000 * (use.http_requests * stack.http_mb + stack.authorizer_mb)
    answers_an_hour = use.slots * use.load * 3600 * use.tokens_per_s / output_tokens
    # Beside the page's requests a function runs for the authorizer and for a ping.
    invocations = use.http_requests + 1 + use.pings
    return [
        _line("connection", each * use.minutes, prices["websocket_minute"], MODELLED),
        _line("pings", each * 2 * use.pings, prices["websocket_message"], MODELLED),
        _line("page's requests", each * use.http_requests, prices["http_request"], MODELLED),
        _line("their Lambda time", each * page_gb_s / 1024, prices["lambda_x86_gb_s"], MODELLED),
        _line("their Lambda requests", each * invocations, prices["lambda_request"], MODELLED),
        _line("a ticket", each * 2, prices["dynamodb_write"], MODELLED),
        Line("chat's title", each, "title", title_usd, MEASURED),
        _line(
            "compaction",
            use.compactions * use.transitions,
            prices["step_transition"],
            MODELLED,
        ),
        Line("worker's own", 1 / answers_an_hour, "worker hour", worker_hour_usd, MEASURED),
    ]


def total_usd(lines: Sequence[Line]) -> float:
    return sum(line.usd for line in lines)


def provisioned(lines: Sequence[Line], prices: Mapping[str, Price], busy: float) -> list[Line]:
    """The same with tables of provisioned capacity, of which that share is used on the mean."""
    names = {
        "DynamoDB writes": "dynamodb_provisioned_write",
        "DynamoDB reads": "dynamodb_provisioned_read",
    }
    return [
        _line(line.part, line.quantity / (3600 * busy), prices[names[line.part]], MODELLED)
        if line.part in names
        else line
        for line in lines
    ]


def _line(part: str, quantity: float, price: Price, how: str) -> Line:
    return Line(part, quantity, price.unit, price.usd_each, how)


def _lambda_s(cpu_ms: float, waiting_ms: float, memory_mb: int) -> float:
    return (cpu_ms * max(1.0, FULL_CPU_MB / memory_mb) + waiting_ms) / 1000
