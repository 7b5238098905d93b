"""Owns a lease's arithmetic: who may speak, and who may take over, with clocks that differ.

    worker A   |---- lease ----|                      A stops speaking MARGIN before the end,
               claim       stop|end                   by its own clock;
    worker B                       |--- may claim     B waits MARGIN after the end, by its own.

Between the two lies 2 × MARGIN, so two clocks may differ by that much before two workers could both
believe to be the holder: each may be off by MARGIN. Even then every write is conditional on the epoch.
"""

LEASE_MS = 20_000
RENEW_EVERY_MS = 5_000
SKEW_MARGIN_MS = 5_000

HIDDEN_S = (LEASE_MS + SKEW_MARGIN_MS) // 1000 + 1
"""For how long the job of a run that is being made is hidden, from its receipt and from each renewal on:
SQS shows the job of a dead worker again just when it may be claimed."""


def until(now_ms: int) -> int:
    """The end (Unix ms) of a lease taken or renewed now."""
    return now_ms + LEASE_MS


def may_speak(now_ms: int, lease_until_ms: int) -> bool:
    """Whether the holder may still post and write, by the holder's clock."""
    return now_ms < lease_until_ms - SKEW_MARGIN_MS


def may_take_over(now_ms: int, lease_until_ms: int) -> bool:
    """Whether somebody else may claim, by the other one's clock."""
    return now_ms > lease_until_ms + SKEW_MARGIN_MS


def take_over_in_ms(now_ms: int, lease_until_ms: int) -> int:
    """How long somebody else has to wait before a claim can succeed."""
    return max(0, lease_until_ms + SKEW_MARGIN_MS - now_ms + 1)
