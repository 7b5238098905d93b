"""Owns how matches become a ranking: arrays in, arrays out. It must not know text, terms or messages.

A row is one term of the query, a column one of the chat's messages, in their order.
BM25 after Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009); a message's score is a
passage's, in which a neighbour's term counts as a part of one's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

K1 = 1.2
LENGTHS = 0.5
"""How much of its length is held against a message (b of BM25)."""

RARITY = 1.3
"""Exponent on the weight of a rare term."""

AFTER = (0.75, 0.55, 0.45, 0.35, 0.2)
BEFORE = (0.65, 0.45, 0.35, 0.25, 0.2)
"""What a term counts for the messages one, two, ... places after and before it in the same sitting: an
answer follows its question."""

MOST, SUBJECT, AS_WELL = 0.6, 0.3, 0.5
"""What makes one message take back another: shares of what the other one fits by, of what is asked, and of
the other one's score."""


MOST_CORRECTED = 64
"""More than any prompt has room for."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Which messages have which of the terms asked for: arrays of one length. asked: how many terms."""

    terms: NDArray[np.int64]
    messages: NDArray[np.int64]
    counts: Floats
    asked: int

    def own(self, messages: int) -> Floats:
        """(terms, messages), 1 where the message itself has the term."""
        has = np.zeros((self.asked, messages), np.float32)
        has[self.terms, self.messages] = 1
        return has


def rarity(matching: NDArray[np.int64], messages: int) -> Floats:
    """Weight of terms that so many of the messages have; the greatest for one that none has."""
    odds = (messages - matching + 0.5) / (matching + 0.5)
    return np.log1p(odds).astype(np.float32)


def saturated(matches: Matches, lengths: Floats) -> Floats:
    """Of each match, in [0, K1 + 1): saying it again adds less and less."""
    mean = float(lengths.mean()) or 1.0
    held_against = K1 * (1 - LENGTHS + LENGTHS * lengths[matches.messages] / mean)
    return (matches.counts * np.float32(K1 + 1) / (matches.counts + held_against)).astype(
        np.float32
    )


def spread(matches: Matches, values: Floats, sittings: NDArray[np.int32]) -> Floats:
    """(terms, messages): the value of each message's own match, or the greater part of a near one's.

    The greatest, not the sum: a neighbour who says the same adds nothing, one who says the rest does.
    """
    messages = len(sittings)
    reached = np.zeros((matches.asked, messages), np.float32)
    flat, at = reached.ravel(), matches.terms * messages + matches.messages
    flat[at] = values
    for places, (later, earlier) in enumerate(zip(AFTER, BEFORE, strict=True), 1):
        same = sittings[places:] == sittings[:-places]
        apart = np.zeros(min(places, messages), np.bool_)
        for step, part, near in (
            (places, later, [same, apart]),
            (-places, earlier, [apart, same]),
        ):
            reaching = np.concatenate(near)[matches.messages]
            to = at[reaching] + step
            flat[to] = np.maximum(flat[to], part * values[reaching])
    return reached


def weighed(weights: Floats, rows: Floats) -> Floats:
    """(messages,): the sum of the rows by their weights. Not by BLAS, whose threads keep each other waiting
    on a machine that has other work: ten times as long at worst."""
    sums: Floats = np.einsum("t,tm->m", weights, rows).astype(np.float32)
    return sums


def corrected(
    order: NDArray[np.int64], scores: Floats, own: Floats, weights: Floats, changes: Flags
) -> NDArray[np.int64]:
    """The order, with a message that takes back an earlier one put right before it, as far as both are
    among the first MOST_CORRECTED.

    own: (terms, messages), whether the message itself has the term. One takes back another when it comes
    later, has words of change, fits about as well, and has most of what makes the other one fit.
    """
    order, rest = order[:MOST_CORRECTED], order[MOST_CORRECTED:]
    of_terms = own[:, order]
    by_weight = of_terms * weights[:, None]
    shared, fits = np.einsum("ta,tb->ab", by_weight, of_terms), by_weight.sum(0)[:, None]
    takes_back = (
        (order[:, None] < order[None, :])
        & changes[order][None, :]
        & (shared >= MOST * fits)
        & (shared >= SUBJECT * weights.sum())
        & (scores[order][None, :] >= AS_WELL * scores[order][:, None])
    )
    lifted = scores[order].copy()
    for place in np.flatnonzero(takes_back.any(0)).tolist():
        above = lifted[takes_back[:, place]].max()
        if lifted[place] <= above:
            lifted[place] = above * 1.001
    return np.concatenate([order[np.argsort(-lifted, kind="stable")], rest])


def best(scores: Floats, most: int) -> NDArray[np.int64]:
    """The places of the greatest scores above zero, greatest first; of equals the later one."""
    fitting = np.flatnonzero(scores > 0)[::-1]
    if len(fitting) > most:
        least = np.partition(scores[fitting], -most)[-most]
        fitting = fitting[scores[fitting] >= least]
    return fitting[np.argsort(-scores[fitting], kind="stable")[:most]]
