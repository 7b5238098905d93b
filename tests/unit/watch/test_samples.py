"""Percentiles and sums are of a window that ends now."""

from local.watch.samples import KEPT_MS, LATELY_MS, Samples, percentile

NOW_MS = 1_000_000


def test_percentiles_are_of_the_last_minutes_by_nearest_rank() -> None:
    samples = Samples()
    samples.add(NOW_MS - KEPT_MS, 9_999)
    for number in range(1, 21):
        samples.add(NOW_MS - 1_000 + number, number)
    assert samples.percentile(50, NOW_MS) == 10
    assert samples.percentile(95, NOW_MS) == 19
    assert samples.percentile(50, NOW_MS + KEPT_MS) is None


def test_totals_are_of_the_last_minute() -> None:
    samples = Samples()
    samples.add(NOW_MS - LATELY_MS, 1)
    samples.add(NOW_MS - LATELY_MS + 1, 2)
    samples.add(NOW_MS, 3)
    assert samples.total(NOW_MS) == 5


def test_no_figure_is_no_sample() -> None:
    samples = Samples()
    samples.add(NOW_MS, None)
    samples.add(NOW_MS, 0)
    assert samples.values(NOW_MS) == [0]


def test_what_comes_a_little_late_counts() -> None:
    samples = Samples()
    samples.add(NOW_MS, 1)
    samples.add(NOW_MS - 50, 2)
    assert sorted(samples.values(NOW_MS)) == [1, 2]


def test_one_value_is_all_percentiles() -> None:
    assert percentile([7], 1) == percentile([7], 100) == 7
