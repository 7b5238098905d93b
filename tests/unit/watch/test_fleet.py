"""What the log lines come to: who has which run, what each tier gets, and who is lost."""

from dataclasses import replace

from chatcore.domain.tiers import DEFAULTS, Tier
from local.watch.fleet import FORGOTTEN_MS, SILENT_MS, Fleet, Standing
from local.watch.line import Line
from tests.unit.watch.said import NOW_MS, by_function, by_worker, claimed, ended


def fleet_of(*lines: Line) -> Fleet:
    fleet = Fleet()
    for line in lines:
        fleet.take(line)
    return fleet


def words(fleet: Fleet) -> list[str]:
    return [event.words for event in fleet.events]


class TestSlots:
    def test_a_run_is_in_a_slot_from_its_claim_to_its_end(self) -> None:
        fleet = fleet_of(by_worker("worker.ready", slots=8), claimed("r_abc", "pro"))
        (worker,) = fleet.workers.values()
        assert (worker.name, worker.slots) == ("worker-1", 8)
        assert [run.reads for run in worker.runs.values()] == [True]
        assert fleet.running(Tier.PRO) == 1
        fleet.take(by_worker("run.first_token", run_id="r_abc", tier="pro"))
        assert [run.reads for run in worker.runs.values()] == [False]
        fleet.take(ended("r_abc", "pro"))
        assert fleet.running(Tier.PRO) == 0

    def test_a_run_that_is_handed_back_or_lost_leaves_its_slot(self) -> None:
        for name in ("run.handed_back", "run.lost", "run.left"):
            fleet = fleet_of(claimed("r_abc"), by_worker(name, run_id="r_abc", tier="free"))
            assert fleet.running(Tier.FREE) == 0, name

    def test_a_run_that_another_worker_goes_on_with_is_taken_over(self) -> None:
        fleet = fleet_of(claimed("r_abc"), claimed("r_abc", worker=2, epoch=2))
        assert fleet.running(Tier.FREE) == 1
        assert not fleet.workers["vm-1"].runs
        assert words(fleet) == [
            "free run abc goes on at worker-2 from 7 and is taken over from worker-1"
        ]

    def test_a_run_that_its_own_worker_goes_on_with_is_taken_from_nobody(self) -> None:
        fleet = fleet_of(claimed("r_abc"), claimed("r_abc", epoch=2))
        assert fleet.running(Tier.FREE) == 1
        assert words(fleet) == ["free run abc goes on at worker-1 from 7"]

    def test_what_another_worker_says_of_a_run_leaves_it_in_its_slot(self) -> None:
        fleet = fleet_of(
            claimed("r_abc"),
            by_worker("job.over", worker=2, run_id="r_abc", tier="free"),
            by_worker("run.first_token", worker=2, run_id="r_xyz", tier="free"),
        )
        assert list(fleet.workers["vm-1"].runs) == ["r_abc"]
        assert not fleet.workers["vm-2"].runs

    def test_a_worker_that_has_left_holds_nothing(self) -> None:
        fleet = fleet_of(claimed("r_abc"), by_worker("worker.gone"))
        assert fleet.running(Tier.FREE) == 0

    def test_a_function_that_speaks_of_a_worker_is_none(self) -> None:
        fleet = fleet_of(by_function("worker.told", worker_id="vm-1", state="drains"))
        assert not fleet.workers

    def test_the_heard_worker_says_its_slots_even_where_its_beginning_was_not_read(self) -> None:
        fleet = fleet_of(by_worker("worker.slots", slots=4, ready=1, offers=2, viewers=3))
        worker = fleet.workers["vm-1"]
        assert (worker.slots, worker.offers, worker.viewers) == (4, 2, 3)


class TestStanding:
    def test_follows_what_the_worker_says(self) -> None:
        fleet = fleet_of(by_worker("worker.ready", slots=8))
        worker = fleet.workers["vm-1"]
        assert worker.standing(NOW_MS) is Standing.READY
        fleet.take(by_worker("engine.away"))
        assert worker.standing(NOW_MS) is Standing.ENGINE_AWAY
        fleet.take(by_worker("engine.ready"))
        assert worker.standing(NOW_MS) is Standing.READY
        fleet.take(by_worker("worker.slots", slots=8, ready=0))
        assert worker.standing(NOW_MS) is Standing.ENGINE_AWAY
        fleet.take(by_worker("worker.slots", slots=8, ready=1))
        assert worker.standing(NOW_MS) is Standing.READY
        fleet.take(by_worker("worker.draining", answers=2))
        # While it drains it takes no work, for whatever reason.
        fleet.take(by_worker("worker.slots", slots=8, ready=0))
        assert worker.standing(NOW_MS) is Standing.DRAINING
        fleet.take(by_worker("worker.gone"))
        assert worker.standing(NOW_MS) is Standing.GONE

    def test_a_silent_worker_is_lost_said_once_and_forgotten_later(self) -> None:
        fleet = fleet_of(by_worker("worker.ready", slots=8), claimed("r_abc"))
        fleet.look(NOW_MS + SILENT_MS)
        assert len(words(fleet)) == 1
        fleet.look(NOW_MS + SILENT_MS + 1)
        fleet.look(NOW_MS + SILENT_MS + 500)
        assert words(fleet)[0] == "worker-1 is lost: nothing heard for 12 s"
        assert len(words(fleet)) == 2
        assert fleet.workers["vm-1"].standing(NOW_MS + SILENT_MS + 1) is Standing.LOST
        fleet.look(NOW_MS + FORGOTTEN_MS + 1)
        assert not fleet.workers

    def test_one_that_is_heard_again_was_not_lost_and_may_be_lost_again(self) -> None:
        fleet = fleet_of(by_worker("worker.ready", slots=8))
        fleet.look(NOW_MS + SILENT_MS + 1)
        again_ms = NOW_MS + SILENT_MS + 2
        fleet.take(by_worker("worker.slots", again_ms, slots=8, ready=1))
        assert fleet.workers["vm-1"].standing(again_ms) is Standing.READY
        fleet.look(again_ms + SILENT_MS + 1)
        assert len([said for said in words(fleet) if "is lost" in said]) == 2

    def test_a_line_that_comes_late_makes_nobody_silent(self) -> None:
        fleet = fleet_of(
            by_worker("worker.ready", slots=8), by_worker("worker.slots", NOW_MS - 9_000, ready=1)
        )
        assert fleet.workers["vm-1"].standing(NOW_MS + SILENT_MS) is Standing.READY

    def test_a_log_that_was_over_long_ago_is_no_news(self) -> None:
        fleet = fleet_of(by_worker("worker.slots", slots=8, ready=1))
        fleet.look(NOW_MS + FORGOTTEN_MS + 1)
        assert not fleet.workers
        assert words(fleet) == []

    def test_one_that_left_in_good_order_is_not_lost(self) -> None:
        fleet = fleet_of(by_worker("worker.ready", slots=8), by_worker("worker.gone"))
        fleet.look(NOW_MS + SILENT_MS + 1)
        assert not any("is lost" in said for said in words(fleet))


class TestFigures:
    def test_times_go_to_the_tier_of_their_run(self) -> None:
        fleet = fleet_of(
            claimed("r_1", "plus"),
            ended("r_1", "plus", ttft_ms=300, cancel_ms=31, cancelled=1, completed=0),
            by_worker("run.handed_back", run_id="r_2", tier="plus", ttft_ms=500),
        )
        plus = fleet.tiers[Tier.PLUS]
        assert plus.ttft_ms.values(NOW_MS) == [300, 500]
        assert plus.queue_ms.values(NOW_MS) == [40]
        assert plus.itl_ms.values(NOW_MS) == [20.4]
        assert plus.cancel_ms.values(NOW_MS) == [31]
        assert (plus.cancelled.total(NOW_MS), plus.completed.total(NOW_MS)) == (1, 0)
        assert fleet.tiers[Tier.FREE].ttft_ms.values(NOW_MS) == []

    def test_what_went_wrong_is_counted_by_its_kind(self) -> None:
        fleet = fleet_of(
            ended("r_1", completed=0, failed=1, rewinds=2, preemptions=3),
            by_function("request.refused", tier="free", code="busy", busy=1),
        )
        free = fleet.tiers[Tier.FREE]
        of_ends = (free.completed, free.failed, free.rewinds, free.preemptions)
        assert [each.total(NOW_MS) for each in of_ends] == [0, 1, 2, 3]
        assert (free.busy.total(NOW_MS), free.refused.total(NOW_MS)) == (1, 0)

    def test_service_is_counted_as_it_is_charged(self) -> None:
        fleet = fleet_of(ended("r_1", input_tokens=100, cached_tokens=60, output_tokens=30))
        assert fleet.tiers[Tier.FREE].served.total(NOW_MS) == 40 + 2 * 30

    def test_the_backlog_is_the_last_that_was_told(self) -> None:
        told = [
            by_worker(
                "tier.backlog", tier="free", waiting=n, backlog_slot_s=n / 2, starts_per_s=0.4
            )
            for n in (9, 5)
        ]
        fleet = fleet_of(*told)
        free = fleet.tiers[Tier.FREE]
        assert (free.waiting, free.backlog_slot_s, free.starts_per_s) == (5, 2.5, 0.4)

    def test_sends_and_refusals_come_from_the_functions(self) -> None:
        fleet = fleet_of(
            by_function("run.submitted", tier="free", run_id="r_1", sends=1),
            by_function("action.refused", tier="free", code="too_many_active_runs", refused=1),
            by_function(
                "action.refused",
                tier="free",
                code="budget_exhausted",
                refused=1,
                budget_rejections=1,
            ),
            by_function("request.refused", tier="none", code="internal_error", faults=1),
        )
        free = fleet.tiers[Tier.FREE]
        told = [each.total(NOW_MS) for each in (free.sends, free.refused, free.budget_rejections)]
        assert told == [1, 2, 1]
        assert fleet.nobody.faults.total(NOW_MS) == 1


class TestAffinity:
    def test_hits_are_of_the_answers_that_had_a_worker_to_hope_for(self) -> None:
        fleet = fleet_of(
            ended("r_1", prefix_tokens=0, cached_share=0.0, at_favourite=True),
            ended("r_2", prefix_tokens=80, cached_share=0.9, at_favourite=True),
            ended("r_3", prefix_tokens=80, cached_share=0.1, at_favourite=False),
        )
        worker = fleet.workers["vm-1"]
        assert (worker.hits, worker.hoped) == (1, 2)
        assert [answer.cached_share for answer in worker.answers] == [0.0, 0.9, 0.1]

    def test_an_answer_that_never_reached_an_engine_says_nothing_of_its_cache(self) -> None:
        fleet = fleet_of(ended("r_1", input_tokens=0, cached_tokens=0, prefix_tokens=80))
        assert not fleet.workers["vm-1"].answers
        assert fleet.workers["vm-1"].hoped == 0

    def test_work_in_the_background_is_nobodys_answer(self) -> None:
        fleet = fleet_of(ended("r_1", "background", kind="title", prefix_tokens=80))
        assert not fleet.workers["vm-1"].answers


class TestEvents:
    def test_a_preempted_run_says_whose_slot_it_was(self) -> None:
        # The line is written by whoever needs the slot, so it does not hold the run's tier.
        preempted = by_worker("run.preempted", run_id="r_abc", for_tier="pro")
        back = by_worker("run.handed_back", run_id="r_abc", tier="free", why="preempt", offset=9)
        fleet = fleet_of(claimed("r_abc"), preempted, back)
        assert words(fleet) == ["free run abc leaves its slot at worker-1 to a pro run"]

    def test_the_like_of_what_was_just_said_is_counted(self) -> None:
        refusal = {"tier": "free", "code": "too_many_active_runs", "refused": 1}
        fleet = fleet_of(
            *(by_function("action.refused", NOW_MS + n * 1_000, **refusal) for n in range(4)),
            by_function("action.refused", NOW_MS + 4_000, tier="free", code="tier_paused"),
        )
        told = [(event.words, event.times) for event in fleet.events]
        assert told == [
            ("a free user is refused: tier_paused", 1),
            ("a free user is refused: too_many_active_runs", 4),
        ]

    def test_the_like_of_what_was_said_a_while_ago_is_said_again(self) -> None:
        refusals = (
            by_function("action.refused", NOW_MS + n * 5_000, tier="free", code="busy")
            for n in range(2)
        )
        assert len(words(fleet_of(*refusals))) == 2

    def test_warnings_that_have_no_sentence_are_told_by_their_name(self) -> None:
        fleet = fleet_of(by_worker("lease.trouble", level="WARNING", reason="SQS: Timeout"))
        assert words(fleet) == ["worker-1: lease.trouble: SQS: Timeout"]

    def test_what_is_normal_is_not_told(self) -> None:
        fleet = fleet_of(claimed("r_1"), ended("r_1"), by_worker("job.over", tier="free"))
        assert words(fleet) == []

    def test_a_tier_that_is_paused_and_goes_on_is_told(self) -> None:
        fleet = Fleet()
        paused = {**DEFAULTS, Tier.FREE: replace(DEFAULTS[Tier.FREE], paused=True)}
        for limits in (DEFAULTS, paused, paused, DEFAULTS, DEFAULTS):
            fleet.adopt(limits, NOW_MS)
        assert sorted(words(fleet)) == [
            "The tier free goes on",
            "The tier free is paused: its backlog waits",
        ]

    def test_a_pause_that_stood_before_is_no_event(self) -> None:
        fleet = Fleet()
        fleet.adopt({**DEFAULTS, Tier.FREE: replace(DEFAULTS[Tier.FREE], paused=True)}, NOW_MS)
        assert words(fleet) == []
