"""Owns token counting by tiktoken, with a vocabulary from a packaged file, never from the network."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import tiktoken

from chatcore.domain.errors import Misconfigured

SHA256 = "df53e1a5f146e33a1b144d12ad9d685ee1b54dbc8b0950791ed45c933b119dc1"
"""Of o200k_base.json in tiktoken 1.0.22 (npm)."""


def load_vocabulary(path: Path) -> Callable[[str], int]:
    """A counter of tokens, from the JSON that the npm package `tiktoken` carries.

    Raises Misconfigured where the file is missing or not the one that this release was tested with.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"the vocabulary {path} cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise Misconfigured(f"the vocabulary {path} is not the expected one (SHA-256 {digest})")
    packaged = json.loads(content)
    encoding = tiktoken.Encoding(
        name=path.stem,
        pat_str=packaged["pat_str"],
        mergeable_ranks=_ranks(packaged["bpe_ranks"]),
        special_tokens=packaged["special_tokens"],
    )
    return lambda text: len(encoding.encode_ordinary(text))


def _ranks(lines: str) -> dict[bytes, int]:
    """Each line: a mark, the rank of its first token, then tokens of consecutive ranks in base64."""
    ranks: dict[bytes, int] = {}
    for line in lines.splitlines():
        _, first, *tokens = line.split(" ")
        for rank, token in enumerate(tokens, int(first)):
            ranks[base64.b64decode(token)] = rank
    return ranks
