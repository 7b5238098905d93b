"""Owns the rolling summary of a chat: how one is asked for, what it says of itself, and which text may be
one.

It must not know how it is stored, nor when a new one is made (see `compaction`).
"""

from dataclasses import dataclass

from chatcore.domain.context_plan import CountTokens

SECTIONS = ("Facts", "Decisions", "Open tasks", "Names", "Numbers")
"""What a summary is asked for, each under a heading of its own."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a chat's messages up to up_to_seq came to. summary_id: of the run that wrote it; version: 1 for
    a chat's first; made_ms: when it was written."""

    chat_id: str
    summary_id: str
    version: int
    up_to_seq: int
    text: str
    made_ms: int


@dataclass(frozen=True, slots=True)
class SummaryAsked:
    """What a compaction is started with. summary_id: of the chat's summary then, empty without one;
    up_to_seq: the last place that the next one is to speak for; summary_tokens: the most that it may
    have; asked_ms: when, since a try that failed is not to stand for the next one, which may well be up to
    the same place; worker_id: who asks, which has the chat in its memory and its prefix in its engine's;
    tail_tokens: what another one would have to read for it."""

    user_id: str
    chat_id: str
    summary_id: str
    up_to_seq: int
    summary_tokens: int
    asked_ms: int = 0
    worker_id: str = ""
    tail_tokens: int = 0


def fault_of(text: str, most_tokens: int, count_tokens: CountTokens) -> str | None:
    """Why an engine's text is not taken for a summary, in a few words; None where it is."""
    if not text.strip():
        return "it is empty"
    tokens = count_tokens(text)
    if tokens > most_tokens:
        return f"it has {tokens} tokens, {most_tokens} are allowed"
    headings = {line.strip("#*: \t").casefold() for line in text.splitlines()}
    if not headings & {section.casefold() for section in SECTIONS}:
        return "it has none of the sections"
    return None
