"""Owns what is said of a prompt: what went into it, why, and how many tokens each part took.

It must not choose anything: that is `context`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

CountTokens = Callable[[str], int]


class TailFrom(StrEnum):
    """Why the verbatim tail begins where it does."""

    THE_START = "the_start"
    """All of the chat is in it."""
    THE_SUMMARY = "the_summary"
    """What is older is in the summary."""
    THE_CUT = "the_cut"
    """It had grown beyond its room before a summary was there: older messages were left out at once, down
    to the low mark, so that the prefix stands still again."""
    THE_NEWEST = "the_newest"
    """The newest message is so long that it left less room than usual, for this prompt alone."""


@dataclass(frozen=True, slots=True)
class SummaryPart:
    """up_to_seq: the last place of the chat that it speaks for."""

    version: int
    up_to_seq: int
    tokens: int


@dataclass(frozen=True, slots=True)
class TailPart:
    """first_seq: 0 where it is empty; clipped: messages so long that only their ends went in."""

    begins: TailFrom
    first_seq: int
    messages: int
    clipped: int
    tokens: int


@dataclass(frozen=True, slots=True)
class RecalledPart:
    """rank: 0 for what bears on the newest message most. They go in by their place, not by rank."""

    seq: int
    message_id: str
    rank: int
    tokens: int


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """The parts of a prompt in their order, by our own count of tokens.

    prefix_tokens: of them, how many at the beginning were the beginning of the chat's last prompt too;
    left_out: messages of the chat that are in neither tail nor excerpts.
    """

    budget_tokens: int
    tokens: int
    prefix_tokens: int
    system_tokens: int
    summary: SummaryPart | None
    tail: TailPart
    recalled: tuple[RecalledPart, ...]
    recalled_tokens: int
    newest_tokens: int
    continuation_tokens: int
    left_out: int
