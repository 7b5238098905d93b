"""How an answer reads, by when its tokens came: quality of experience and stalls at a reading speed.

The measure is that of Andes (Liu et al., "Andes: Defining and Enhancing Quality-of-Experience in
LLM-Based Text Streaming Services", arXiv 2404.16283v2, section 3.1, equations 1 to 3). A reader who takes
in r tokens a second consumes token i (from 1) at

    T_ideal_i  = t_first + (i - 1) / r                            if nothing ever made him wait
    T_actual_i = max(T_delivery_i, T_actual_{i-1} + 1 / r)        since a wait delays all that follows

    QoE = 1 - S_delay / S_whole      S_delay = sum of T_actual_i - T_ideal_i     the delayed area
                                     S_whole = sum of T_actual_i                 the whole area

with times from the request on. Andes expects the first token at a target that the service sets; here
t_first is when the engine had it, so that not even the first token's way is given away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """quality: QoE, 0 to 1; stall_ratio: share of the time from the first to the last token in which
    the reader had nothing to read."""

    quality: float
    stall_ratio: float


def read(delivered_s: Sequence[float], first_s: float, tokens_per_s: float) -> Reading:
    """delivered_s: when each token came; first_s: when the engine had the first. From the request on."""
    if not delivered_s:
        raise ValueError("no tokens")
    step_s = 1 / tokens_per_s
    delayed = whole = stalled_s = 0.0
    actual_s = delivered_s[0]
    for number, came_s in enumerate(delivered_s):
        if number:
            ready_s = actual_s + step_s
            actual_s = max(came_s, ready_s)
            stalled_s += actual_s - ready_s
        delayed += actual_s - (first_s + number * step_s)
        whole += actual_s
    watched_s = actual_s - delivered_s[0]
    return Reading(
        quality=1 - delayed / whole, stall_ratio=stalled_s / watched_s if watched_s else 0.0
    )
