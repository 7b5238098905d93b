"""What is counted, in dollars: the table of prices, an answer's parts by hand, GPU seconds, lengths, and a
month without anybody."""

import dataclasses
from collections.abc import Mapping
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import answer_cost, cost_priced, gpu_cost
from bench.answer_cost import (
    Counts,
    Line,
    Stack,
    Use,
    answer_lines,
    counts_of,
    frame_a_token,
    provisioned,
    share_lines,
    total_usd,
)
from bench.bill import POST, Bill
from bench.gpu_cost import GPUS, gpu_seconds, gpu_usd, token_seconds
from bench.idle_cost import FREE, PRICED, Unpriced, idle_month
from bench.lengths import MEAN, MEDIAN, lengths
from bench.prices import UNITS, BadPrice, Price, prices
from bench.trace import Missing
from chatcore.domain.tiers import Tier
from deploy.template import RESOURCES

STACK = Stack(sender_mb=1024, http_mb=1024, authorizer_mb=512)
COUNTS = Counts(
    output_tokens=100,
    messages=16,
    bytes_out=5_000,
    write_units=30,
    read_units=12,
    sqs_requests=8,
    grouped_sends=1,
    lambda_cpu_ms=20,
    waiting_ms=50,
    log_bytes=2_000,
    log_lines=5,
)


@pytest.fixture(scope="module")
def table() -> Mapping[str, Price]:
    return prices()


def usd(lines: list[Line]) -> dict[str, float]:
    return {line.part: line.usd for line in lines}


class TestPrices:
    def test_every_one_has_unit_date_and_source(self, table: Mapping[str, Price]) -> None:
        assert len(table) > 20
        for price in table.values():
            assert price.unit in UNITS
            assert date(2025, 1, 1) <= price.seen <= date(2026, 11, 28)
            assert ": " in price.source or " " in price.source
            assert price.url.startswith("https://")

    def test_a_price_is_that_of_one(self, table: Mapping[str, Price]) -> None:
        assert table["dynamodb_write"].usd_each == pytest.approx(0.625e-6)
        assert table["step_transition"].usd_each == pytest.approx(25e-6)
        assert table["kms_request"].usd_each == pytest.approx(3e-6)

    def test_each_of_them_is_used_or_told(self, table: Mapping[str, Price]) -> None:
        code = "".join(path.read_text() for path in Path(cost_priced.__file__).parent.glob("*.py"))
        told = {"kms_request", "lambda_arm_gb_s", "lambda_x86_gb_s"}
        assert {name for name in table if f'"{name}"' not in code} <= told

    @pytest.mark.parametrize(
        ("spoilt", "why"),
        [
            ('unit = "request"', 'unit = "bucket"'),
            ('dated = "page"', 'dated = "guessed"'),
            ('source = "A page"', 'source = " "'),
            ('url = "https://example.com"', 'url = "ftp://example.com"'),
            ("usd = 0.4", "usd = -0.4"),
            ("per = 10", "per = 0"),
            ("seen = 2026-01-01", 'seen = "lately"'),
            ("usd = 0.4", 'usd = 0.4\nregion = "moon"'),
            ("usd = 0.4\n", ""),
        ],
    )
    def test_a_price_that_lacks_something_prices_nothing(
        self, tmp_path: Path, spoilt: str, why: str
    ) -> None:
        good = (
            '[x]\nusd = 0.4\nper = 10\nunit = "request"\nseen = 2026-01-01\ndated = "page"\n'
            'source = "A page"\nurl = "https://example.com"\n'
        )
        file = tmp_path / "prices.toml"
        file.write_text(good)
        assert prices(file)["x"].usd_each == pytest.approx(0.04)
        file.write_text(good.replace(spoilt, why))
        with pytest.raises(BadPrice, match=r"^x "):
            prices(file)


class TestAnAnswer:
    def test_its_parts_are_quantities_times_prices(self, table: Mapping[str, Price]) -> None:
        parts = usd(answer_lines(COUNTS, STACK, table))
        assert parts["WebSocket messages"] == pytest.approx(16e-6)
        assert parts["DynamoDB writes"] == pytest.approx(30 * 0.625e-6)
        assert parts["DynamoDB reads"] == pytest.approx(12 * 0.125e-6)
        assert parts["SQS requests"] == pytest.approx(8 * 0.4e-6)
        # 20 ms of a whole vCPU, of which 1,024 MB have less, and 50 ms of waiting.
        assert parts["Lambda time"] == pytest.approx((20 * 1769 / 1024 + 50) / 1000 * 16.6667e-6)
        logged = 2_000 + answer_cost.PLATFORM_LOG_BYTES
        logged += (5 + answer_cost.PLATFORM_LOG_LINES) * answer_cost.LINE_BYTES
        assert parts["log"] == pytest.approx(logged * 0.5e-9)
        assert parts["bytes to the client"] == pytest.approx(5_000 * 0.09e-9)

    def test_its_shares_are_those_of_its_visit_chat_and_worker(
        self, table: Mapping[str, Price]
    ) -> None:
        use = Use(answers=2, minutes=8, pings=1, http_requests=4, request_ms=0, slots=10, load=0.5)
        parts = usd(share_lines(use, STACK, table, 100, worker_hour_usd=0.01, title_usd=4e-6))
        assert parts["connection"] == pytest.approx(4 * 0.25e-6)
        assert parts["pings"] == pytest.approx(1e-6)
        assert parts["page's requests"] == pytest.approx(2e-6)
        assert parts["their Lambda requests"] == pytest.approx((4 + 2) / 2 * 0.2e-6)
        assert parts["a ticket"] == pytest.approx(0.625e-6)
        assert parts["chat's title"] == pytest.approx(2e-6)
        # 5 answers at once of 100 tokens at 30 a second: 5,400 an hour.
        assert parts["worker's own"] == pytest.approx(0.01 / 5_400)

    def test_counts_are_those_of_the_bill(self) -> None:
        bill = Bill()
        bill.calls.update(
            {
                ("submit", "DynamoDB.TransactGetItems"): 1,
                ("submit", "SQS.SendMessage returns"): 1,
                ("submit", "SQS.SendMessage inbox"): 1,
                ("submit", POST): 1,
                ("stream", POST): 10,
                ("settle", "SQS.DeleteMessage lane"): 1,
            }
        )
        bill.frame_types.update({"run.queued": 1, "run.delta": 10})
        bill.frame_bytes = 900
        bill.write_units.update({"submit": 12, "settle": 14})
        bill.read_units["submit"] = 8.5
        bill.handler_cpu_s = 0.02
        bill.log_bytes.update({"function": 300, "worker": 900})
        bill.log_lines.update({"function": 1, "worker": 3})
        assert counts_of(129, bill) == Counts(
            output_tokens=129,
            messages=12,
            bytes_out=900 + 11 * answer_cost.FRAME_OVERHEAD_BYTES,
            write_units=26,
            read_units=8.5,
            sqs_requests=3,
            grouped_sends=1,
            lambda_cpu_ms=20,
            waiting_ms=8 + 8 + 8 + 15,
            log_bytes=1_200,
            log_lines=4,
        )

    def test_a_frame_for_each_token_is_a_message_for_each(self) -> None:
        single = frame_a_token(COUNTS, 100)
        assert single.messages == 4 + 100
        more = 104 - 16
        assert single.bytes_out == 5_000 + more * (100 + answer_cost.FRAME_OVERHEAD_BYTES)
        assert dataclasses.replace(
            single, messages=COUNTS.messages, bytes_out=COUNTS.bytes_out
        ) == (COUNTS)

    def test_provisioned_tables_are_paid_by_the_hour(self, table: Mapping[str, Price]) -> None:
        lines = answer_lines(COUNTS, STACK, table)
        parts = usd(provisioned(lines, table, 0.5))
        assert parts["DynamoDB writes"] == pytest.approx(30 / 1_800 * 0.00065)
        assert parts["DynamoDB reads"] == pytest.approx(12 / 1_800 * 0.00013)
        others = {line.part: line.usd for line in lines if "DynamoDB" not in line.part}
        assert others == {part: cost for part, cost in parts.items() if "DynamoDB" not in part}

    def test_the_whole_is_the_sum(self, table: Mapping[str, Price]) -> None:
        lines = answer_lines(COUNTS, STACK, table)
        assert total_usd(lines) == pytest.approx(sum(usd(lines).values()))


class TestGpuSeconds:
    def test_the_model_explains_the_published_runs(self) -> None:
        for run in (gpu_cost.SHARE_GPT, gpu_cost.RANDOM_2K):
            seconds = run.input_tokens * gpu_cost.INPUT_S + run.output_tokens * gpu_cost.OUTPUT_S
            assert seconds == pytest.approx(run.seconds)
        assert 0 < gpu_cost.INPUT_S < gpu_cost.OUTPUT_S

    def test_two_runs_are_solved(self) -> None:
        first, second = gpu_cost.Published(10, 0, 1.0), gpu_cost.Published(0, 10, 5.0)
        assert token_seconds(first, second) == pytest.approx((0.1, 0.5))

    def test_an_hour_of_it_is_an_instance_hour(self, table: Mapping[str, Price]) -> None:
        on_demand = GPUS[0]
        tokens = 3600 / gpu_seconds(on_demand, 0, 1)
        assert gpu_usd(on_demand, 0, tokens, table) == pytest.approx(6.88)

    def test_a_weaker_gpu_takes_longer(self) -> None:
        assert gpu_seconds(GPUS[2], 1_000, 100) > 2 * gpu_seconds(GPUS[0], 1_000, 100)


class TestLengths:
    def test_without_the_trace_its_known_ones_are_taken(self) -> None:
        known = lengths(None)
        assert (known.median, known.mean, known.from_trace) == (MEDIAN, MEAN, False)
        assert known.of_tier[Tier.PRO] == MEAN

    @pytest.mark.parametrize("as_folder", [True, False])
    def test_the_trace_is_cut_to_a_tiers_limits(self, tmp_path: Path, as_folder: bool) -> None:
        file = tmp_path / "azure_conv.csv"
        rows = [(100, 10), (200, 20), (6_000, 2_000)]
        file.write_text(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n"
            + "".join(f"2023-11-16 18:15:4{i}.1,{a},{b}\n" for i, (a, b) in enumerate(rows))
        )
        found = lengths(tmp_path if as_folder else file)
        assert (found.median.input_tokens, found.median.output_tokens) == (200, 20)
        assert found.mean.input_tokens == pytest.approx(2_100)
        free, pro = found.of_tier[Tier.FREE], found.of_tier[Tier.PRO]
        assert free.input_tokens == pytest.approx((100 + 200 + 3_072) / 3)
        assert free.output_tokens == pytest.approx((10 + 20 + 1_024) / 3)
        assert pro == found.mean
        assert found.from_trace

    def test_a_trace_that_is_not_there_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(Missing, match=r"azure_conv\.csv is missing"):
            lengths(tmp_path)


class TestAMonthWithoutAnybody:
    def test_it_is_counts_times_prices(self, table: Mapping[str, Price]) -> None:
        rules = [{"Name": "a"}, {"Name": "b"}]
        resources: dict[str, dict[str, Any]] = {
            "Key": {"Type": "AWS::KMS::Key"},
            "OtherKey": {"Type": "AWS::KMS::Key"},
            "Acl": {"Type": "AWS::WAFv2::WebACL", "Properties": {"Rules": rules}},
            "Queue": {"Type": "AWS::SQS::Queue"},
        }
        found = {each.part: (each.count, each.usd) for each in idle_month(resources, table)}
        assert found == {
            "AWS::WAFv2::WebACL": (1, 5.0),
            "AWS::KMS::Key": (2, 2.0),
            "rules of web ACLs": (2, 2.0),
            "all others, by use alone": (1, 0.0),
        }

    def test_what_nobody_has_priced_is_not_taken_for_free(self, table: Mapping[str, Price]) -> None:
        with pytest.raises(Unpriced, match="AWS::RDS::DBInstance"):
            idle_month({"Database": {"Type": "AWS::RDS::DBInstance"}}, table)

    def test_all_of_the_template_is_priced(self, table: Mapping[str, Price]) -> None:
        resources = cost_priced.without_gpus()
        assert sum(each.count for each in idle_month(resources, table)) >= len(RESOURCES)
        # The console's own, not the GPU fleet's.
        kinds = {str(resource["Type"]) for resource in resources.values()}
        assert "AWS::CloudWatch::Dashboard" in kinds
        assert "AWS::ECS::Cluster" not in kinds
        assert not FREE & PRICED.keys()


def test_the_report_holds_the_goal_against_the_sum_of_its_parts() -> None:
    def bill(frames: int) -> Bill:
        made = Bill()
        made.calls["stream", POST] = frames
        made.frame_types["run.delta"] = frames
        made.write_units["settle"] = 20
        return made

    counted = cost_priced.Counted({129: bill(12), 211: bill(18)}, 0.01, 1e6, 8, 4e-6)
    shown = StringIO()
    console = Console(file=shown, width=160)
    figures, goals = cost_priced.report(console, counted, lengths(None))
    median: Any = figures["median"]
    total = sum(median["usd_per_1000"].values())
    goal = goals["plumbing_usd_per_1000_at_median"]
    assert goal.value == pytest.approx(total, abs=0.0005)
    assert goal.met is (total <= 0.03)
    assert goals["frame_a_token_usd_per_1000_at_median"].value > 3 * goal.value
    # 8 metrics at $0.30, 730 MB of log at $0.50 a GB, 730 hours at a cent.
    assert goals["idle_worker_usd_per_month"].value == pytest.approx(2.4 + 0.365 + 7.3)
    assert goals["with_gpu_usd_per_1000_median_length"].value > goal.value
    assert "usd = Σ quantity × price = messages × $1/M" in shown.getvalue()
    for part in median["usd_per_1000"]:
        assert part in shown.getvalue()
