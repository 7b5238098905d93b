"""What recall is measured against: rankings of a chat's messages that anybody would write first.

BM25 here is the plain one: words as they are, no stemming, k1 = 1.5, b = 0.75.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

K1, B = 1.5, 0.75


class Bm25:
    """Scores over a fixed list of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(_words(text)) for text in texts]
        self._having = Counter(word for counts in self._counts for word in counts)
        lengths = [counts.total() for counts in self._counts]
        mean = sum(lengths) / len(lengths)
        self._held_against = [K1 * (1 - B + B * length / mean) for length in lengths]

    def ranked(self, query: str) -> list[int]:
        """Places of those that have any of its words, best first."""
        scores: Counter[int] = Counter()
        for word in _words(query):
            having = self._having[word]
            rare = math.log(1 + (len(self._counts) - having + 0.5) / (having + 0.5))
            for place, counts in enumerate(self._counts):
                if word in counts:
                    count = counts[word]
                    part = count * (K1 + 1) / (count + self._held_against[place])
                    scores[place] += rare * part  # type: ignore[assignment]
        return [place for place, _ in scores.most_common()]


def with_neighbours(ranked: Iterable[int], messages: int) -> list[int]:
    """Each followed by the one before and the one after it."""
    near = (place + step for place in ranked for step in (0, -1, 1))
    return [place for place in dict.fromkeys(near) if 0 <= place < messages]


def most_recent(messages: int) -> list[int]:
    return list(range(messages - 1, -1, -1))


def half_recent(ranked: Sequence[int], tokens: Sequence[float], budget: float) -> list[int]:
    """The newest for half of the budget, then the ranking."""
    newest = taken(most_recent(len(tokens)), tokens, budget / 2)
    return list(dict.fromkeys([*newest, *ranked]))


def taken(ranked: Sequence[int], tokens: Sequence[float], budget: float) -> list[int]:
    """As a caller takes them: from the front while they fit."""
    used, found = 0.0, []
    for place in ranked:
        used += tokens[place]
        if used > budget:
            break
        found.append(place)
    return found


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
