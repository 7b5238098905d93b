"""Owns affinity: when a chat's next run is offered to the worker that has the chat's prefix cached (its
favourite), and for how long others that could take the run leave it to that worker.

    submit ──▶ favourite's inbox      the offer: kept until a slot is free or the patience is over
           └─▶ lane, a second late    the twin: whoever has a free slot takes it, or leaves it

Whoever claims first makes the answer; the other copy finds the run held and is acknowledged. Affinity
buys no turn: an offer is made only for a run that belongs to the front lane anyway, which its caller
knows. What decides is in the beats, in the job and in the worker's own hands, so nobody keeps a map of
caches, and any number of workers decide side by side.

A fleet that is full has no favourite with a free slot, so an offer that does not wait finds none: hits
fall to what chance gives. A worker that takes the next run of the line for the few seconds that the
favourite needs loses nothing and wins a prefix (delay scheduling: Zaharia et al., EuroSys 2010).

Pure: time is an argument. It must not know how beats and offers travel.
"""

import math
from dataclasses import dataclass

from chatcore.domain.beat import Beat

TWIN_DELAY_S = 1
"""By how much the twin is late: the least that SQS can delay, and ample for a favourite with a free slot
to claim. It is all that a favourite which died long ago, or has no room, can cost."""

PATIENCE_MS = 10_000
"""For how long an offer stands. About as long as a run takes: within it nearly every worker has a slot to
give. It also bounds what a favourite costs that died just after its beat."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The run is left to its favourite. hide_s: for how long the lane hides it; offered_ms: when its
    offer was made; is_new: now, so the inbox is still to be told, and the lane's copy to carry it."""

    hide_s: int
    offered_ms: int
    is_new: bool


def favours(beat: Beat | None, now_ms: int) -> bool:
    """Whether to offer the run to that worker: it lives, and what waits there before can all be begun
    within about one run's time. None: nobody has the prefix, or the worker is gone.

    There is no rule about its share of the load. Caps of 1.1 to 1.3 of the fleet's mean were tried on the
    model of `bench.scheduling.prefixes` (8 copies). With half of the slots free they made loads more even
    (most loaded 1.06 to 1.11 of the mean, 1.14 without); with all busy they did not (1.10 to 1.16, 1.09
    without). Either way they cost hits, up to 6 points. What is refused is made elsewhere without its
    prefix, which may be why.
    """
    return beat is not None and beat.is_fresh(now_ms) and beat.offers < beat.slots + beat.free_slots


def offer_stands(offered_ms: int, now_ms: int) -> bool:
    """Whether the favourite still keeps it."""
    return now_ms < offered_ms + PATIENCE_MS


def leave(
    beat: Beat | None, offered_ms: int | None, now_ms: int, prefix_ms: int, others_wait: bool
) -> Leave | None:
    """Whether a worker that took the run from the front lane, and is not its favourite, leaves it to the
    favourite, whose beat this is; None: it makes the answer itself.

    offered_ms: None if it has not been offered yet. prefix_ms: what making the prefix anew would take
    here. others_wait: there is another run to take instead; without one the slot would idle, and then it
    does so for no longer than the prefix would have kept it busy.
    """
    if beat is None or not beat.is_fresh(now_ms):
        return None
    is_new = offered_ms is None
    if offered_ms is None:
        if not favours(beat, now_ms):
            return None
        offered_ms = now_ms
    patience_ms = PATIENCE_MS if others_wait else min(PATIENCE_MS, prefix_ms)
    left_ms = offered_ms + patience_ms - now_ms
    if left_ms <= 0:
        return None
    return Leave(math.ceil(left_ms / 1000), offered_ms, is_new)
