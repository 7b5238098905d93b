"""`make bench-cost`: what a run and an idle worker cost in AWS calls, and what that is in dollars.

The real handler of ws_message and the real worker run in this process, against the emulator's tables and
queues (bench.cost_stage); botocore's event hooks see every call they make (bench.meter). Counted are an
idle worker's calls, a prompt's whole bill for answers of several lengths, and runs' under load
(bench.cost_load). These are counts: the emulator is slow, and its times say nothing of AWS. Their prices
are bench.cost_priced's. Owns the order of it and the report.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from bench import cloud, cost_load, cost_priced, trace
from bench.bill import Bill
from bench.cost_priced import MEAN_TOKENS, MEDIAN_TOKENS, Counted
from bench.cost_stage import SLOTS, TOKENS_PER_S, Chat, Stage, serving, set_environment
from bench.lengths import Lengths, lengths
from bench.meter import RUN_STEPS, STANDING_STEPS, Meter
from bench.report import Figure, Goal, finish, reported
from chatcore.domain.tiers import Tier
from local import worker as local_worker
from local.ministack import session
from local.stack import ROOT

SETTLE_S = 3.0
TWIN_PATIENCE_S = 40
"""A twin that finds its run held looks again when the lease would be over."""


@dataclass(frozen=True)
class Size:
    tokens: tuple[int, ...]
    idle_s: float
    load: cost_load.Size


QUICK = Size(
    (MEDIAN_TOKENS, MEAN_TOKENS, 500),
    40.0,
    cost_load.Size(one_by_one=8, load_s=11.0, crowds={0.8: 20, 1.5: 48}),
)
FULL = Size(
    (MEDIAN_TOKENS, MEAN_TOKENS, 500, 1000, 2000),
    120.0,
    cost_load.Size(one_by_one=20, load_s=30.0, crowds={0.8: 20, 1.5: 100}),
)


@dataclass(frozen=True)
class Found:
    """idle: scaled to an hour; bills: by the answer's length; standing: of the worker meanwhile; title: of a
    chat; metrics: how many series the worker publishes."""

    idle: Mapping[str, float]
    bills: Mapping[int, Bill]
    standing: Mapping[int, Bill]
    runs_per_s: float
    phases: list[cost_load.Phase]
    title: Mapping[str, float]
    metrics: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    parser.add_argument("--full", action="store_true", help="longer answers, and longer")
    parser.add_argument("--data", type=Path, help="the Azure trace, or its folder")
    given = parser.parse_args()
    try:
        usual = lengths(given.data)
    except trace.Missing as missing:
        print(f"chatcore: {missing}", file=sys.stderr)
        return 1
    return cloud.main(lambda: bench(FULL if given.full else QUICK, usual))


def bench(size: Size, usual: Lengths) -> None:
    # Wide tables: a file has no width, and the default would break every cell.
    console = Console(width=None if sys.stdout.isatty() else 140)
    with cloud.running_cloud(console, workers=0, slots=1) as running:
        settings = local_worker.environment(ROOT, cloud.PORTS, running.stack.outputs)
        set_environment(settings)
        meter = Meter(session().client("dynamodb", endpoint_url=cloud.PORTS.aws_endpoint_url))
        meter.attach()
        found = asyncio.run(_measure(settings, meter, size, console))
    _report(console, found, usual)


async def _measure(
    settings: Mapping[str, str], meter: Meter, size: Size, console: Console
) -> Found:
    async with serving(settings, meter) as stage:
        _say(console, f"an idle worker: {size.idle_s:.0f} s")
        idle = await _idle(meter, size.idle_s)
        _say(console, f"runs under load, on {SLOTS} slots")
        runs_per_s, phases = await cost_load.load(stage, size.load)
        bills: dict[int, Bill] = {}
        standing: dict[int, Bill] = {}
        for tokens in size.tokens:
            _say(console, f"an answer of {tokens} tokens: {tokens / TOKENS_PER_S:.0f} s")
            bills[tokens], standing[tokens] = await _prompt(stage, tokens)
        await _until_twins_are_gone([*bills.values(), *(phase.own for phase in phases)])
    title = _per_title(meter.background)
    return Found(idle, bills, standing, runs_per_s, phases, title, len(meter.metrics))


def _per_title(bill: Bill) -> dict[str, float]:
    """What the title of a chat takes, which its first answer asks for."""
    titles = max(1, bill.of_call("SQS.DeleteMessage background"))
    totals: dict[str, float] = {
        "aws_calls": bill.in_all(),
        "dynamodb_read_units": sum(bill.read_units.values()),
        "dynamodb_write_units": sum(bill.write_units.values()),
        "sqs_requests": bill.of_service("SQS"),
        "usd": bill.usd(),
    }
    return {name: total / titles for name, total in totals.items()}


async def _idle(meter: Meter, idle_s: float) -> dict[str, float]:
    """A worker's calls in an hour, by what they are, and what they come to."""
    await asyncio.sleep(SETTLE_S)
    meter.stand()
    begun_s = time.monotonic()
    await asyncio.sleep(idle_s)
    bill, hours = meter.stand(), (time.monotonic() - begun_s) / 3600
    names = {
        "SQS.ReceiveMessage inbox": "inbox_polls",
        "DynamoDB.PutItem workers": "beats",
        "DynamoDB.GetItem calendars": "calendar_reads",
        "DynamoDB.UpdateItem calendars": "backlog_writes",
        "DynamoDB.Scan workers": "backlog_beat_scans",
        "SQS.GetQueueAttributes lane": "backlog_lane_counts",
        "SSM.GetParameter": "settings_reads",
    }
    counts: dict[str, float] = {name: bill.of_call(call) for call, name in names.items()}
    counts["lane_polls"] = bill.of_call(
        *(f"SQS.ReceiveMessage {queue}" for queue in ("lane", "returns", "background"))
    )
    counts |= {
        "aws_calls": bill.in_all(),
        "sqs_requests": bill.of_service("SQS"),
        "dynamodb_read_units": sum(bill.read_units.values()),
        "dynamodb_write_units": sum(bill.write_units.values()),
        "log_bytes": sum(bill.log_bytes.values()),
        "usd": bill.usd(),
    }
    return {name: count / hours for name, count in counts.items()}


async def _prompt(stage: Stage, tokens: int) -> tuple[Bill, Bill]:
    """Of a message in a chat that exists, from a user who has had an answer of that length before."""
    chat, bill = Chat(f"reader-{tokens}", Tier.PRO), Bill()
    stage.engine.output_tokens = 1
    await stage.ask(Bill(), chat)
    # The worker's next beat has room for him.
    await asyncio.sleep(SETTLE_S)
    stage.engine.output_tokens = tokens
    stage.meter.stand()
    await stage.ask(bill, chat)
    # The job is acknowledged after the last frame.
    await asyncio.sleep(1)
    return bill, stage.meter.stand()


async def _until_twins_are_gone(bills: list[Bill]) -> None:
    """They come back when their runs are long over, and belong to the bill."""

    def left(bill: Bill) -> int:
        sent = bill.of_call("SQS.SendMessage returns")
        return sent - bill.of_call("SQS.DeleteMessage returns")

    for _ in range(TWIN_PATIENCE_S):
        if not any(left(bill) > 0 for bill in bills):
            return
        await asyncio.sleep(1)
    raise RuntimeError("a run's twin was not acknowledged")


def _report(console: Console, found: Found, usual: Lengths) -> None:
    figures: dict[str, Figure] = {"capacity_runs_per_s": round(found.runs_per_s, 2)}
    goals: dict[str, Goal] = {}
    for tokens, bill in found.bills.items():
        beside = found.standing[tokens]
        totals: dict[str, float] = {
            "aws_calls": bill.in_all(),
            "dynamodb_calls": bill.of_service("DynamoDB"),
            "dynamodb_read_units": sum(bill.read_units.values()),
            "dynamodb_write_units": sum(bill.write_units.values()),
            "sqs_requests": bill.of_service("SQS"),
            "frames_posted": sum(bill.frame_types.values()),
            "lambda_invocations": 1,
            "log_bytes": sum(bill.log_bytes.values()),
            "standing_calls_meanwhile": beside.in_all(),
        }
        figures[f"tokens_{tokens}"] = {
            **totals,
            "calls": {step: bill.of_step([step]) for step in RUN_STEPS},
            "read_units": dict(bill.read_units),
            "write_units": dict(bill.write_units),
            "write_units_by_table": dict(bill.table_write_units),
            "frames": dict(bill.frame_types),
            "log_bytes_of": dict(bill.log_bytes),
            "standing": {step: beside.of_step([step]) for step in STANDING_STEPS},
        }
        goals |= {f"{name}_at_{tokens}": reported(total) for name, total in totals.items()}
        console.print(_steps(tokens, bill))
        polls, survey = (sum(beside.of_step([step]).values()) for step in STANDING_STEPS)
        _say(
            console,
            f"Meanwhile the worker's own: {polls} empty polls, {survey} calls of its survey.",
        )
    _say(
        console,
        "A message in a chat that exists, by one viewer; its worker is known, lives and has room. Not in "
        "it: the connection's own ticket (one HTTP request, one Lambda, one write) and authorizer (one "
        "Lambda, one delete), whose share is in the prices. Units are "
        "computed from the items' sizes by DynamoDB's rules (bench/dynamo_units.py).",
    )
    console.print(_loads(found.phases))
    for phase in found.phases:
        per_run = phase.per_run()
        name = phase.name.replace(" ", "_")
        figures[name] = {
            "runs": phase.runs,
            "seconds": round(phase.seconds, 1),
            "per_run": {key: round(value, 3) for key, value in per_run.items()},
            "calls": {step: phase.own.of_step([step]) for step in RUN_STEPS},
            "standing": {step: phase.standing.of_step([step]) for step in STANDING_STEPS},
            "log": dict(phase.said),
        }
        goals |= {f"{key}_per_run_{name}": reported(value) for key, value in per_run.items()}
    _say(
        console,
        f"Free users, answers of {cost_load.ANSWER_TOKENS} tokens, one worker of {SLOTS} slots that ends "
        f"{found.runs_per_s:.1f} runs/s here; the line of the last column is worked off, and counted. "
        "Counts, not times. Standing calls go by the clock: a run's share of them grows with how long "
        "answers are, and with the emulator's pace. micro usd: of queues and tables, in millionths.",
    )
    _say(
        console,
        f"A chat's title, once, by nobody's run: {found.title['aws_calls']:.1f} calls, "
        f"{found.title['dynamodb_read_units']:.1f} read and "
        f"{found.title['dynamodb_write_units']:.1f} write units, "
        f"{found.title['sqs_requests']:.1f} SQS requests.",
    )
    figures["title"] = {name: round(count, 6) for name, count in found.title.items()}
    goals |= {
        f"{name}_per_title": Goal(round(count, 6), "reported", True)
        for name, count in found.title.items()
    }
    console.print(_hour(found.idle))
    figures["idle_per_hour"] = {name: round(count, 6) for name, count in found.idle.items()}
    goals |= {
        f"idle_{name}_per_hour": Goal(round(count, 6), "reported", True)
        for name, count in found.idle.items()
    }
    idle = found.idle
    counted = Counted(
        found.bills, idle["usd"], idle["log_bytes"], found.metrics, found.title["usd"]
    )
    priced, in_usd = cost_priced.report(console, counted, usual)
    figures["priced"] = priced
    goals |= in_usd
    finish(console, "cost", figures, goals)


def _steps(tokens: int, bill: Bill) -> Table:
    table = Table(
        *("call", *RUN_STEPS, "all"),
        title=f"Answer of {tokens} tokens",
        title_justify="left",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )

    def add(name: str, counts: Mapping[str, float]) -> None:
        told = (f"{counts[step]:g}" if counts.get(step) else "" for step in RUN_STEPS)
        table.add_row(name, *told, f"{sum(counts.values()):g}")

    for call in sorted({name for _, name in bill.calls}):
        _, _, short = call.partition(".")
        add(short, {step: bill.calls[step, call] for step in RUN_STEPS})
    table.add_section()
    add("all calls", {step: sum(bill.of_step([step]).values()) for step in RUN_STEPS})
    add("DynamoDB read units", bill.read_units)
    add("DynamoDB write units", bill.write_units)
    return table


def _loads(phases: list[cost_load.Phase]) -> Table:
    table = Table(
        "per run", *(phase.name for phase in phases), title="Under load", title_justify="left"
    )
    table.add_row("runs", *(str(phase.runs) for phase in phases))
    counted = [phase.per_run() for phase in phases]
    for name in counted[0]:
        table.add_row(name.replace("_", " "), *(f"{each[name]:.2f}" for each in counted))
    return table


def _hour(idle: Mapping[str, float]) -> Table:
    table = Table("idle worker", "per hour", title="A worker without work", title_justify="left")
    for name, count in idle.items():
        table.add_row(name.replace("_", " "), f"{count:.4f}" if name == "usd" else f"{count:,.0f}")
    return table


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
