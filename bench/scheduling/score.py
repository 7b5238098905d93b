"""How fair a run was: the service difference of VTC's authors, and what it cost in throughput and time.

Service is 2 for an output token and 1 for one of the prompt, spread evenly from the first token to the
end. At 19 points, 28.5 s apart and shifted by a warm-up of 30 s, within a window of 60 s around each: y
is the rate at which a client was served, q that at which the client asked. The score of a point is the
sum over clients of min(max(y) - y, |q - y|): what the least served could have had and wanted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.report import percentile
from bench.scheduling.requests import Request

POINTS = 19
POINT_EVERY_S = 28.5
WARM_UP_S = 30.0
WINDOW_S = 60.0


@dataclass(frozen=True)
class Score:
    """greatest, mean: over the points, service per second; tokens_per_s: of prompts and answers."""

    greatest: float
    mean: float
    tokens_per_s: float
    ttft_p50_s: float
    ttft_p99_s: float


def score(requests: Sequence[Request], ended_s: float) -> Score:
    """Of requests that all have been served."""
    middles = [POINT_EVERY_S * number + WARM_UP_S for number in range(1, POINTS + 1)]
    points = [
        difference(requests, middle - WINDOW_S / 2, middle + WINDOW_S / 2) for middle in middles
    ]
    waits_s = [request.first_s - request.arrival_s for request in requests]
    tokens = sum(request.input_tokens + request.output_tokens for request in requests)
    return Score(
        greatest=max(points),
        mean=sum(points) / len(points),
        tokens_per_s=tokens / ended_s,
        ttft_p50_s=percentile(waits_s, 50),
        ttft_p99_s=percentile(waits_s, 99),
    )


def difference(requests: Sequence[Request], begin_s: float, end_s: float) -> float:
    """Service per second that was withheld in the window."""
    served: defaultdict[str, float] = defaultdict(float)
    asked: defaultdict[str, float] = defaultdict(float)
    window_s = end_s - begin_s
    for request in requests:
        # Also who neither asked nor was served in it counts as a client.
        if begin_s <= request.arrival_s < end_s:
            asked[request.client] += request.service / window_s
        served[request.client] += service_within(request, begin_s, end_s) / window_s
    most = max(served.values())
    return sum(min(most - y, abs(asked[client] - y)) for client, y in served.items())


def service_within(request: Request, begin_s: float, end_s: float) -> float:
    """Of one that has been served, what of its service fell into that time."""
    overlap_s = min(request.end_s, end_s) - max(request.first_s, begin_s)
    if overlap_s <= 0:
        return 0.0
    return request.service * overlap_s / (request.end_s - request.first_s)


def rates(
    requests: Sequence[Request], clients: Sequence[str], moments_s: Sequence[float]
) -> dict[str, list[float]]:
    """Service per second of each of those clients, in a window around each of those moments."""
    half_s = WINDOW_S / 2
    found = {client: [0.0] * len(moments_s) for client in clients}
    for request in requests:
        if request.client in found:
            for number, moment_s in enumerate(moments_s):
                within = service_within(request, moment_s - half_s, moment_s + half_s)
                found[request.client][number] += within / WINDOW_S
    return found


def mean_of(scores: Sequence[Score]) -> Score:
    """Of the jittered copies' scores."""
    count = len(scores)
    return Score(
        greatest=sum(each.greatest for each in scores) / count,
        mean=sum(each.mean for each in scores) / count,
        tokens_per_s=sum(each.tokens_per_s for each in scores) / count,
        ttft_p50_s=sum(each.ttft_p50_s for each in scores) / count,
        ttft_p99_s=sum(each.ttft_p99_s for each in scores) / count,
    )
