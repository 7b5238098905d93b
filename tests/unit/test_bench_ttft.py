"""How the benchmark takes a time to first token apart."""

import pytest

from bench.ttft import HOPS, Measured, Prompted, hops_ms, mean_hops_ms, question, read_marks

LINE = {
    "message": "run.first_token",
    "run_id": "r_1",
    "created_ms": 1_010,
    "enqueued_ms": 1_030,
    "received_ms": 1_080,
    "claimed_ms": 1_090,
    "prompted_ms": 1_092,
    "first_token_ms": 1_140,
}
PROMPTED = Prompted("r_1", sent_ms=1_000.5, seen_ms=1_144.5)


def test_the_hops_are_the_time_between_the_moments() -> None:
    marks = read_marks([LINE])["r_1"]
    assert hops_ms(PROMPTED, marks) == {
        "gateway": 9.5,
        "submit": 20,
        "lane": 50,
        "claim": 10,
        "prompt": 2,
        "prefill": 48,
        "post": 4.5,
    }


def test_the_hops_add_up_to_the_time_to_first_token() -> None:
    assert sum(hops_ms(PROMPTED, read_marks([LINE])["r_1"]).values()) == PROMPTED.ttft_ms


def test_the_mean_hops_add_up_to_the_mean_time() -> None:
    later = {**LINE, "run_id": "r_2", "received_ms": 1_040}
    prompted = [PROMPTED, Prompted("r_2", sent_ms=990, seen_ms=1_200)]
    hops = mean_hops_ms(Measured(prompted=prompted), read_marks([LINE, later]))
    assert tuple(hops) == HOPS
    assert sum(hops.values()) == pytest.approx((PROMPTED.ttft_ms + 210) / 2)


def test_other_lines_of_the_log_are_passed_over() -> None:
    assert read_marks([{"message": "worker.ready", "worker_id": "w"}]) == {}


def test_questions_differ_but_not_in_length() -> None:
    # So that the engine's prefix cache spares each the same, and none is answered from it.
    first, second = question(), question()
    assert first != second
    assert len(first) == len(second)
