"""Offer: tell the worker that has a chat's prefix cached of its next run, before anybody else sees it."""

from collections.abc import Callable

import msgspec

from chatcore.domain.affinity import favours
from chatcore.domain.beat import Beat
from chatcore.domain.errors import StoreUnavailable
from chatcore.ports import Inboxes, Stores
from chatcore.protocol.queue import Job, Offer

MAX_TEXT_CHARS = 16_000
"""Escaped it may be twelve bytes a character, and SQS takes no more than 256 KiB. What is longer is read
from its table."""


def offer(
    stores: Stores,
    inboxes: Inboxes,
    job: Job,
    text: str,
    now_ms: int,
    put_twin: Callable[[Job], None],
) -> Job | None:
    """The job as its favourite was told of it; None where it has none, or that one is gone or has no
    room. Never raises: nobody waits longer than he would have without it.

    put_twin: comes before the offer. The other way round, a death in between would leave a run with the
    favourite alone, and with nobody if that one dies too.
    """
    if not job.favourite:
        return None
    try:
        beat = stores.beats.get(job.favourite)
        if not favours(beat, now_ms):
            return None
        put_twin(msgspec.structs.replace(job, offered_ms=now_ms))
        return offer_to(inboxes, beat, job, text, now_ms)
    except StoreUnavailable:
        return None


def offer_to(inboxes: Inboxes, beat: Beat | None, job: Job, text: str, now_ms: int) -> Job | None:
    """The same without asking whether it has room. Raises StoreUnavailable."""
    offered = msgspec.structs.replace(job, offered_ms=now_ms)
    sent_text = text if len(text) <= MAX_TEXT_CHARS else ""
    if beat is None or not inboxes.send(beat.inbox, Offer(job=offered, text=sent_text)):
        return None
    return offered
