"""bench-cancel tells whose slot somebody got."""

from bench.cancel import sorted_within


def test_each_rounds_slots_go_to_those_who_waited_first() -> None:
    assert sorted_within(2, [3.0, 1.0, 2.0, 4.0, 0.0]) == [1.0, 3.0, 2.0, 4.0, 0.0]
