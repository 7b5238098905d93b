"""Answer lengths of a published trace: the file is not part of the project, so it is found or explained."""

from __future__ import annotations

import csv
from pathlib import Path

DEFAULT = Path(__file__).parents[2] / "shared" / "data" / "azure_conv.csv"


class Missing(Exception):
    """There is no such file, or it is another one. The message is one line for the person."""


def answer_lengths(path: Path) -> list[int]:
    """GeneratedTokens of each request, in the trace's order."""
    where = (
        "it is AzureLLMInferenceTrace_conv.csv, the 2023 conversation trace of "
        "https://github.com/Azure/AzurePublicDataset; name yours by DATA=path"
    )
    if not path.is_file():
        raise Missing(f"{path} is missing: {where}")
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if "GeneratedTokens" not in (rows.fieldnames or ()):
            raise Missing(f"{path} has no column GeneratedTokens: {where}")
        lengths = [int(row["GeneratedTokens"]) for row in rows]
    return [length for length in lengths if length > 0]
