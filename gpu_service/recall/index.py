"""Owns the index over one chat's messages, by which older ones that bear on a new one are found.

It is kept with the chat's messages and grows with them: what was indexed is never read again. It must not
know budgets or prompts: it says what fits, best first, and the caller takes what there is room for.
"""

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from chatcore.domain.chat import Message, Role
from chatcore.domain.excerpts import Recalled
from gpu_service.recall import dates, ranking
from gpu_service.recall.postings import Asked, Postings
from gpu_service.recall.ranking import Floats
from gpu_service.recall.terms import asked, says_little, takes_back, terms

MAX_RECALLED = 200

FLOOR = 0.33
"""Share of what a query asks that one passage must cover, or the chat has nothing on it."""

NAME_WEIGHT = 4.0
"""How much a query says by naming one of the speakers, or a time: as much as by a rather rare term."""

UNKNOWN_WEIGHT = float(ranking.rarity(np.zeros(1, np.int64), 1_000)[0])
"""What a word weighs of which a chat of a thousand messages has none. Not the chat's own: in a longer one
more of any text is somewhere by chance."""

TAIL = 0.05
"""Share of the best score below which a message does not fit."""

SPEAKER_LIFT, ROLE_LIFT = 0.8, 0.15
"""What a message gains by being the named speaker's; where nobody is named, by being the user's: facts are
the user's, an answer repeats them."""

TIME_LIFT, LONG_TIME_LIFT, LONG_DAYS = 0.3, 0.1, 45
"""What one gains on the best by being of the time that the query names; less where that is a long one."""

QUESTION_CUT = 0.2
"""A question seldom holds the answer."""

SHORTNESS, LONG_TERMS = 0.1, 150
"""Exponent on a message's length: of two that fit as well, the shorter leaves more room. From so many terms
on it does not matter: a long message with the fact must not fall behind its neighbours without it."""

RECENCY = 0.05
"""What the latest message gains on the first."""

ECHO_MESSAGES, ECHO_LEAST, ECHO_TERMS, ECHO_WEIGHT, ECHO_CHARS = 8, 0.4, 20, 0.3, 2_000
"""The terms of the best messages, which have that share of the best score, are asked for too
(pseudo-relevance feedback)."""

SITTING_GAP_MS = 4 * 60 * 60 * 1000
"""After such a pause a message is nobody's neighbour."""

_MESSAGE_BYTES, _SPAN_BYTES = 40, 13
"""In this interpreter: a message's entries in the lists, and those of a time that it speaks of."""

Kind = TypeVar("Kind", bound=np.generic)
_SPEAKER = re.compile(r"\s{0,4}(\w[\w.'-]{0,30}(?: \w[\w.'-]{0,30})?) ?[::](?!//)\s")
_CLOSING = re.compile(r"[\s\"'”’»)\]]+$")


class RecallIndex:
    """Over one chat's messages, in the order of their seq."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._seqs = array("q")
        self._lengths = array("f")
        self._sittings = array("i")
        self._days = array("i")
        self._speakers = array("i")
        self._users = array("b")
        self._questions = array("b")
        self._changes = array("b")
        self._names: dict[str, int] = {}
        self._postings = Postings()
        # The days that messages speak of: place, first and last day.
        self._spans = (array("i"), array("i"), array("i"))
        self._size = 0

    @property
    def size_bytes(self) -> int:
        """About what the index itself holds in memory; the messages are the caller's."""
        return int(self._size + self._postings.size_bytes)

    def extend(self, messages: Sequence[Message]) -> None:
        """Take in those that come after the last one known; the others are known already."""
        for message in messages:
            if not self._seqs or message.seq > self._seqs[-1]:
                self._add(message)

    def recall(
        self, query: str, before_seq: int, now_ms: int, most_missing: float = inf
    ) -> Recalled:
        """The messages before that place which fit the query, best first; none where nothing fits, or more
        than that would be missing."""
        known = bisect_left(self._seqs, before_seq)
        if not known:
            return Recalled()
        said = dates.spans(query, dates.day_of(now_ms))
        words = asked(dates.without(query, said))
        everyone = self._speakers_of(known)
        named = [everyone[term] for term in words if term in everyone]
        sought = {term: weight for term, weight in words.items() if term not in everyone}
        what = self._postings.asked(self._postings.with_kin(sought, known), known)
        when = self._when(said, known)
        sittings = _copy(self._sittings, np.int32, known)
        lengths = _copy(self._lengths, np.float32, known)
        reached = ranking.spread(what.matches, np.ones_like(what.matches.counts), sittings)
        total, covered = _covered(
            ranking.weighed(what.weights, reached), what.total, bool(named), bool(said), when
        )
        missing = (total - covered) / UNKNOWN_WEIGHT
        if total == 0 or covered < FLOOR * total or missing >= most_missing:
            return Recalled()
        scores = _score(what, sittings, lengths)
        echo = self._echo(scores, words.keys() | everyone.keys(), known)
        if echo is not None:
            echoed = _score(echo, sittings, lengths)
            scores += ECHO_WEIGHT * echoed * (scores.max() / max(float(echoed.max()), 1e-9))
        scores *= self._likely(named, known) / (np.minimum(lengths, LONG_TERMS) + 4) ** SHORTNESS
        scores += when * max(float(scores.max()), 1e-3)
        scores[scores < TAIL * scores.max()] = 0
        order = ranking.corrected(
            ranking.best(scores, MAX_RECALLED),
            *(scores, what.matches.own(known), what.weights),
            _copy(self._changes, np.bool_, known),
        )
        return Recalled([self._messages[place] for place in order.tolist()], missing)

    def _add(self, message: Message) -> None:
        place, text = len(self._messages), message.text
        counts = Counter(terms(text))
        before = self._messages[-1].created_ms if place else message.created_ms
        apart = message.created_ms - before > SITTING_GAP_MS
        day = dates.day_of(message.created_ms)
        self._sittings.append((self._sittings[-1] + apart) if place else 0)
        self._messages.append(message)
        self._seqs.append(message.seq)
        self._lengths.append(counts.total())
        self._days.append(day)
        self._speakers.append(self._speaker(text))
        self._users.append(message.role is Role.USER)
        self._questions.append(_CLOSING.sub("", text[-40:]).endswith(("?", "?", "؟")))
        self._changes.append(takes_back(text))
        self._postings.add(place, counts)
        for span in dates.spans(text, day):
            if span.days <= LONG_DAYS:
                for column, value in zip(self._spans, (place, span.first, span.last), strict=True):
                    column.append(value)
                self._size += _SPAN_BYTES
        self._size += _MESSAGE_BYTES

    def _speaker(self, text: str) -> int:
        """Who speaks, where a message begins with a name and a colon, as in the minutes of others' talk."""
        opening = _SPEAKER.match(text)
        name = next(terms(opening[1]), "") if opening else ""
        return self._names.setdefault(name, len(self._names)) if name else -1

    def _speakers_of(self, known: int) -> Mapping[str, int]:
        """Names of the chat's speakers. A colon after a word now and then makes none: a speaker opens a good
        part of the messages."""
        if not self._names:
            return {}
        speaking = _copy(self._speakers, np.int32, known)
        opened = np.bincount(speaking[speaking >= 0], minlength=len(self._names)).tolist()
        least = max(2, known / 8)
        return {name: number for name, number in self._names.items() if opened[number] >= least}

    def _when(self, said: Sequence[dates.Span], known: int) -> Floats:
        """What each message gains by being of a time that the query names, or speaking of it."""
        gains = np.zeros(known, np.float32)
        if not said:
            return gains
        days = _copy(self._days, np.int32, known)
        places, firsts, lasts = (np.array(column, np.int32) for column in self._spans)
        for span in said:
            lift = TIME_LIFT if span.days <= LONG_DAYS else LONG_TIME_LIFT
            # People tell of a day on the next one too.
            of_then = (days >= span.first) & (days <= span.last + 1)
            speaking = places[(firsts <= span.last) & (lasts >= span.first) & (places < known)]
            of_then[speaking] = True
            np.maximum(gains, lift * of_then, out=gains)
        return gains

    def _echo(self, scores: Floats, known_words: Collection[str], known: int) -> Asked | None:
        """The other terms that mark the best messages out, weighed by how much they do."""
        shares: Counter[str] = Counter()
        top = ranking.best(scores, ECHO_MESSAGES)
        top = top[scores[top] >= ECHO_LEAST * scores.max()]
        for place in top.tolist():
            share = float(scores[place] / scores[top].sum())
            for term, count in Counter(terms(self._messages[place].text[:ECHO_CHARS])).items():
                shares[term] += share * count / (count + 1)  # type: ignore[assignment]
        for term in list(shares):
            if term in known_words or says_little(term):
                del shares[term]
        if not shares:
            return None
        matching = self._postings.matching(shares, known)
        weights = np.array(list(shares.values()), np.float32) * ranking.rarity(matching, known)
        weights[matching < 2] = 0
        chosen = np.argsort(-weights, kind="stable")[:ECHO_TERMS]
        names = list(shares)
        greatest = float(weights[chosen[0]])
        if not greatest:
            return None
        weighed = {names[n]: float(weights[n]) / greatest for n in chosen.tolist() if weights[n]}
        return self._postings.asked(weighed, known)

    def _likely(self, named: Sequence[int], known: int) -> Floats:
        """Factors of what a message is, whatever it says."""
        factors = 1 + RECENCY * np.arange(known, dtype=np.float32) / known
        factors *= 1 - QUESTION_CUT * _copy(self._questions, np.float32, known)
        if len(named) == 1:
            factors *= 1 + SPEAKER_LIFT * (_copy(self._speakers, np.int32, known) == named[0])
        elif not named:
            factors *= 1 + ROLE_LIFT * _copy(self._users, np.float32, known)
        return factors.astype(np.float32)


def _covered(
    found: Floats, asked: float, by_name: bool, by_time: bool, when: Floats
) -> tuple[float, float]:
    """How much is asked, and how much of it the best passage has. Who speaks and when count as terms do."""
    total = asked + NAME_WEIGHT * (by_name + by_time)
    covered = found + NAME_WEIGHT * by_name + NAME_WEIGHT * (when > 0)
    return total, min(total, float(covered.max()))


def _score(what: Asked, sittings: NDArray[np.int32], lengths: Floats) -> Floats:
    values = ranking.saturated(what.matches, lengths)
    rows = ranking.spread(what.matches, values, sittings)
    return ranking.weighed(what.weights**ranking.RARITY, rows)


def _copy(values: "array[int] | array[float]", kind: type[Kind], known: int) -> NDArray[Kind]:
    """Of the first ones. A view would keep the array from growing while somebody holds it."""
    return np.array(values[:known]).astype(kind)
