"""What an answer costs in GPU seconds: modelled, from published runs of an engine, since none runs here.

    GPU seconds = (input × a + output × b) ÷ share
    a, b      seconds of a saturated GPU for an input and an output token, from two published runs of
              gpt-oss-20b on vLLM 0.11 with one H100
    share     of that throughput which is left at a pace that people read at, with slots kept free

Owns the model. Prefix caches are left out: every input token is read anew, which is the dearest case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.prices import Price


@dataclass(frozen=True)
class Published:
    """A benchmark of an engine: what it read and wrote, and how long it took."""

    input_tokens: int
    output_tokens: int
    seconds: float


SHARE_GPT = Published(215_312, 193_919, 21.39)
RANDOM_2K = Published(999_120, 47_022, (999_120 + 47_022) / 33_149.54)
"""Both: GPUStack, Optimizing GPT-OSS-20B Throughput on NVIDIA H100 GPUs (`vllm serve openai/gpt-oss-20b
--async-scheduling`). Of the second the page tells tokens a second."""

SHARE = 0.5
"""Saturated, these runs gave a token each 87 to 147 ms; at half the load an answer comes at some 30 a second,
and there is room for who comes next. Assumed."""


@dataclass(frozen=True)
class Gpu:
    """compute, bandwidth: of an H100's, which input and output tokens go by (data sheets of H100 SXM and
    L40S: dense BF16 989 and 362 TFLOPS; 3,352 and 864 GB/s)."""

    name: str
    price: str
    compute: float = 1.0
    bandwidth: float = 1.0


GPUS = (
    Gpu("p5.4xlarge, on demand", "gpu_p5_4xlarge_hour"),
    Gpu("p5.4xlarge, spot", "gpu_p5_4xlarge_spot_hour"),
    Gpu("g6e.xlarge, on demand", "gpu_g6e_xlarge_hour", 362 / 989, 864 / 3352),
)


def token_seconds(first: Published, second: Published) -> tuple[float, float]:
    """Seconds of an input and of an output token that explain both runs."""
    determinant = (
        first.input_tokens * second.output_tokens - second.input_tokens * first.output_tokens
    )
    return (
        (first.seconds * second.output_tokens - second.seconds * first.output_tokens) / determinant,
        (first.input_tokens * second.seconds - second.input_tokens * first.seconds) / determinant,
    )


INPUT_S, OUTPUT_S = token_seconds(SHARE_GPT, RANDOM_2K)


def gpu_seconds(gpu: Gpu, input_tokens: float, output_tokens: float) -> float:
    """Of one answer."""
    busy_s = input_tokens * INPUT_S / gpu.compute + output_tokens * OUTPUT_S / gpu.bandwidth
    return busy_s / SHARE


def gpu_usd(
    gpu: Gpu, input_tokens: float, output_tokens: float, prices: Mapping[str, Price]
) -> float:
    seconds = gpu_seconds(gpu, input_tokens, output_tokens)
    return seconds / 3600 * prices[gpu.price].usd_each
