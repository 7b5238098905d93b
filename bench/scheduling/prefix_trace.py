"""Turns of chats, from a published trace of requests with the hashes of their prefixes.

Owns reading and the two things that the trace does not say. Chats: a request continues the chat that
last used the deepest block it shares with earlier ones, if that is more than the block of the system
prompt, which all share; so an edited turn stays in its chat. Users: each chat is that of a user drawn by
a Zipf law.

The file is not part of the project, so it is found or explained.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from bench.trace import Missing

FILE = "mooncake_conversation_6000.jsonl"

BLOCK_TOKENS = 512
SYSTEM_BLOCKS = 1
JITTER_S = 1.0
USERS = 500
ZIPF_EXPONENT = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the trace has it. blocks: equal ids are equal prefixes; chat: the index of its first
    request."""

    at_s: float
    blocks: Sequence[int]
    input_tokens: int
    output_tokens: int
    chat: int


@dataclass(slots=True, eq=False)
class Turn:
    """One of a run of the simulator. worker: that answers, None before; offered_ms: when its favourite
    was told; hits: blocks that were cached; *_s: 0 before."""

    asked: Asked
    user: str
    previous: Turn | None
    worker: int | None = None
    offered_ms: int | None = None
    hits: int = 0
    arrived_s: float = 0.0
    started_s: float = 0.0
    first_s: float = 0.0
    ended_s: float = 0.0

    @property
    def uncached_tokens(self) -> int:
        """At least one is always computed: it gives the first token."""
        return max(1, self.asked.input_tokens - BLOCK_TOKENS * self.hits)

    @property
    def service(self) -> int:
        """What it really costs: uncached input x 1, output x 2."""
        return self.uncached_tokens + 2 * self.asked.output_tokens


def read(path: Path) -> list[Asked]:
    """In the trace's order."""
    where = (
        "it is conversation_trace.jsonl (FAST'25) of https://github.com/kvcache-ai/Mooncake, of which "
        "the first 6,000 requests are enough; name yours by --data PATH"
    )
    if not path.is_file():
        raise Missing(f"{path} is missing: {where}")
    found: list[Asked] = []
    used_by: dict[int, int] = {}
    with path.open() as file:
        for line in file:
            try:
                row = json.loads(line)
                blocks = tuple(map(int, row["hash_ids"]))
                at_s = float(row["timestamp"]) / 1000
                tokens = int(row["input_length"]), int(row["output_length"])
            except (ValueError, KeyError, TypeError) as error:
                raise Missing(
                    f"{path} has not the fields timestamp, input_length, output_length and hash_ids: {where}"
                ) from error
            shared = shared_blocks(blocks, used_by)
            is_turn = shared > SYSTEM_BLOCKS
            chat = found[used_by[blocks[shared - 1]]].chat if is_turn else len(found)
            used_by.update(dict.fromkeys(blocks, len(found)))
            found.append(Asked(at_s, blocks, *tokens, chat))
    return found


def shared_blocks(blocks: Sequence[int], known: dict[int, int]) -> int:
    """How many lead without a break."""
    return next((at for at, block in enumerate(blocks) if block not in known), len(blocks))


def turns(trace: Sequence[Asked], seed: int) -> list[Turn]:
    """A fresh copy whose requests come in a slightly other order, and whose chats are other users'."""
    rng = random.Random(seed)
    at_s = [asked.at_s + rng.gauss(0, JITTER_S) for asked in trace]
    users = [f"user-{number}" for number in range(USERS)]
    up_to = list(accumulate(1 / number**ZIPF_EXPONENT for number in range(1, USERS + 1)))
    user_of = {
        chat: rng.choices(users, cum_weights=up_to)[0]
        for chat in sorted({asked.chat for asked in trace})
    }
    last: dict[int, Turn] = {}
    copy = []
    for at in sorted(range(len(trace)), key=lambda index: at_s[index]):
        chat = trace[at].chat
        last[chat] = turn = Turn(trace[at], user_of[chat], last.get(chat))
        copy.append(turn)
    return copy
