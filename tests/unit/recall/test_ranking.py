"""The arithmetic of the ranking, on a few numbers."""

import numpy as np
import pytest

from gpu_service.recall import ranking
from gpu_service.recall.ranking import AFTER, BEFORE, K1, Matches


def matches(*found: tuple[int, int, int], asked: int = 1) -> Matches:
    """Of (term, message, count)."""
    columns = np.array(found, np.int64).reshape(-1, 3)
    counts = columns[:, 2].astype(np.float32)
    return Matches(columns[:, 0], columns[:, 1], counts, asked)


def sittings(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(numbers, np.int32)


def test_a_rare_term_weighs_more_and_one_never_said_most() -> None:
    never, once, often = ranking.rarity(np.array([0, 1, 90]), 100)
    assert never > once > often > 0


def test_saying_it_again_adds_less_and_a_long_message_is_worth_less() -> None:
    found = matches((0, 0, 1), (0, 1, 2), (0, 2, 4), (0, 3, 1))
    once, twice, often, in_long = ranking.saturated(found, np.array([10, 10, 10, 40], np.float32))
    assert twice - once > often - twice > 0
    assert often < K1 + 1
    assert in_long < once


@pytest.mark.parametrize("messages", [1, 2, 3, 12])
def test_a_match_reaches_its_neighbours_of_the_same_sitting(messages: int) -> None:
    reach = dict.fromkeys(range(-messages, messages), 0.0) | {0: 1.0}
    reach |= dict(enumerate(AFTER, 1))
    reach |= {-step: part for step, part in enumerate(BEFORE, 1)}
    for place in range(messages):
        row = ranking.spread(
            matches((0, place, 1)), np.ones(1, np.float32), sittings(*[0] * messages)
        )[0]
        expected = [reach[at - place] for at in range(messages)]
        assert row.tolist() == pytest.approx(expected)


def test_it_does_not_reach_over_a_pause() -> None:
    row = ranking.spread(matches((0, 1, 1)), np.ones(1, np.float32), sittings(0, 0, 1, 1))[0]
    assert row.tolist() == pytest.approx([BEFORE[0], 1, 0, 0])


def test_of_two_neighbours_with_the_same_term_the_greater_part_counts() -> None:
    row = ranking.spread(
        matches((0, 0, 1), (0, 2, 1)), np.array([1, 2], np.float32), sittings(0, 0, 0)
    )[0]
    assert row[1] == pytest.approx(2 * BEFORE[0])


def test_the_best_are_those_above_zero_and_of_equals_the_later() -> None:
    scores = np.array([1, 0, 3, 1, 2, 0], np.float32)
    assert ranking.best(scores, 10).tolist() == [2, 4, 3, 0]
    assert ranking.best(scores, 3).tolist() == [2, 4, 3]
    assert ranking.best(np.zeros(3, np.float32), 2).tolist() == []


class TestCorrected:
    """Message 0 is told, message 2 comes later with the same terms."""

    own = np.array([[1, 0, 1], [1, 0, 1]], np.float32)
    weights = np.array([1, 1], np.float32)

    def order(
        self,
        scores: tuple[float, float, float] = (3, 1, 2),
        changes: tuple[bool, bool, bool] = (False, False, True),
        own: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None = None,
    ) -> list[int]:
        scored = np.array(scores, np.float32)
        found: list[int] = ranking.corrected(
            ranking.best(scored, 9),
            scored,
            self.own if own is None else own,
            self.weights,
            np.array(changes),
        ).tolist()
        return found

    def test_what_takes_back_comes_right_before_it(self) -> None:
        assert self.order() == [2, 0, 1]

    def test_without_words_of_change_nothing_is_taken_back(self) -> None:
        assert self.order(changes=(False, False, False)) == [0, 2, 1]

    def test_an_earlier_message_takes_nothing_back(self) -> None:
        assert self.order((2, 1, 3), (True, False, False)) == [2, 0, 1]

    def test_one_that_hardly_fits_is_not_lifted(self) -> None:
        assert self.order((3, 1, 1.4)) == [0, 2, 1]

    def test_one_about_something_else_is_not_lifted(self) -> None:
        own = np.array([[1, 0, 0], [1, 0, 0]], np.float32)
        assert self.order(own=own) == [0, 2, 1]

    def test_one_that_shares_the_lesser_part_of_the_subject_is_not_lifted(self) -> None:
        own = np.array([[1, 0, 0], [1, 0, 1]], np.float32)
        assert self.order(own=own) == [0, 2, 1]

    def test_to_share_a_small_part_of_what_is_asked_is_not_enough(self) -> None:
        own = np.array([[1, 0, 1], [0, 1, 0], [0, 1, 0], [0, 1, 0]], np.float32)
        scored = np.array([3, 1, 2], np.float32)
        order = ranking.corrected(
            ranking.best(scored, 9), scored, own, np.ones(4, np.float32), np.array([0, 0, 1], bool)
        )
        assert order.tolist() == [0, 2, 1]
