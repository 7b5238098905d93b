"""The suites of the scheduling simulator: what each plays and judges, and how they are chosen."""

import json
from concurrent.futures import Executor
from pathlib import Path

import pytest

from bench.scheduling import __main__ as driver
from bench.scheduling import fairness, requests, tiers, workers
from bench.scheduling.requests import Request
from bench.scheduling.score import Score


def small() -> list[Request]:
    """One client who asks for much, and three for a little."""
    heavy = [Request(n * 0.2, "heavy", 50, 100) for n in range(200)]
    light = [Request(n * 5.0, f"light{n % 3}", 50, 100) for n in range(12)]
    return sorted([*heavy, *light], key=lambda request: request.arrival_s)


def score(mean: float, tokens_per_s: float = 100.0) -> Score:
    return Score(2 * mean, mean, tokens_per_s, 1.0, 2.0)


def copies(*means: float, tokens_per_s: float = 100.0, moves: float = 0.0) -> list[fairness.Played]:
    return [fairness.Played(score(mean, tokens_per_s), moves) for mean in means]


def fair(ours: list[fairness.Played], vtc: list[fairness.Played]) -> fairness.Found:
    played = {
        key: copies(500, 500) for key in ((p, s) for p in fairness.POLICIES for s in (200, 16))
    }
    both = {
        (policy, sequences): found
        for policy, found in ((fairness.OURS, ours), (fairness.VTC, vtc))
        for sequences in fairness.SEQUENCES
    }
    return fairness.Found([], played | both)


class TestFairness:
    def test_copies_are_compared_one_by_one(self) -> None:
        found = fair(copies(90, 190), copies(100, 200))
        # Far apart from copy to copy, and always ten less.
        ratio, error = found.ratio(fairness.OURS, 16)
        assert (round(ratio, 6), error) == (round(140 / 150, 6), 0.0)

    @pytest.mark.parametrize(
        ("ours", "unmet"),
        [
            (copies(90, 90), set()),
            (copies(101, 101), {"score_for_vtcs_16", "score_for_vtcs_200"}),
            (
                copies(90, 90, tokens_per_s=98),
                {"throughput_for_fcfs_16", "throughput_for_fcfs_200"},
            ),
            (copies(90, 90, moves=2.1), {"moves_a_run_16", "moves_a_run_200"}),
        ],
    )
    def test_goals(self, ours: list[fairness.Played], unmet: set[str]) -> None:
        goals = fairness.goals(fair(ours, copies(100, 100)))
        missed = {name for name, goal in goals.items() if not goal.met}
        assert {name for name in missed if not name.startswith("reference")} == unmet

    def test_ours_is_fairer_than_a_line(self) -> None:
        trace = small()
        fcfs, ours = (fairness.one(trace, name, 4, seed=0) for name in ("FCFS", "ours"))
        assert ours.score.mean < fcfs.score.mean / 2
        assert ours.moves <= 2
        assert fcfs.moves == 0

    def test_the_pictured_clients_are_the_heaviest_and_some_of_the_middle(self) -> None:
        trace = [Request(0, f"c{n}", 10 * n, 1) for n in range(10)]
        assert fairness.few(trace) == (["c9", "c8"], ["c4", "c3"])


class TestWorkers:
    def test_growth_and_throughput_are_against_one_worker(self) -> None:
        scores = {
            (case, parts): score(100 + parts, 100 - parts / 8)
            for case in workers.CASES
            for parts in workers.PARTS
        }
        found = workers.Found(scores, 8)
        assert found.growth(workers.OURS) == pytest.approx(132 / 101 - 1)
        goals = workers.goals(found)
        assert not goals["workers_score_growth"].met
        assert not goals["workers_throughput_off_by"].met

    def test_routers_let_some_workers_idle_while_others_have_a_line(self) -> None:
        trace = small()
        together, apart, ours = (
            workers.one(trace, case, 32, seed=0)
            for case in (workers.TOGETHER, workers.APART, workers.OURS)
        )
        assert apart.ttft_p50_s > 2 * together.ttft_p50_s
        assert ours.ttft_p50_s == pytest.approx(together.ttft_p50_s, rel=0.2)
        assert apart.mean > ours.mean


class TestTiers:
    def test_goals_are_of_the_mean_share(self) -> None:
        shares = dict.fromkeys(tiers.CASES, (0.2, 0.2)) | {tiers.ROUTERS: (0.5, 0.5)}
        goals = tiers.goals(tiers.Found(shares))
        assert goals["tiers_by_routers"].value == 1.0
        assert goals["tiers_by_shared_lanes_off_by"].met
        assert not tiers.goals(tiers.Found({**shares, tiers.WORKERS: (0.21, 0.21)}))[
            "tiers_by_shared_lanes_off_by"
        ].met


class TestDriver:
    def test_a_missing_trace_is_named_before_anything_is_played(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert driver.main(["--data", str(tmp_path)]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert requests.FILE in said.err
        assert "VTC-artifact" in said.err

    def test_only_what_is_named_is_played_and_all_its_goals_are_told(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        played: list[tuple[str, bool]] = []

        def suite(name: str) -> driver.Suite[str, str]:
            def play(trace: str, full: bool, pool: Executor) -> str:
                played.append((trace, full))
                return name

            return driver.Suite(
                *(f"{name}.txt", Path.read_text, play),
                *(lambda console, found: None, lambda found: {}, lambda found: {found: 1}),
                {f"{name}.png": lambda path, found: path.write_text(found)},  # type: ignore[dict-item]
            )

        monkeypatch.setattr(driver, "SUITES", {name: suite(name) for name in ("a", "b", "c")})
        for name in "abc":
            (tmp_path / f"{name}.txt").write_text(f"trace {name}")
        plots = tmp_path / "plots"
        given = ["--data", str(tmp_path), "--suite", "c", "--suite", "a", "--plots", str(plots)]
        assert driver.main(given) == 0
        assert played == [("trace a", False), ("trace c", False)]
        last = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert last["figures"] == {"a": 1, "c": 1}
        assert sorted(path.name for path in plots.iterdir()) == ["a.png", "c.png"]


class TestPictures:
    def test_the_same_figures_give_the_same_bytes(self, tmp_path: Path) -> None:
        scores = {(case, parts): score(100) for case in workers.CASES for parts in workers.PARTS}
        drawn = []
        for name in ("first", "second"):
            service, growth = tmp_path / f"{name}-service.png", tmp_path / f"{name}-workers.png"
            fairness.draw(service, fairness.Found(small(), {}))
            workers.draw(growth, workers.Found(scores, 8))
            drawn.append((service.read_bytes(), growth.read_bytes()))
        assert drawn[0] == drawn[1]
        assert all(1_000 < len(picture) < 120_000 for picture in drawn[0])
