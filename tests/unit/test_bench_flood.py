"""bench-flood: what counts, and what is told of it."""

from bench.flood import Found
from chatcore.domain.tiers import Tier


def test_only_counted_runs_first_tokens_are_taken_from_the_workers_log() -> None:
    found = Found()
    found.add("r_1", Tier.PRO, flooded=True, ttft_ms=70.0)
    found.read(
        [
            {"message": "run.claimed", "run_id": "r_1"},
            {"message": "run.first_token", "run_id": "r_1", "created_ms": 10, "first_token_ms": 50},
            {"message": "run.first_token", "run_id": "r_2", "created_ms": 10, "first_token_ms": 90},
        ]
    )
    assert found.ttft_ms == {(Tier.PRO, True): [70.0]}
    assert found.admitted_ms == {(Tier.PRO, True): [40]}
