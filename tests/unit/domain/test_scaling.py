"""How many workers: by slot-seconds, at once for more, after a quiet time for fewer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.scaling import Goals, Scale, backlog_slot_s, desired_workers, wanted
from chatcore.domain.tiers import Tier

GOALS = Goals(slots_per_worker=10, least=1, most=8, drain_s=60.0, spare=0.0, quiet_s=300.0)
MINUTE_MS = 60_000


def after(minutes: float, scale: Scale, busy: float, backlog_s: float = 0.0) -> Scale:
    return desired_workers(scale, backlog_s, busy, GOALS, round(minutes * MINUTE_MS))


def test_a_backlog_is_counted_by_how_long_it_keeps_slots() -> None:
    per_run = {Tier.FREE: 5.0, Tier.PRO: 20.0}
    assert backlog_slot_s({Tier.FREE: 4, Tier.PRO: 1}, per_run) == 40.0
    assert backlog_slot_s({Tier.PLUS: 4}, per_run) == 0.0


@pytest.mark.parametrize(
    ("backlog_s", "busy", "workers"),
    [(0, 0, 1), (0, 10, 1), (0, 11, 2), (600, 10, 2), (601, 10, 3), (0, 500, 8)],
)
def test_there_are_slots_for_what_runs_and_to_drain_what_waits(
    backlog_s: float, busy: float, workers: int
) -> None:
    assert wanted(backlog_s, busy, GOALS) == workers


def test_some_slots_are_spare() -> None:
    assert wanted(0, 80, Goals(10, 1, 20, spare=0.2)) == 10


def test_more_are_wanted_at_once() -> None:
    assert after(0, Scale(1), busy=45).workers == 5


def test_asked_again_nothing_more_is_started() -> None:
    scale = after(0, Scale(1), busy=10, backlog_s=2_400)
    assert scale == after(0, scale, busy=10, backlog_s=2_400) == Scale(5)


def test_fewer_only_after_a_quiet_time() -> None:
    scale = after(0, Scale(6), busy=15)
    assert scale.workers == after(4.9, scale, busy=15).workers == 6
    assert after(5, scale, busy=15) == Scale(2)


def test_a_need_within_it_begins_it_anew() -> None:
    scale = after(3, after(0, Scale(6), busy=15), busy=58)
    assert scale == Scale(6)
    assert after(6, scale, busy=15).workers == 6


def test_it_goes_to_what_was_wanted_most_meanwhile() -> None:
    scale = after(2, after(0, Scale(6), busy=15), busy=35)
    assert after(5, scale, busy=5).workers == 4


@pytest.mark.parametrize(
    ("slots", "least", "most", "drain_s", "spare"),
    [(0, 1, 2, 60, 0), (1, 3, 2, 60, 0), (1, 1, 2, 0, 0), (1, 1, 2, 60, 1)],
)
def test_goals_that_cannot_be_are_refused(
    slots: int, least: int, most: int, drain_s: float, spare: float
) -> None:
    with pytest.raises(ValueError, match=r"least|slots"):
        Goals(slots, least, most, drain_s, spare)


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 20_000)), max_size=40))
def test_it_never_leaves_its_bounds_nor_falls_below_what_is_wanted(
    seen: list[tuple[float, float]],
) -> None:
    scale = Scale(1)
    for number, (busy, backlog_s) in enumerate(seen):
        scale = desired_workers(scale, backlog_s, busy, GOALS, number * MINUTE_MS)
        assert wanted(backlog_s, busy, GOALS) <= scale.workers <= GOALS.most
