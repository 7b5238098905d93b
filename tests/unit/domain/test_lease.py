"""A lease's arithmetic: between the last word of one and the claim of the other lies the margin."""

from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain import lease

moments_ms = st.integers(min_value=0, max_value=2**45)


def test_a_fresh_lease_lets_its_holder_speak_and_nobody_else_claim() -> None:
    end_ms = lease.until(1_000)
    assert end_ms == 1_000 + lease.LEASE_MS
    assert lease.may_speak(1_000, end_ms)
    assert not lease.may_take_over(1_000, end_ms)


def test_the_edges() -> None:
    margin_ms = lease.SKEW_MARGIN_MS
    assert lease.may_speak(100_000 - margin_ms - 1, 100_000)
    assert not lease.may_speak(100_000 - margin_ms, 100_000)
    assert not lease.may_take_over(100_000 + margin_ms, 100_000)
    assert lease.may_take_over(100_000 + margin_ms + 1, 100_000)


@given(
    now_ms=moments_ms,
    end_ms=moments_ms,
    skew_ms=st.integers(-2 * lease.SKEW_MARGIN_MS, 2 * lease.SKEW_MARGIN_MS),
)
def test_clocks_that_differ_by_both_margins_never_let_two_speak(
    now_ms: int, end_ms: int, skew_ms: int
) -> None:
    assert not (lease.may_speak(now_ms, end_ms) and lease.may_take_over(now_ms + skew_ms, end_ms))


@given(now_ms=moments_ms, end_ms=moments_ms)
def test_the_wait_for_a_take_over_ends_when_it_can_succeed(now_ms: int, end_ms: int) -> None:
    wait_ms = lease.take_over_in_ms(now_ms, end_ms)
    assert wait_ms >= 0
    assert lease.may_take_over(now_ms + wait_ms, end_ms)
    assert wait_ms == 0 or not lease.may_take_over(now_ms + wait_ms - 1, end_ms)


def test_a_worker_that_renews_in_time_may_always_speak() -> None:
    # One renewal may be lost, and the next may still come in time.
    assert 2 * lease.RENEW_EVERY_MS + 1_000 < lease.LEASE_MS - lease.SKEW_MARGIN_MS
