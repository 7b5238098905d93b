"""What `bench.cost` has counted, in dollars: an answer part by part, by tier, with its GPU; against a frame
for each token; by what else would change it; and a month in which nobody comes.

Owns these tables, figures and goals. The sums are `bench.answer_cost`'s, `bench.gpu_cost`'s and
`bench.idle_cost`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.answer_cost import (
    GB,
    NOTICES,
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
from bench.bill import Bill
from bench.gpu_cost import GPUS, INPUT_S, OUTPUT_S, SHARE, gpu_seconds, gpu_usd
from bench.idle_cost import idle_month
from bench.lengths import Lengths
from bench.prices import Price, prices
from bench.report import Figure, Goal, at_most, reported
from chatcore.protocol.websocket import RunDelta, encode
from deploy.template import RESOURCES, read

MEDIAN_TOKENS, MEAN_TOKENS = 129, 211
"""Output lengths that are measured for this: those of the trace."""

GOAL_USD = 0.03
PROVISIONED_BUSY = 0.6
"""Of provisioned capacity, used on the mean of a day: assumed."""
FEWEST_TEXT_FRAMES = 2
MONTH_HOURS = 730
GPU_FLEET = "gpu_service/template.yaml"


@dataclass(frozen=True)
class Counted:
    """bills: by the answer's length; hour_usd: an idle worker's calls, hour_log_bytes: its log; metrics: the
    series that it publishes; title_usd: a chat's title."""

    bills: Mapping[int, Bill]
    hour_usd: float
    hour_log_bytes: float
    metrics: int
    title_usd: float


def report(
    console: Console, counted: Counted, lengths: Lengths
) -> tuple[dict[str, Figure], dict[str, Goal]]:
    table = prices()
    stack = stack_of(RESOURCES)
    figures: dict[str, Figure] = {}
    goals: dict[str, Goal] = {}
    plumbing: dict[str, float] = {}
    for name, tokens in (("median", MEDIAN_TOKENS), ("mean", MEAN_TOKENS)):
        counts = counts_of(tokens, counted.bills[tokens])
        lines = all_lines(counts, counted, stack, table)
        single = all_lines(frame_a_token(counts, delta_bytes()), counted, stack, table)
        plumbing[name] = total_usd(lines)
        console.print(_parts(name, tokens, lines))
        _say(console, formula(table))
        _say(console, _dominant(lines))
        _say(
            console,
            f"A frame for each token: ${total_usd(single) * 1000:.4f} for 1,000 of the same answers, "
            f"{total_usd(single) / plumbing[name]:.1f} times as much.",
        )
        figures[name] = {
            "output_tokens": tokens,
            "counts": {key: round(value, 3) for key, value in vars(counts).items()},
            "usd_per_1000": {line.part: round(line.usd * 1000, 6) for line in lines},
        }
        key = f"frame_a_token_usd_per_1000_at_{name}"
        goals[key] = reported(total_usd(single) * 1000)
        if name == "median":
            goals["plumbing_usd_per_1000_at_median"] = at_most(plumbing[name] * 1000, GOAL_USD)
            options = _options(counts, lines, counted, stack, table)
            console.print(_others(options))
            figures["other_ways_usd_per_1000"] = {
                option: round(usd * 1000, 6) for option, usd in options.items()
            }
        else:
            goals["plumbing_usd_per_1000_at_mean"] = reported(plumbing[name] * 1000)
    figures["with_gpu"], with_gpu = _with_gpu(console, plumbing, lengths, table)
    goals |= with_gpu
    month = idle_month(without_gpus(), table)
    idle = Table("resources", "how many", "$ each", "$ a month", title="A month without anybody")
    for standing in month:
        each = f"{standing.usd_each:.2f}"
        idle.add_row(standing.part, str(standing.count), each, f"{standing.usd:.2f}")
    worker = {
        "its calls": counted.hour_usd * MONTH_HOURS,
        "its log": counted.hour_log_bytes / GB * MONTH_HOURS * table["logs_gb"].usd_each,
        f"its {counted.metrics} metrics": counted.metrics * table["metric_month"].usd_each,
    }
    idle.add_section()
    for part, month_usd in worker.items():
        idle.add_row(f"with a worker that idles: {part}", "", "", f"{month_usd:.2f}")
    console.print(idle)
    figures["idle_month_usd"] = {standing.part: standing.usd for standing in month}
    figures["idle_worker_month_usd"] = {part: round(usd, 4) for part, usd in worker.items()}
    goals["idle_usd_per_month"] = reported(sum(standing.usd for standing in month))
    goals["idle_worker_usd_per_month"] = reported(sum(worker.values()))
    return figures, goals


def all_lines(
    counts: Counts,
    counted: Counted,
    stack: Stack,
    table: Mapping[str, Price],
    architecture: str = "x86",
) -> list[Line]:
    shares = share_lines(
        Use(), stack, table, counts.output_tokens, counted.hour_usd, counted.title_usd
    )
    return [*answer_lines(counts, stack, table, architecture), *shares]


def without_gpus() -> dict[str, Mapping[str, Any]]:
    """The template's resources and its nested stacks', but for the GPU fleet's."""
    found = dict(RESOURCES)
    for name, resource in RESOURCES.items():
        url = resource.get("Properties", {}).get("TemplateURL", GPU_FLEET)
        if resource["Type"] == "AWS::CloudFormation::Stack" and url != GPU_FLEET:
            found |= {f"{name}.{inner}": body for inner, body in read(url)["Resources"].items()}
    return found


def stack_of(resources: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Stack:
    def memory_mb(function: str) -> int:
        return resources[function]["Properties"]["MemorySize"]

    return Stack(
        memory_mb("WsMessageFunction"),
        memory_mb("HttpApiFunction"),
        memory_mb("WsAuthorizerFunction"),
    )


def formula(table: Mapping[str, Price]) -> str:
    def million(name: str) -> str:
        return f"${table[name].usd_each * 1e6:.4g}/M"

    return (
        f"usd = Σ quantity × price = messages × {million('websocket_message')} "
        f"+ write units × {million('dynamodb_write')} + read units × {million('dynamodb_read')} "
        f"+ SQS requests × {million('sqs_request')} "
        f"+ Lambda (GB-s × {million('lambda_x86_gb_s')} + {million('lambda_request')}) "
        f"+ log GB × ${table['logs_gb'].usd_each:g} + the smaller parts above"
    )


def delta_bytes() -> float:
    """Of a frame with one token in it."""
    return len(encode(RunDelta(run_id="r_" + "x" * 32, epoch=1, offset=500, text=" word")))


def _options(
    counts: Counts,
    lines: Sequence[Line],
    counted: Counted,
    stack: Stack,
    table: Mapping[str, Price],
) -> dict[str, float]:
    """What the same answer would come to otherwise."""
    quiet = replace(counts, log_bytes=0, log_lines=0)
    few = all_lines(replace(counts, messages=NOTICES + FEWEST_TEXT_FRAMES), counted, stack, table)
    all_of_it = provisioned(all_lines(quiet, counted, stack, table, "arm"), table, PROVISIONED_BUSY)
    half = replace(stack, sender_mb=stack.sender_mb // 2)
    return {
        "as it is": total_usd(lines),
        f"provisioned tables, {PROVISIONED_BUSY:.0%} used": total_usd(
            provisioned(lines, table, PROVISIONED_BUSY)
        ),
        "functions on arm64": total_usd(all_lines(counts, counted, stack, table, "arm")),
        f"the sender's function with {half.sender_mb} MB": total_usd(
            all_lines(counts, counted, half, table)
        ),
        "no log lines but warnings": total_usd(all_lines(quiet, counted, stack, table)),
        f"{FEWEST_TEXT_FRAMES} frames for the whole text": total_usd(few),
        "provisioned tables, arm64 and warnings only": total_usd(all_of_it),
        f"provisioned tables and {FEWEST_TEXT_FRAMES} frames": total_usd(
            provisioned(few, table, PROVISIONED_BUSY)
        ),
    }


def _with_gpu(
    console: Console,
    plumbing: Mapping[str, float],
    lengths: Lengths,
    table: Mapping[str, Price],
) -> tuple[dict[str, Figure], dict[str, Goal]]:
    rows = [
        ("median length", lengths.median, plumbing["median"]),
        ("mean length", lengths.mean, plumbing["mean"]),
        *((f"{tier}, mean", length, plumbing["mean"]) for tier, length in lengths.of_tier.items()),
    ]
    shown = Table(
        *("of 1,000 answers", "input", "output", "without GPU", "H100 s an answer"),
        *(gpu.name for gpu in GPUS),
        title="With GPU seconds, in $ (modelled)",
        title_justify="left",
    )
    figures: dict[str, Figure] = {}
    goals: dict[str, Goal] = {}
    for name, length, usd in rows:
        given = length.input_tokens, length.output_tokens
        totals = {gpu.name: 1000 * (usd + gpu_usd(gpu, *given, table)) for gpu in GPUS}
        seconds = gpu_seconds(GPUS[0], *given)
        shown.add_row(
            name,
            f"{length.input_tokens:,.0f}",
            f"{length.output_tokens:,.0f}",
            f"{usd * 1000:.4f}",
            f"{seconds:.3f}",
            *(f"{total:.3f}" for total in totals.values()),
        )
        figures[name] = {
            "input_tokens": round(length.input_tokens, 1),
            "output_tokens": round(length.output_tokens, 1),
            "gpu_seconds": round(seconds, 4),
            **{gpu: round(total, 5) for gpu, total in totals.items()},
        }
        key = name.replace(", ", "_").replace(" ", "_")
        goals[f"with_gpu_usd_per_1000_{key}"] = reported(totals[GPUS[0].name])
    console.print(shown)
    _say(
        console,
        f"GPU seconds = (input × {INPUT_S * 1e6:.1f} µs + output × {OUTPUT_S * 1e6:.1f} µs) ÷ {SHARE:g}, of "
        "an H100 (bench/gpu_cost.py). A tier's limits cut prompts; its answers cost the same plumbing. "
        + (
            "Lengths: the trace's, cut to each tier's limits."
            if lengths.from_trace
            else "Lengths: what is known of the trace; with DATA=it the tiers' cuts show."
        ),
    )
    return figures, goals


def _dominant(lines: Sequence[Line]) -> str:
    first, second = sorted(lines, key=lambda line: -line.usd)[:2]
    share = (first.usd + second.usd) / total_usd(lines)
    return f"{first.part} and {second.part} are {share:.0%} of it."


def _parts(name: str, tokens: int, lines: Sequence[Line]) -> Table:
    table = Table(
        *("part", "for one answer", "unit", "$ a unit", "$ for 1,000", ""),
        title=f"An answer of {name} length, {tokens} tokens, without GPU",
        title_justify="left",
        box=box.SIMPLE,
    )
    for line in lines:
        table.add_row(
            line.part,
            f"{line.quantity:.4g}",
            line.unit,
            f"{line.usd_each:.4g}",
            f"{line.usd * 1000:.5f}",
            line.how,
        )
    table.add_section()
    table.add_row("all", "", "", "", f"{total_usd(lines) * 1000:.5f}", "")
    return table


def _others(options: Mapping[str, float]) -> Table:
    table = Table(
        "the same answer", "$ for 1,000", title="What else would change it", title_justify="left"
    )
    for name, usd in options.items():
        table.add_row(name, f"{usd * 1000:.4f}")
    return table


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False)
