"""Requests of a published trace: who asks when, for how much, and when they were served.

The file is not part of the project, so it is found or explained.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.trace import Missing

FOLDER = Path(__file__).parents[3] / "shared" / "data"
"""Where the traces lie unless `DATA` names another folder."""

FILE = "lmsys_27_clients.csv"
JITTER_S = 1.0


@dataclass(slots=True, eq=False)
class Request:
    """made: output tokens so far; first_s, end_s: of its first and its last token, 0 before them."""

    arrival_s: float
    client: str
    input_tokens: int
    output_tokens: int
    made: int = 0
    first_s: float = 0.0
    end_s: float = 0.0

    @property
    def service(self) -> int:
        """What it costs, as VTC counts (Sheng et al., OSDI 2024, section 4.1)."""
        return self.input_tokens + 2 * self.output_tokens


def read(path: Path) -> list[Request]:
    """In the order of their arrival."""
    where = (
        "it has t, client_id, input_tokens and output_tokens of the 27 clients' trace in "
        "https://github.com/Ying1123/VTC-artifact; name the folder that it is in by DATA=folder"
    )
    if not path.is_file():
        raise Missing(f"{path} is missing: {where}")
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        wanted = {"t", "client_id", "input_tokens", "output_tokens"}
        if not wanted <= set(rows.fieldnames or ()):
            raise Missing(f"{path} has not the columns {', '.join(sorted(wanted))}: {where}")
        found = [
            Request(
                float(row["t"]),
                row["client_id"],
                int(row["input_tokens"]),
                int(row["output_tokens"]),
            )
            for row in rows
        ]
    return sorted(found, key=lambda request: request.arrival_s)


def jittered(requests: Sequence[Request], seed: int) -> list[Request]:
    """A fresh copy that arrives a little differently: one run of a trace is mostly noise."""
    rng = random.Random(seed)
    copy = [
        Request(
            max(0.0, request.arrival_s + rng.gauss(0, JITTER_S)),
            request.client,
            request.input_tokens,
            request.output_tokens,
        )
        for request in requests
    ]
    return sorted(copy, key=lambda request: request.arrival_s)
