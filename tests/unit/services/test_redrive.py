"""Redriving: what is stuck gets its job again, once; what is not is left alone."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chatcore.domain import lease
from chatcore.domain.calendar import LANES, returns_of
from chatcore.domain.identity import User
from chatcore.domain.run import Run, Status
from chatcore.domain.tiers import Tier
from chatcore.services import redrive as service
from chatcore.services.redrive import Found, Redriven, redrive
from chatcore.services.title import ask_for_title
from tests.contract.sends import claimed
from tests.unit.services.test_dispatch import end, sent, taken
from tests.unit.services.test_submit import SEND, Desk

PRO = Tier.PRO
OLDER_MS = 10 * 60_000


@pytest.fixture
def desk() -> Desk:
    return Desk()


def redriven(desk: Desk) -> Redriven:
    return redrive(desk.stores, desk.lanes, OLDER_MS, "", desk.clock())


def lost(desk: Desk, runs: Sequence[Run]) -> None:
    """Their jobs are lost, and time goes by."""
    taken(desk)
    desk.clock.advance(OLDER_MS + 1)
    assert len(runs) == len(desk.database.runs)


def test_a_queued_run_whose_job_was_lost_gets_it_again_once(desk: Desk) -> None:
    runs = sent(desk, 1)
    lost(desk, runs)
    assert redriven(desk) == Redriven(1, "", {Found.REQUEUED: 1})
    assert taken(desk) == [runs[0].run_id]
    assert redriven(desk) == Redriven(1, "", {})
    desk.clock.advance(OLDER_MS + 1)
    assert redriven(desk).found == {Found.REQUEUED: 1}


def test_one_that_waits_behind_another_is_seen_to_by_that(desk: Desk) -> None:
    runs = sent(desk, 2)
    lost(desk, runs)
    found = redriven(desk).found
    assert sum(found.values()) == 2
    # The one behind puts in the first one's job where it is looked at first.
    assert found.keys() <= {Found.REQUEUED, Found.BEHIND, Found.CHANGED}
    assert taken(desk) == [runs[0].run_id]


def test_one_whose_former_is_over_gets_its_turn(desk: Desk) -> None:
    first, behind = sent(desk, 2)
    lost(desk, [first, behind])
    end(desk, first)
    assert redriven(desk).found == {Found.REQUEUED: 1}
    assert taken(desk) == [behind.run_id]


def test_a_running_one_is_taken_over_when_its_lease_is_long_over(desk: Desk) -> None:
    runs = sent(desk, 1)
    taken(desk)
    running = claimed(desk.stores, runs[0], now_ms=desk.clock())
    desk.clock.advance(lease.LEASE_MS + OLDER_MS)
    assert redriven(desk).found == {}
    desk.clock.advance(1)
    assert redriven(desk).found == {Found.TAKEN_OVER: 1}
    assert [lane for lane in LANES if desk.lanes.depth(lane)] == [returns_of(PRO)]
    assert redriven(desk).found == {}
    again = claimed(desk.stores, runs[0], "worker-2", desk.clock())
    assert again.epoch == running.epoch + 1


def test_who_waits_for_a_while_or_is_over_is_left_alone(desk: Desk) -> None:
    waiting, over = sent(desk, 2)
    taken(desk)
    end(desk, over)
    desk.clock.advance(OLDER_MS)
    assert redriven(desk) == Redriven(2, "", {})
    assert taken(desk) == []
    assert desk.database.runs[waiting.run_id].status is Status.QUEUED


def test_runs_of_the_background_are_left_to_their_expiry(desk: Desk) -> None:
    (run,) = sent(desk, 1)
    end(desk, run)
    ask_for_title(desk.stores, desk.lanes, run, desk.clock())
    taken(desk)
    desk.clock.advance(OLDER_MS + 1)
    assert redriven(desk) == Redriven(2, "", {})


def test_what_has_changed_since_the_scan_is_left_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = sent(desk, 1)
    lost(desk, runs)
    seen = desk.stores.runs.active(10, "")
    claimed(desk.stores, runs[0], now_ms=desk.clock())
    monkeypatch.setattr(type(desk.stores.runs), "active", lambda *_: seen)
    assert redriven(desk).found == {Found.CHANGED: 1}
    assert taken(desk) == []


def test_pages_go_on_where_the_last_one_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOKS", 2)
    runs = [
        desk.submitted(replace(SEND, user=User(f"user-{number}", PRO))).run for number in range(5)
    ]
    lost(desk, runs)
    after_id, looked_at, found = "", 0, 0
    while True:
        step = redrive(desk.stores, desk.lanes, OLDER_MS, after_id, desk.clock())
        looked_at += step.looked_at
        found += step.found.get(Found.REQUEUED, 0)
        after_id = step.next_id
        if not after_id:
            break
    assert (looked_at, found) == (5, 5)
    assert sorted(taken(desk)) == sorted(run.run_id for run in runs)


def test_a_tier_that_is_paused_or_full_gets_a_job_too_many_and_no_more(desk: Desk) -> None:
    """What waits because many do is not told apart: its second job is acknowledged, once it is over."""
    (run,) = sent(desk, 1)
    desk.clock.advance(OLDER_MS + 1)
    assert redriven(desk).found == {Found.REQUEUED: 1}
    assert taken(desk) == [run.run_id] * 2
    assert replace(desk.database.runs[run.run_id], requeued_ms=0) == run
