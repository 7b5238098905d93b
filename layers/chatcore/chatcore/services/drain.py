"""Drain: tell a worker to leave in good order, and see whether it has.

It is told again with each look: leaving twice is leaving once, and a message may be lost.
"""

from enum import StrEnum

from chatcore.ports import Inboxes, Stores
from chatcore.protocol.queue import Drain


class Drained(StrEnum):
    LEAVING = "leaving"
    """It lives and has been told."""
    GONE = "gone"
    """Nobody of that name says anything: it has left, or never was."""
    SILENT = "silent"
    """It has not left, but it does not beat any more: it died, and others take its runs over."""


def drain(stores: Stores, inboxes: Inboxes, worker_id: str, now_ms: int) -> Drained:
    """Raises StoreUnavailable; asking again is safe."""
    beat = stores.beats.get(worker_id)
    if beat is None:
        return Drained.GONE
    if not beat.is_fresh(now_ms) or not inboxes.send(beat.inbox, Drain()):
        return Drained.SILENT
    return Drained.LEAVING
