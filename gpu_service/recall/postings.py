"""Owns which messages of a chat have which terms, and what a query's terms match there.

A message is a place: how many came before it. It must not know what else is known of messages.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_service.recall import ranking
from gpu_service.recall.ranking import Floats, Matches

MAX_ASKED = 32
"""Terms of a query: of a long one the rarest of those that the chat knows."""

ENOUGH_TERMS = 8
"""A query that asks for more than so many rare terms is not asked to find them all in one passage."""

KIN_CHARS, KIN_NEAR, KIN_WEIGHT = 5, 4, 0.7
"""Letters that two words of one kin share at least; how many around it are looked at; what kin counts."""

MAX_COUNT = 63
_COUNT_BITS = 6
_TERM_BYTES, _POSTING_BYTES = 210, 4.6
"""In this interpreter: a term with its two places in the lists and its array; an entry of an array."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query asks of the messages. weights: of the terms that are there; total: of all of them."""

    matches: Matches
    weights: Floats
    total: float


class Postings:
    def __init__(self) -> None:
        # Of each term, the places of the messages that have it, each with how often (the low bits).
        self._places: dict[str, array[int]] = {}
        # The same terms by their letters: a word that the chat has not may have a near kin there.
        self._sorted: list[str] = []
        self.size_bytes = 0.0

    def add(self, place: int, counts: Mapping[str, int]) -> None:
        """The terms of the next message: places only grow."""
        for term, count in counts.items():
            places = self._places.get(term)
            if places is None:
                places = self._places[term] = array("I")
                insort(self._sorted, term)
                self.size_bytes += _TERM_BYTES + len(term)
            places.append(place << _COUNT_BITS | min(count, MAX_COUNT))
        self.size_bytes += _POSTING_BYTES * len(counts)

    def asked(self, weights: Mapping[str, float], known: int) -> Asked:
        """weights: how much each term says; known: only so many messages are looked at."""
        matching = self.matching(weights, known)
        weighed = np.fromiter(weights.values(), np.float32) * ranking.rarity(matching, known)
        rarest = float(ranking.rarity(np.zeros(1, np.int64), known)[0])
        order = np.argsort(-weighed, kind="stable").tolist()
        kept = [number for number in order if matching[number]][:MAX_ASKED]
        names = list(weights)
        # Copies: a view would keep an array from growing while somebody holds it.
        entries = np.concatenate(
            [
                np.zeros(0, np.uint32),
                *(np.array(self._places[names[n]][: matching[n]], np.uint32) for n in kept),
            ]
        )
        matches = Matches(
            np.repeat(np.arange(len(kept)), matching[kept]),
            (entries >> _COUNT_BITS).astype(np.int64),
            (entries & MAX_COUNT).astype(np.float32),
            len(kept),
        )
        return Asked(matches, weighed[kept], min(float(weighed.sum()), ENOUGH_TERMS * rarest))

    def matching(self, words: Iterable[str], known: int) -> NDArray[np.int64]:
        """How many of the known messages have each of the terms."""
        end = known << _COUNT_BITS
        held = (self._places.get(term) for term in words)
        return np.array([bisect_left(places, end) if places else 0 for places in held], np.int64)

    def with_kin(self, weights: Mapping[str, float], known: int) -> Mapping[str, float]:
        """The terms, those that the chat has not replaced by such as it has, for a little less."""
        found: dict[str, float] = {}
        for term, weight in weights.items():
            kin = None if self._has(term, known) else self._kin(term, known)
            if kin is None:
                found[term] = max(weight, found.get(term, 0.0))
            else:
                found[kin] = max(weight * KIN_WEIGHT, found.get(kin, 0.0))
        return found

    def _has(self, term: str, known: int) -> bool:
        places = self._places.get(term)
        return places is not None and places[0] < known << _COUNT_BITS

    def _kin(self, term: str, known: int) -> str | None:
        """The nearest of the known terms that differs in its ending only, where stems go different ways
        (allergy, allergic) or the stemmer does not know the language. Those that share most with a term
        stand around it in the order of letters."""
        if len(term) < KIN_CHARS:
            return None
        at = bisect_left(self._sorted, term)
        kin = [
            (shared, other)
            for other in self._sorted[max(0, at - KIN_NEAR) : at + KIN_NEAR]
            if (shared := _shared(term, other)) >= KIN_CHARS
            and min(len(term), len(other)) <= shared + 1
            and max(len(term), len(other)) <= shared + 3
            and self._has(other, known)
        ]
        return max(kin)[1] if kin else None


def _shared(one: str, other: str) -> int:
    """How many letters they begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
