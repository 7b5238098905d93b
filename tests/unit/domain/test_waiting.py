"""Where a run waits, and what its user is told of that: how many are before it, why, for how long."""

from dataclasses import replace

import pytest

from chatcore.domain.calendar import AHEAD, QUANTUM, Backlog, Calendar, lane_of
from chatcore.domain.errors import Code
from chatcore.domain.lanes import RETURNS
from chatcore.domain.ledger import Ledger
from chatcore.domain.run import Run
from chatcore.domain.tiers import Tier
from chatcore.domain.waiting import (
    FRESH_MS,
    LATEST_LOOK_S,
    SOONEST_LOOK_S,
    Reason,
    Wait,
    lane_for,
    too_old,
    wait_of,
)

NOW_MS = 1_800_000_000_000
FRONT = 20
RUN = Run(
    run_id="r_1",
    user_id="user-alice",
    chat_id="c_1",
    tier=Tier.FREE,
    message_id="message-0001",
    message_seq=1,
    digest="",
    created_ms=NOW_MS - 1_000,
)
EMPTY = Ledger("user-alice")
FIRST = replace(EMPTY, active={"r_1": 1}, waiting=("r_1",))
BEHIND = replace(EMPTY, active={"r_0": 1, "r_1": 1}, waiting=("r_0", "r_1"))
BEGUN = replace(EMPTY, active={"r_1": 1}, charged={"r_1": 600})


def calendar(
    *numbers: int, returns: int = 0, starts_per_s: float = 0.5, age_ms: int = 2_000
) -> Calendar:
    """In the lane of each number a job, as somebody saw it so long ago: before the run was there."""
    waiting = {RETURNS: returns} if returns else {}
    for number in numbers:
        index = lane_of(Tier.FREE, number).index
        waiting[index] = waiting.get(index, 0) + 1
    return Calendar(Tier.FREE, FRONT, Backlog(NOW_MS - age_ms, waiting, starts_per_s))


class TestLane:
    @pytest.mark.parametrize(
        ("served", "ahead"),
        [
            (0, 0),
            (FRONT * QUANTUM + 1, 0),
            ((FRONT + 3) * QUANTUM - 1, 2),
            ((FRONT + 3) * QUANTUM, 3),
            ((FRONT + 90) * QUANTUM, AHEAD - 1),
        ],
    )
    def test_follows_how_far_the_user_has_been_served(self, served: int, ahead: int) -> None:
        ledger = replace(EMPTY, served=served, tagged_tier=Tier.FREE)
        assert lane_for(ledger, calendar()) == lane_of(Tier.FREE, FRONT + ahead)

    def test_of_who_was_served_in_another_tier_is_the_nearest(self) -> None:
        ledger = replace(EMPTY, served=(FRONT + 3) * QUANTUM, tagged_tier=Tier.PRO)
        assert lane_for(ledger, calendar()) == lane_of(Tier.FREE, FRONT)

    def test_follows_what_running_runs_have_cost_so_far(self) -> None:
        ledger = replace(
            EMPTY, lift=FRONT * QUANTUM, charged={"r_0": 2 * QUANTUM}, tagged_tier=Tier.FREE
        )
        assert lane_for(ledger, calendar()) == lane_of(Tier.FREE, FRONT + 2)


class TestReason:
    def test_nobody_is_before_it(self) -> None:
        assert wait_of(RUN, FIRST, calendar(), NOW_MS) == Wait(Reason.STARTING, 0, 0.0)

    def test_others_are_before_it(self) -> None:
        wait = wait_of(RUN, FIRST, calendar(FRONT, FRONT, FRONT - 1, returns=2), NOW_MS)
        assert wait == Wait(Reason.BUSY, 5, 10.0)

    def test_who_is_in_further_lanes_is_not_before_it(self) -> None:
        wait = wait_of(RUN, FIRST, calendar(FRONT, FRONT + 1, FRONT + 2), NOW_MS)
        assert (wait.reason, wait.position) == (Reason.BUSY, 1)

    def test_who_has_been_served_ahead_waits_behind_those_who_have_not(self) -> None:
        heavy = replace(FIRST, served=(FRONT + 1) * QUANTUM, tagged_tier=Tier.FREE)
        wait = wait_of(RUN, heavy, calendar(FRONT, FRONT + 1, FRONT + 2), NOW_MS)
        assert (wait.reason, wait.position) == (Reason.BUSY, 2)

    def test_an_earlier_run_of_its_user_is_before_it(self) -> None:
        assert wait_of(RUN, BEHIND, calendar(), NOW_MS) == Wait(Reason.OWN_RUNS, 1, 2.0)
        wait = wait_of(RUN, BEHIND, calendar(FRONT, FRONT), NOW_MS)
        assert (wait.reason, wait.position) == (Reason.OWN_RUNS, 3)

    def test_it_had_a_slot_and_goes_on_before_all_who_have_not(self) -> None:
        wait = wait_of(RUN, BEGUN, calendar(FRONT - 1, FRONT, FRONT), NOW_MS)
        assert wait == Wait(Reason.RESUMING, 0, 0.0)
        wait = wait_of(RUN, BEGUN, calendar(FRONT, returns=3), NOW_MS)
        assert (wait.reason, wait.position) == (Reason.RESUMING, 3)


class TestBacklog:
    def test_that_was_seen_after_the_run_came_holds_the_run_itself(self) -> None:
        wait = wait_of(RUN, FIRST, calendar(FRONT, FRONT, age_ms=500), NOW_MS)
        assert (wait.reason, wait.position) == (Reason.BUSY, 1)
        alone = wait_of(RUN, FIRST, calendar(FRONT, age_ms=500), NOW_MS)
        assert alone == Wait(Reason.STARTING, 0, 0.0)
        resuming = wait_of(RUN, BEGUN, calendar(returns=1, age_ms=500), NOW_MS)
        assert (resuming.reason, resuming.position) == (Reason.RESUMING, 0)

    def test_that_was_seen_after_the_run_came_and_is_empty_has_nobody_before_it(self) -> None:
        assert wait_of(RUN, FIRST, calendar(age_ms=500), NOW_MS).position == 0

    def test_holds_the_one_job_of_a_user_for_all_his_runs(self) -> None:
        """That of the run before it: it is not counted once more as his."""
        wait = wait_of(RUN, BEHIND, calendar(FRONT, age_ms=500), NOW_MS)
        assert (wait.reason, wait.position) == (Reason.OWN_RUNS, 1)

    @pytest.mark.parametrize(
        ("ledger", "reason"),
        [(FIRST, Reason.STARTING), (BEHIND, Reason.OWN_RUNS), (BEGUN, Reason.RESUMING)],
    )
    def test_that_is_old_says_nothing(self, ledger: Ledger, reason: Reason) -> None:
        full = calendar(FRONT, FRONT, returns=4, age_ms=FRESH_MS)
        assert wait_of(RUN, ledger, full, NOW_MS).position is not None
        assert wait_of(RUN, ledger, full, NOW_MS + 1) == Wait(reason)

    def test_of_a_fleet_that_begins_nothing_gives_no_estimate(self) -> None:
        wait = wait_of(RUN, FIRST, calendar(FRONT, starts_per_s=0), NOW_MS)
        assert wait == Wait(Reason.BUSY, 1, None)


@pytest.mark.parametrize(
    ("estimate_s", "look_again_s"),
    [
        (None, SOONEST_LOOK_S),
        (0.0, SOONEST_LOOK_S),
        (4 * SOONEST_LOOK_S, SOONEST_LOOK_S),
        (40.0, 10.0),
        (4 * LATEST_LOOK_S, LATEST_LOOK_S),
        (100_000.0, LATEST_LOOK_S),
    ],
)
def test_the_longer_it_takes_the_later_it_is_worth_asking_again(
    estimate_s: float | None, look_again_s: float
) -> None:
    assert Wait(Reason.BUSY, 1, estimate_s).look_again_s == look_again_s


class TestTooOld:
    @pytest.mark.parametrize("estimate_s", [None, 0.0, 120.0])
    def test_is_nobody_who_gets_a_slot_in_time_or_of_whom_nothing_is_known(
        self, estimate_s: float | None
    ) -> None:
        assert too_old(Wait(Reason.BUSY, 9, estimate_s), 120.0, NOW_MS, "message-0001") is None

    def test_says_when_the_queue_will_be_short_enough(self) -> None:
        refusal = too_old(Wait(Reason.BUSY, 99, 150.25), 120.0, NOW_MS, "message-0001")
        assert refusal is not None
        assert (refusal.code, refusal.ref) == (Code.QUEUE_TOO_OLD, "message-0001")
        assert refusal.retry_at_ms == NOW_MS + 30_250
