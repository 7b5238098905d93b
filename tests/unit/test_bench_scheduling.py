"""The scheduling simulator: its engine, its scorer, and each policy's order."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.scheduling import requests
from bench.scheduling.engine import PREFILL_S, PREFILL_TOKEN_S, Engine, peak_tokens, serve
from bench.scheduling.ours import CalendarLanes, Shared, workers
from bench.scheduling.policies import (
    Drr,
    Fcfs,
    Policy,
    SqsFairQueue,
    StrictPriority,
    Vtc,
    Wrr,
)
from bench.scheduling.requests import Request, jittered
from bench.scheduling.score import difference, mean_of, rates, score
from bench.scheduling.tiers import Router, Worker
from bench.trace import Missing
from chatcore.adapters.memory.queues import MemoryLanes

ALL = (Fcfs, Vtc, Drr, SqsFairQueue, StrictPriority, Wrr, CalendarLanes)


def asked(client: str, arrival_s: float = 0.0, tokens: tuple[int, int] = (10, 5)) -> Request:
    return Request(arrival_s, client, *tokens)


def order(policy: Policy, count: int) -> list[str]:
    """Who is taken, where each answer is made before the next is taken."""
    clients = []
    for _ in range(count):
        request = policy.take(lambda _: True)
        assert request is not None
        clients.append(request.client)
        for _ in range(request.output_tokens):
            request.made += 1
            policy.made_token(request)
        policy.end(request)
    return clients


def arrived(policy: Policy, *arrivals: Request) -> Policy:
    for request in arrivals:
        policy.arrive(request)
    return policy


def served(policy: Policy, sequences: int, trace: Sequence[Request]) -> float:
    return serve([Engine(policy, sequences)], trace, policy.arrive)


class TestEngine:
    def test_one_request_takes_its_prefill_and_its_steps(self) -> None:
        request = asked("a", arrival_s=3.0, tokens=(100, 3))
        ended_s = served(Fcfs(), 200, [request])
        assert request.first_s == pytest.approx(3.0 + PREFILL_S + 100 * PREFILL_TOKEN_S)
        steps_s = (0.0274 + 6e-7 * 101) + (0.0274 + 6e-7 * 102)
        assert ended_s == request.end_s == pytest.approx(request.first_s + steps_s)

    def test_no_more_run_than_there_are_sequences(self) -> None:
        first, second = asked("a", tokens=(10, 50)), asked("b", tokens=(10, 5))
        served(Fcfs(), 1, [first, second])
        assert second.first_s > first.end_s

    def test_who_comes_later_joins_those_who_run(self) -> None:
        first, second = asked("a", tokens=(10, 500)), asked("b", arrival_s=1.0)
        served(Fcfs(), 2, [first, second])
        assert second.end_s < first.end_s

    def test_two_engines_share_the_work(self) -> None:
        line = Fcfs()
        trace = [asked("a", n * 0.01, (10, 100)) for n in range(40)]
        alone_s = served(Fcfs(), 4, [asked("a", r.arrival_s, (10, 100)) for r in trace])
        both_s = serve([Engine(line, 4), Engine(line, 4)], trace, line.arrive)
        assert both_s == pytest.approx(alone_s / 2, rel=0.15)
        assert all(r.arrival_s < r.first_s < r.end_s for r in trace)

    def test_parts_of_an_engine_do_together_what_the_whole_does(self) -> None:
        def trace() -> list[Request]:
            return [asked("a", tokens=(20 + n % 40, 100 + n % 30)) for n in range(64)]

        whole, split, line = trace(), trace(), Fcfs()
        whole_s = served(Fcfs(), 8, whole)
        parts = [Engine(line, 1, parts=8) for _ in range(8)]
        assert serve(parts, split, line.arrive) == pytest.approx(whole_s, rel=0.1)
        # An answer takes about as long, though a part has one sequence only.
        assert split[0].end_s - split[0].first_s == pytest.approx(
            whole[0].end_s - whole[0].first_s, rel=0.15
        )

    def test_a_full_engine_takes_nothing_into_its_hand(self) -> None:
        shared = Shared()
        lanes = CalendarLanes(shared)
        trace = [asked("a", tokens=(10, 50)), asked("b", tokens=(10, 50))]
        for request in trace:
            lanes.arrive(request)
        engine = Engine(lanes, 1)
        for _ in range(30):
            engine.advance()
        assert trace[0].made > 0
        assert shared.has_work()
        assert not lanes.hand

    def test_an_idle_engine_waits_for_the_next_arrival(self) -> None:
        line = Fcfs()
        trace = [asked("a", 0.0), asked("b", 100.0), asked("c", 100.5)]
        serve([Engine(line, 1), Engine(line, 1)], trace, line.arrive)
        assert [request.first_s for request in trace[1:]] == pytest.approx(
            [100.0 + PREFILL_S + 10 * PREFILL_TOKEN_S, 100.5 + PREFILL_S + 10 * PREFILL_TOKEN_S]
        )

    def test_memory_is_counted_at_its_peak(self) -> None:
        # When the short one ends, the long one has made as much as that had left.
        long, short = asked("a", tokens=(100, 50)), asked("b", tokens=(10, 20))
        assert peak_tokens([long]) == 150
        assert peak_tokens([long, short]) == 100 + 20 + 10 + 20

    @pytest.mark.parametrize("policy", ALL)
    def test_every_request_is_served_once(self, policy: type[Policy]) -> None:
        trace = [asked(f"c{n % 7}", n * 0.05, (50 + n % 40, 1 + n % 60)) for n in range(300)]
        served(policy(), 16, trace)
        assert all(0 < r.first_s < r.end_s and r.made == r.output_tokens for r in trace)


class TestPolicies:
    def test_fcfs_knows_no_clients(self) -> None:
        policy = arrived(Fcfs(), asked("a"), asked("a"), asked("b"))
        assert order(policy, 3) == ["a", "a", "b"]

    @pytest.mark.parametrize("policy", [Vtc, Drr, Wrr, CalendarLanes])
    def test_a_flood_does_not_hold_up_the_others(self, policy: type[Policy]) -> None:
        flood = [asked("heavy", tokens=(100, 200)) for _ in range(20)]
        line = arrived(policy(), *flood, *(asked("light", tokens=(100, 200)) for _ in range(5)))
        assert order(line, 10).count("light") == 5

    def test_strict_priority_passes_over_lower_ranks(self) -> None:
        policy = StrictPriority(ranks={"paying": 0, "free": 1})
        arrived(policy, *(asked("free", n) for n in range(3)))
        arrived(policy, asked("paying", 9.0), asked("paying", 8.0))
        assert order(policy, 5) == ["paying", "paying", "free", "free", "free"]

    def test_weighted_round_robin_counts_requests_and_not_what_they_cost(self) -> None:
        policy = Wrr(weights={"a": 2})
        arrived(policy, *(asked("a", tokens=(10, 500)) for _ in range(5)))
        arrived(policy, *(asked("b", tokens=(10, 1)) for _ in range(3)))
        assert order(policy, 8) == ["a", "a", "b", "a", "a", "b", "a", "b"]

    def test_a_turn_that_ends_early_takes_nothing_from_the_next(self) -> None:
        policy = Wrr(weights={"a": 2, "b": 2})
        arrived(policy, asked("a"), asked("b"), asked("b"), asked("c"))
        assert order(policy, 4) == ["a", "b", "b", "c"]

    def test_vtc_lifts_who_was_away(self) -> None:
        policy = Vtc()
        arrived(policy, *(asked("a") for _ in range(9)))
        order(policy, 6)
        arrived(policy, *(asked("b") for _ in range(4)))
        # From now on half of the turns, not all of them.
        assert order(policy, 6).count("b") == 3

    def test_vtc_that_knows_charges_ahead(self) -> None:
        policy = Vtc(knows=True)
        arrived(policy, asked("a", tokens=(1, 100)), asked("a"), asked("b", tokens=(1, 1)))
        arrived(policy, asked("b", tokens=(1, 1)))
        taken = [policy.take(lambda _: True) for _ in range(4)]
        assert [request and request.client for request in taken] == ["a", "b", "b", "a"]

    def test_a_fair_queue_sees_only_a_great_flood(self) -> None:
        policy = SqsFairQueue()
        arrived(policy, *(asked("heavy", 0.0) for _ in range(40)), asked("light", 1.0))
        taken = [policy.take(lambda _: True) for _ in range(31)]
        assert [request and request.client for request in taken] == ["heavy"] * 30 + ["light"]

    @pytest.mark.parametrize("policy", ALL)
    def test_a_head_that_does_not_fit_waits(self, policy: type[Policy]) -> None:
        line = arrived(policy(), asked("a"))
        assert line.take(lambda _: False) is None
        assert line.waiting()
        assert line.take(lambda _: True) is not None
        assert line.take(lambda _: True) is None


class TestOurs:
    def test_only_the_first_run_of_a_user_has_a_job_in_the_lanes(self) -> None:
        shared = Shared()
        arrived(CalendarLanes(shared), *(asked("a") for _ in range(5)), asked("b"))
        assert shared.sends == 2

    def test_workers_share_their_lanes_and_accounts(self) -> None:
        first, second = workers(2)
        flood = [asked("heavy", tokens=(100, 200)) for _ in range(10)]
        arrived(first, *flood)
        order(first, 5)
        arrived(first, *(asked("light", tokens=(100, 200)) for _ in range(3)))
        # What the first worker served counts with the second.
        assert order(second, 6).count("light") == 3

    def test_a_job_whose_user_was_served_meanwhile_is_put_into_a_later_lane(self) -> None:
        shared = Shared()
        lanes = CalendarLanes(shared)
        arrived(lanes, *(asked("a", tokens=(100, 400)) for _ in range(2)))
        taken = lanes.take(lambda _: True)
        assert taken is not None
        # The second one's lane was chosen by a guess; the first turned out to cost more.
        taken.made = 400
        lanes.end(taken)
        arrived(lanes, asked("b"), asked("b"))
        assert order(lanes, 3) == ["b", "b", "a"]
        assert shared.moves >= 1


class TestTwoTiers:
    def test_a_router_serves_what_it_has_heard_of(self) -> None:
        router = arrived(Router(), *(asked("free") for _ in range(5)))
        assert order(router, 5) == ["free"] * 5

    def test_workers_on_shared_lanes_see_what_others_have_heard_of(self) -> None:
        lanes, by_id = MemoryLanes(lambda: 0), dict[str, Request]()
        first, second = Worker(lanes, by_id), Worker(lanes, by_id)
        long = [asked(tier, tokens=(100, 2_000)) for tier in ("free", "plus") for _ in range(200)]
        arrived(first, *long)
        # The higher tier may first get ahead; from then on it is by the weights.
        taken = order(second, 150)[-50:]
        assert second.waiting()
        assert taken.count("plus") == pytest.approx(40, abs=1)

    def test_a_job_that_does_not_fit_stays_in_the_hand(self) -> None:
        worker = Worker(MemoryLanes(lambda: 0), {})
        arrived(worker, asked("plus"))
        assert worker.take(lambda _: False) is None
        assert worker.waiting()
        assert worker.take(lambda _: True) is not None
        assert not worker.waiting()


def done(client: str, arrival_s: float, first_s: float, end_s: float, output: int) -> Request:
    return Request(arrival_s, client, 0, output, output, first_s, end_s)


class TestScore:
    def test_equal_service_withholds_nothing(self) -> None:
        both = [done("a", 0, 0, 60, 300), done("b", 0, 0, 60, 300)]
        assert difference(both, 0, 60) == 0

    def test_who_wanted_and_got_less_is_counted_by_the_lesser_of_both(self) -> None:
        served = done("a", 0, 0, 60, 600)
        # Ten a second less than the other had; but only four a second were asked for and not given.
        poor = [done("b", 0, 0, 60, 300), done("b", 0, 60, 120, 120)]
        assert difference([served, *poor], 0, 60) == pytest.approx(4.0)

    def test_service_counts_where_it_happens(self) -> None:
        served = done("a", 0, 0, 60, 300)
        # It has half of its service within the window, and asked for all of it there.
        late = done("b", 0, 30, 90, 300)
        assert difference([served, late], 0, 60) == pytest.approx(5.0)

    def test_rates_are_of_a_window_around_each_moment(self) -> None:
        served = done("a", 0, 0, 60, 300)
        found = rates([served, done("b", 0, 0, 60, 1)], ["a"], [0.0, 30.0, 60.0, 120.0])
        assert found == {"a": pytest.approx([5.0, 10.0, 5.0, 0.0])}

    def test_means_are_of_copies(self) -> None:
        trace = [asked(f"c{n % 3}", n * 0.5, (20, 30)) for n in range(60)]
        scores = []
        for seed in range(2):
            copy = jittered(trace, seed)
            scores.append(score(copy, served(Fcfs(), 4, copy)))
        assert mean_of(scores).mean == pytest.approx((scores[0].mean + scores[1].mean) / 2)
        assert scores[0] != scores[1]


class TestTrace:
    def test_a_copy_is_another_one_each_time_and_the_same_for_a_seed(self) -> None:
        trace = [asked("a", n) for n in range(20)]

        def moments(copy: Sequence[Request]) -> list[float]:
            return [request.arrival_s for request in copy]

        assert moments(jittered(trace, 1)) == moments(jittered(trace, 1))
        assert moments(jittered(trace, 1)) != moments(jittered(trace, 2))
        assert all(earlier >= 0 for earlier in moments(jittered(trace, 1)))

    def test_it_is_read_in_order(self, tmp_path: Path) -> None:
        file = tmp_path / "trace.csv"
        file.write_text("t,client_id,input_tokens,output_tokens\n2.0,7,10,20\n1.0,8,30,40\n")
        first, second = requests.read(file)
        assert (first.client, first.service, second.arrival_s) == ("8", 110, 2.0)

    @pytest.mark.parametrize("content", [None, "a,b\n1,2\n"])
    def test_a_file_that_is_not_there_or_another_one_is_explained(
        self, tmp_path: Path, content: str | None
    ) -> None:
        file = tmp_path / "trace.csv"
        if content is not None:
            file.write_text(content)
        with pytest.raises(Missing, match="VTC-artifact"):
            requests.read(file)
