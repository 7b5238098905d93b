"""The fleet of the load suite: its engines, its slots and refusals, and what is made of them."""

import math
from collections import Counter
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.scheduling import azure, load
from bench.scheduling.azure import Row, Send, sends
from bench.scheduling.day import Scaler, day, share_at, waves
from bench.scheduling.engine import PREFILL_S, PREFILL_TOKEN_S, STEP_HELD_TOKEN_S, Engine, serve
from bench.scheduling.fleet import HANDOVER_S, Fleet
from bench.scheduling.load_cases import Flood, Outcome, Waits, capacity, flooded, loaded, mean_of
from bench.scheduling.policies import Fcfs
from bench.scheduling.requests import Request
from bench.trace import Missing
from chatcore.domain.preemption import MAX_PREEMPTIONS
from chatcore.domain.scaling import Goals, Scale
from chatcore.domain.tiers import DEFAULTS, Tier

FREE, PLUS, PRO = Tier.FREE, Tier.PLUS, Tier.PRO


def asked(
    tier: Tier = FREE, at_s: float = 0.0, tokens: tuple[int, int] = (100, 50), user: str = ""
) -> Send:
    return Send(at_s, user or f"{tier}-{at_s}", *tokens, tier=tier)


def served(slots: int, *arriving: Send, workers: int = 1, max_wait_s: float = math.inf) -> Fleet:
    fleet = Fleet(slots, max_wait_s=max_wait_s)
    fleet.add_workers(workers)
    fleet.serve(arriving)
    return fleet


class TestMachine:
    def test_one_request_takes_as_long_as_in_the_engine_that_steps(self) -> None:
        known = Request(0.0, "a", 100, 50)
        line = Fcfs()
        serve([Engine(line, 4)], [known], line.arrive)
        here = asked()
        served(4, here)
        assert here.first_s == pytest.approx(known.first_s + HANDOVER_S)
        # It goes on to hold what it was given: a token more or less for each step.
        assert here.end_s - here.first_s == pytest.approx(
            known.end_s - known.first_s, abs=50 * STEP_HELD_TOKEN_S
        )

    def test_who_comes_waits_for_the_step_that_is_under_way(self) -> None:
        running, coming = asked(tokens=(100, 500)), asked(at_s=5.0)
        served(4, running, coming)
        reading_s = PREFILL_S + PREFILL_TOKEN_S * 100
        step_s = coming.first_s - 5.0 - HANDOVER_S - reading_s
        assert 0.0 <= step_s <= 0.03

    def test_no_more_run_than_there_are_slots(self) -> None:
        first, second = asked(), asked(user="b")
        served(1, first, second)
        assert second.first_s > first.end_s

    def test_every_run_makes_all_of_its_answer_once(self) -> None:
        many = [
            asked(tier, n * 0.3, (50 + n, 20 + n % 90), f"u{n % 17}")
            for n, tier in enumerate([FREE, FREE, FREE, PLUS, FREE, PRO] * 30)
        ]
        fleet = served(2, *many, workers=2)
        assert fleet.admitted == many
        assert all(each.made == each.output_tokens for each in many)
        assert all(each.arrival_s < each.first_s <= each.end_s for each in many)
        assert not fleet.is_busy()
        assert not any(any(machine.slots.reading.values()) for machine in fleet.machines)
        assert [machine.slots.free for machine in fleet.machines] == [2, 2]


class TestTiers:
    def test_who_pays_finds_room_in_a_full_worker(self) -> None:
        frees = [asked(tokens=(100, 900), user=f"f{n}") for n in range(4)]
        paying = asked(PRO, at_s=5.0)
        served(2, *frees, paying)
        assert paying.ttft_s < 0.2

    def test_one_of_the_lower_tier_leaves_and_goes_on_first(self) -> None:
        long, short = (asked(tokens=(n, 900), user=f"f{n}") for n in (1000, 100))
        waiting = asked(at_s=1.0, tokens=(100, 900))
        served(2, long, short, waiting, asked(PLUS, at_s=5.0, tokens=(100, 400)))
        assert short.preemptions == 1
        assert long.preemptions == 0
        assert len(short.pauses_s) == 1
        assert short.made == 900
        assert waiting.first_s > 5.0 + short.pauses_s[0]

    def test_nobody_leaves_again_and_again(self) -> None:
        free = asked(tokens=(100, 1000))
        payings = [asked(PLUS, at_s=2.0 + 12 * n, tokens=(100, 200)) for n in range(6)]
        served(1, free, *payings)
        assert free.preemptions == MAX_PREEMPTIONS

    def test_a_queue_that_is_too_old_refuses(self) -> None:
        flood = [asked(at_s=n * 1.0, tokens=(500, 300), user=f"u{n}") for n in range(300)]
        fleet = served(4, *flood, max_wait_s=20.0)
        assert {each.refused for each in fleet.refused} == {"queue_too_old"}
        assert max(each.ttft_s for each in fleet.admitted) < 2 * 20.0

    def test_a_user_has_no_more_runs_than_his_tier_allows(self) -> None:
        fleet = served(4, *(asked(user="one", at_s=n / 100) for n in range(5)), max_wait_s=120.0)
        assert [each.refused for each in fleet.refused] == ["too_many_active_runs"] * 3

    def test_slots_are_busy_while_work_waits(self) -> None:
        fleet = served(2, *(asked(user=f"u{n}", tokens=(100, 900)) for n in range(20)))
        assert 0.99 < fleet.use.busy_waited_s / fleet.use.waited_s < 1.0

    def test_who_has_had_much_is_not_passed_by_all_who_come_new(self) -> None:
        """New users who take all there is, for as long as they come, do not keep him out."""
        again = asked(user="heavy", at_s=60.0, tokens=(100, 50))
        arriving = [
            *(asked(user="heavy", at_s=n / 10, tokens=(3000, 1000)) for n in range(2)),
            *(asked(user=f"u{n}", at_s=40.0 + n, tokens=(500, 100)) for n in range(900)),
            again,
        ]
        served(2, *sorted(arriving, key=lambda each: each.arrival_s), max_wait_s=120.0)
        assert not again.refused
        assert 10.0 < again.ttft_s < 240.0


ROWS = [Row(n * 0.2, 300 + n % 700, 50 + n % 200) for n in range(300)]


class TestTrace:
    def test_it_is_read_with_its_times_from_the_begin(self, tmp_path: Path) -> None:
        file = tmp_path / "trace.csv"
        file.write_text(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n"
            "2023-11-16 18:15:48.6805900,30,40\n2023-11-16 18:15:46.6805900,374,44\n"
        )
        assert azure.read(file) == [Row(0.0, 374, 44), Row(2.0, 30, 40)]

    @pytest.mark.parametrize("content", [None, "a,b\n1,2\n"])
    def test_a_file_that_is_not_there_or_another_one_is_explained(
        self, tmp_path: Path, content: str | None
    ) -> None:
        file = tmp_path / "trace.csv"
        if content is not None:
            file.write_text(content)
        with pytest.raises(Missing, match="AzurePublicDataset"):
            azure.read(file)

    def test_tiers_have_their_shares_and_users_are_unlike(self) -> None:
        many = sends([Row(n, 10, 10) for n in range(20_000)], 1.0, 0)
        tiers = Counter(each.tier for each in many)
        assert {tier: round(count / 20_000, 2) for tier, count in tiers.items()} == azure.SHARES
        counts = sorted(Counter(each.client for each in many if each.tier is FREE).values())
        assert counts[-1] > 50 * counts[len(counts) // 2]

    def test_a_copy_is_another_one_each_time_and_the_same_for_a_seed(self) -> None:
        def told(seed: int) -> list[tuple[float, str]]:
            return [(each.arrival_s, each.client) for each in sends(ROWS, 1.0, seed)]

        assert told(1) == told(1) != told(2)

    def test_who_pays_is_the_same_with_and_without_the_others(self) -> None:
        slow, fast = sends(ROWS, 1.0, 3), sends(ROWS, 2.0, 3)
        assert Counter(each.client for each in slow) == Counter(each.client for each in fast)

    def test_prompts_are_cut_to_what_the_tier_may_have(self) -> None:
        [free] = sends([Row(0, 14_000, 5_000)], 1.0, 0)
        assert free.input_tokens + free.output_tokens == DEFAULTS[free.tier].context_tokens


class TestCases:
    def test_a_saturated_fleet_has_a_capacity(self) -> None:
        assert 4.0 < capacity(ROWS, 0) < 25.0

    def test_without_the_free_tier_nobody_of_it_is_there(self) -> None:
        whole, without = (loaded(ROWS, 5.0, free, 0) for free in (True, False))
        assert whole.waits[FREE].p99_s > 0
        assert without.waits[FREE] == Waits()
        assert without.waits[PLUS].p99_s > 0

    def test_a_flood_has_always_as_many_runs_as_it_may(self) -> None:
        fleet = Fleet(8)
        fleet.add_workers(1)
        flood = Flood(fleet, PLUS, ROWS, 0, until_s=60.0)
        seen: list[int] = []

        def tick() -> None:
            flood.refill()
            seen.append(flood.runs)

        fleet.on_end, fleet.on_tick = flood.ended, tick
        fleet.serve([asked(at_s=60.0)])
        assert set(seen[:12]) == {DEFAULTS[PLUS].max_active_runs}
        assert flood.runs == 0

    def test_the_flood_itself_is_not_counted(self) -> None:
        alone, beside = (flooded(ROWS, 4.0, by, 0) for by in (None, PRO))
        assert beside.busy > alone.busy
        assert beside.waits[PRO] != alone.waits[PRO]

    def test_means_are_of_copies_and_the_longest_of_all(self) -> None:
        one, two = (
            replace(OUTCOME, waits=dict.fromkeys(Tier, Waits(n, n, n)), busy=n) for n in (1.0, 3.0)
        )
        mean = mean_of([one, two])
        assert mean.waits[FREE] == Waits(2.0, 2.0, 3.0)
        assert mean.busy == 2.0


class TestDay:
    def test_its_load_rises_and_falls_around_its_mean(self) -> None:
        arriving = waves(ROWS, 5.0, 1000.0, 0)
        thirds = Counter(int(each.arrival_s // 334) for each in arriving)
        assert len(arriving) == pytest.approx(5000, rel=0.1)
        assert thirds[1] > 2 * thirds[0]
        assert share_at(0.5) == pytest.approx(1.8)

    def test_a_fleet_follows_it(self) -> None:
        grown = day(ROWS, 1.2, 1500.0, 1, 6, 0)
        assert grown.peak_workers > grown.moments[0].workers == 1
        assert grown.moments[-1].workers < grown.peak_workers
        fixed = day(ROWS, 1.2, 1500.0, grown.peak_workers, grown.peak_workers, 0)
        assert fixed.mean_workers == grown.peak_workers
        assert fixed.worker_hours > grown.worker_hours
        assert fixed.idle > grown.idle

    def test_a_worker_that_leaves_ends_what_it_has(self) -> None:
        fleet = Fleet(4)
        fleet.add_workers(2)
        runs = [asked(user=f"u{n}", tokens=(100, 400)) for n in range(4)]
        fleet.on_tick = lambda: fleet.drain_workers(1 if fleet.now_s == 5.0 else 0)
        fleet.serve(runs, until_s=60.0)
        assert len(fleet.machines) == 1
        assert all(each.made == 400 and not each.preemptions for each in runs)

    def test_workers_that_start_count_and_are_given_up_first(self) -> None:
        fleet = Fleet(4)
        fleet.add_workers(1)
        scaler = Scaler(fleet, Goals(4, 1, 5), Scale(1))
        scaler.go_to(4)
        scaler.go_to(4)
        assert (len(fleet.machines), scaler.starting) == (1, 3)
        scaler.go_to(1)
        assert (len(fleet.machines), scaler.starting) == (1, 0)


WAITS = Waits(0.5, 1.0, 2.0)
OUTCOME = Outcome(
    waits=dict.fromkeys(Tier, WAITS),
    paying=WAITS,
    all=WAITS,
    busy=0.8,
    busy_while_waiting=0.995,
    refused=dict.fromkeys(Tier, 0.0),
    too_old=dict.fromkeys(Tier, 0.0),
    preempted=0.0,
    moved=0.0,
    pause_p99_s=0.0,
    longest_pause_s=0.0,
)
GOOD = load.Figures(
    requests=1,
    copies=8,
    capacity_per_s=8.0,
    loads=dict.fromkeys(load.LOADS, (OUTCOME, OUTCOME)),
    floods=dict.fromkeys((None, *Tier), OUTCOME),
    days={"scaled": day(ROWS, 1.0, 120.0, 1, 2, 0), "peak": day(ROWS, 1.0, 120.0, 2, 2, 0)},
)


class Inline(Executor):
    """A pool without processes."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class TestGoals:
    def test_good_figures_meet_all(self) -> None:
        assert all(goal.met for goal in load.goals(GOOD).values())

    @pytest.mark.parametrize(
        ("worse", "missed"),
        [
            ({"waits": dict.fromkeys(Tier, Waits(0.5, 1.21, 2.0))}, ("plus", "pro")),
            ({"waits": {**OUTCOME.waits, FREE: Waits(1, 1, 240.1)}}, ("free",)),
            ({"busy_while_waiting": 0.989}, ("busy",)),
        ],
    )
    def test_a_load_that_is_not_met_is_named(
        self, worse: dict[str, Any], missed: tuple[str, ...]
    ) -> None:
        loads = {**GOOD.loads, 1.5: (replace(OUTCOME, **worse), OUTCOME)}
        goals = load.goals(replace(GOOD, loads=loads))
        found = [name for name, goal in goals.items() if not goal.met]
        assert [name.split("_")[2] for name in found] == list(missed)
        assert all(name.startswith("load_1.5_") for name in found)

    def test_a_flood_that_slows_the_others_is_named(self) -> None:
        slowed = replace(OUTCOME, all=Waits(0.5, 1.11, 2.0))
        goals = load.goals(replace(GOOD, floods={**GOOD.floods, PRO: slowed}))
        assert [name for name, goal in goals.items() if not goal.met] == [
            "flood_by_pro_ttft_p99_of_that_without"
        ]

    def test_all_of_it_is_played_and_told(self, tmp_path: Path) -> None:
        file = tmp_path / "trace.csv"
        lines = [f"2023-11-16 18:{15 + n // 60}:{n % 60:02d}.0000000,200,20" for n in range(120)]
        file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(lines))
        size = load.Size(copies=2, begin_s=0.0, end_s=120.0, flood_end_s=60.0, day_s=120.0)
        found = load.measure(azure.read(file), size, Inline())
        console = Console(record=True, width=200)
        load.show(console, found)
        assert "queue too old" in console.export_text()
        assert set(load.goals(found)) == {*load.goals(GOOD)}
        told: Any = load.figures_of(found)
        assert told["loads"]["1.5"]["without"]["waits"]["free"]["p99_s"] == 0.0
        assert told["days"]["scaled"]["worker_hours"] > 0
