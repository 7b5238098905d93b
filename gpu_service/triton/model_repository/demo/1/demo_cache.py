"""The demo engine's prefix cache.

Owns which blocks of tokens count as computed. A block is known by a hash that covers it and all
before it, so a block can only be found behind an unbroken prefix. It must not know of requests or
time.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

_DIGEST_BYTES = 16


def block_chain(tokens: Sequence[str], block_tokens: int) -> list[bytes]:
    """The chained hashes of all full blocks of a token sequence."""
    chain: list[bytes] = []
    parent = b""
    for end in range(block_tokens, len(tokens) + 1, block_tokens):
        digest = hashlib.blake2b(parent, digest_size=_DIGEST_BYTES)
        for token in tokens[end - block_tokens : end]:
            encoded = token.encode()
            digest.update(len(encoded).to_bytes(4, "little"))
            digest.update(encoded)
        parent = digest.digest()
        chain.append(parent)
    return chain


class PrefixCache:
    """The least recently used blocks go first, and of one chain its tail before its head."""

    def __init__(self, capacity_blocks: int) -> None:
        self._capacity_blocks = capacity_blocks
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def match(self, chain: Sequence[bytes]) -> int:
        """How many blocks at the beginning of the chain are cached; they count as used now."""
        found = 0
        while found < len(chain) and chain[found] in self._blocks:
            found += 1
        self._touch(chain[:found])
        return found

    def insert(self, chain: Sequence[bytes]) -> None:
        """Remember the blocks of the chain, as many from its beginning as there is room for."""
        self._touch(chain[: self._capacity_blocks])
        while len(self._blocks) > self._capacity_blocks:
            self._blocks.popitem(last=False)

    def _touch(self, chain: Sequence[bytes]) -> None:
        # From the tail to the head: without its head the rest of a chain cannot be found any more.
        for block in reversed(chain):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
