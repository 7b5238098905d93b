"""Owns the moments of a run at one worker: what its metrics and `make bench-ttft` are made of."""

from dataclasses import dataclass


@dataclass(slots=True)
class Timings:
    """In Unix ms; 0 for those not reached. shown_ms: API Gateway took the first frame with text of this
    epoch, for somebody who watched before there was any; first_tokens: in the engine's first piece;
    last_token_ms: the engine's last piece, where it came to its own end; cancel_asked_ms: by the clock of
    the function that was asked; released_ms: the slot was free again; slot_s: for how long it was not."""

    created_ms: int = 0
    enqueued_ms: int = 0
    received_ms: int = 0
    claimed_ms: int = 0
    prompted_ms: int = 0
    first_token_ms: int = 0
    first_tokens: int = 0
    shown_ms: int = 0
    last_token_ms: int = 0
    cancel_asked_ms: int = 0
    released_ms: int = 0
    slot_s: float = 0.0
