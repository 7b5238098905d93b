"""The demo engine in the real Triton server, over gRPC as the worker uses it.

Starts servers of its own, on ports 28000-28002, 28010-28012 and 28020-28022. Needs the environment
.local/venvs/triton (requirements/triton.txt).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from mirakuru import HTTPExecutor
from mirakuru.exceptions import ProcessFinishedWithError
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from local import triton

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("starts a Triton of its own"),
]

_ROOT = Path(__file__).parents[2]
_VENV = _ROOT / ".local" / "venvs" / "triton"
_REPOSITORY = _ROOT / "gpu_service" / "triton" / "model_repository"

# The defaults of config.pbtxt that the expectations below rest on.
SLOTS = 8
DECODE_PERIOD_S = 0.020
PREFILL_FIXED_S = 0.030
PREFILL_PER_TOKEN_S = 0.0002


@dataclass(frozen=True)
class Server:
    """A running Triton: its process and the address of its gRPC port."""

    pid: int
    address: str


@contextmanager
def running_triton(work_dir: Path, http_port: int, settings: dict[str, str]) -> Iterator[Server]:
    """Run a server for the length of the block."""
    try:
        arguments, environment = triton.command(
            _VENV, _REPOSITORY, work_dir, http_port, http_port + 1, http_port + 2
        )
    except triton.TritonSetupError as error:
        pytest.fail(
            f"Triton cannot run: {error}\n"
            "  uv venv --python 3.11 .local/venvs/triton\n"
            "  VIRTUAL_ENV=.local/venvs/triton uv pip sync requirements/triton.txt"
        )
    with (
        (work_dir / "output.log").open("w") as output,
        HTTPExecutor(
            arguments,
            url=f"http://127.0.0.1:{http_port}/v2/health/ready",
            method="GET",
            timeout=60,
            envvars={**environment, **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as executor,
    ):
        assert executor.process is not None
        yield Server(executor.process.pid, f"127.0.0.1:{http_port + 1}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_triton(tmp_path_factory.mktemp("triton"), 28000, {}) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(server.address) as connected:
        yield connected


class ResponseStream(Protocol):
    """What `stream_infer` gives; tritonclient has no name for it."""

    def __aiter__(self) -> AsyncIterator[tuple[Any, Any]]: ...

    async def __anext__(self) -> tuple[Any, Any]: ...

    def cancel(self) -> bool: ...


@dataclass
class Answer:
    """What came of one request. Times are seconds since it was sent."""

    texts: list[str] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    finish_reasons: list[str] = field(default_factory=list)
    finals: list[bool] = field(default_factory=list)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def gaps_s(self) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.times_s)]

    @property
    def ttft_s(self) -> float:
        return self.times_s[0]


def prompt(*messages: str, committed: str = "") -> str:
    """A chat of user messages, each but the last answered with a plain note."""
    past = "<|im_start|>assistant\nNoted.<|im_end|>\n".join(
        f"<|im_start|>user\n{message}<|im_end|>\n" for message in messages
    )
    return (
        f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{past}"
        f"<|im_start|>assistant\n{committed}"
    )


def request(text: str, sampling: str, *, stream: bool = True) -> dict[str, Any]:
    values: dict[str, tuple[str, Any]] = {
        "text_input": ("BYTES", text.encode()),
        "stream": ("BOOL", stream),
        "sampling_parameters": ("BYTES", sampling.encode()),
        "exclude_input_in_output": ("BOOL", True),
        "return_finish_reason": ("BOOL", True),
        "return_num_input_tokens": ("BOOL", True),
        "return_num_output_tokens": ("BOOL", True),
    }
    inputs = []
    for name, (datatype, value) in values.items():
        tensor = InferInput(name, [1], datatype)
        kind = np.object_ if datatype == "BYTES" else np.bool_
        tensor.set_data_from_numpy(np.array([value], dtype=kind))
        inputs.append(tensor)
    return {"model_name": "demo", "inputs": inputs, "enable_empty_final_response": True}


def open_stream(
    client: InferenceServerClient, text: str, sampling: str, **more: bool
) -> ResponseStream:
    """The responses to one request, as they come."""

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield request(text, sampling, **more)

    stream: ResponseStream = client.stream_infer(requests())
    return stream


async def ask(
    client: InferenceServerClient, text: str, *, max_tokens: int = 1_000, **more: bool
) -> Answer:
    """Read one answer to its end."""
    answer = Answer()
    sent_s = time.monotonic()
    sampling = json.dumps({"max_tokens": max_tokens})
    async for result, error in open_stream(client, text, sampling, **more):
        if error is not None:
            raise error
        answer.times_s.append(time.monotonic() - sent_s)
        answer.texts.append(result.as_numpy("text_output")[0].decode())
        answer.finish_reasons.append(result.as_numpy("finish_reason")[0].decode())
        answer.input_tokens = result.as_numpy("num_input_tokens").item()
        answer.cached_tokens = result.as_numpy("num_cached_tokens").item()
        answer.output_tokens += result.as_numpy("num_output_tokens").item()
        answer.finals.append(result.get_response().parameters["triton_final_response"].bool_param)
    return answer


async def ask_sampling(client: InferenceServerClient, sampling: str) -> InferenceServerException:
    """The error that a request with these sampling parameters gets."""
    async for _, error in open_stream(client, prompt("Hi"), sampling):
        assert isinstance(error, InferenceServerException)
        return error
    pytest.fail("the stream ended without any response")


async def occupy(client: InferenceServerClient, count: int, label: str) -> list[ResponseStream]:
    """Open endless answers and wait until each holds a slot."""
    streams = [
        open_stream(client, prompt(f"Write 5000 words. {label} {n}"), '{"max_tokens": 9999}')
        for n in range(count)
    ]
    for stream in streams:
        _, error = await anext(stream)
        assert error is None
    return streams


def children(pid: int) -> list[int]:
    """The processes that a process has started, of all its threads."""
    return [
        int(child)
        for listed in Path(f"/proc/{pid}/task").glob("*/children")
        for child in listed.read_text().split()
    ]


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status


def wait_until_gone(pids: list[int], within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline_s, f"some of {pids} are still running"
        time.sleep(0.05)


def remove_shared_memory(grpc_port: int) -> None:
    """Only a killed server leaves any."""
    for left_behind in Path("/dev/shm").glob(f"chatcore-{grpc_port}-*"):
        left_behind.unlink()


async def all_slots_are_free(client: InferenceServerClient, within_s: float) -> None:
    """Fails unless as many requests as there are slots begin within the time."""
    async with asyncio.timeout(within_s):
        for stream in await occupy(client, SLOTS, f"probe {time.monotonic()}"):
            stream.cancel()


async def test_an_answer_streams_token_by_token_at_its_pace(client: InferenceServerClient) -> None:
    answer = await ask(client, prompt("My dog is called Biscuit.", "What is my dog called?"))
    assert "Biscuit" in answer.text
    assert len(answer.texts) > 40
    assert answer.finish_reasons == ["None"] * (len(answer.texts) - 1) + ["stop"]
    assert answer.finals == [False] * (len(answer.texts) - 1) + [True]
    assert answer.texts[-1] == ""
    assert answer.output_tokens == len(answer.texts)
    assert answer.input_tokens > 20
    assert statistics.mean(answer.gaps_s) == pytest.approx(DECODE_PERIOD_S, rel=0.25)


async def test_the_same_prompt_gives_the_same_answer_in_one_piece_too(
    client: InferenceServerClient,
) -> None:
    text = prompt("Ünïcödé 😀 我的狗叫饼干。", "What is 我的狗?")
    streamed = await ask(client, text)
    whole = await ask(client, text, stream=False)
    assert whole.texts == [streamed.text]
    assert whole.output_tokens == streamed.output_tokens
    assert "饼干" in streamed.text


async def test_max_tokens_ends_with_length(client: InferenceServerClient) -> None:
    answer = await ask(client, prompt("Write 500 words."), max_tokens=7)
    assert (answer.output_tokens, answer.finish_reasons[-1]) == (7, "length")


async def test_a_stop_text_ends_the_answer_before_it(client: InferenceServerClient) -> None:
    stream = open_stream(client, prompt("Count to 50."), '{"max_tokens": 999, "stop": [", 4"]}')
    text = ""
    async for result, error in stream:
        assert error is None
        text += result.as_numpy("text_output")[0].decode()
    assert text.endswith("1, 2, 3")


@pytest.mark.parametrize("tokens", [1, 17, 40])
async def test_a_continued_run_says_the_rest_and_only_the_rest(
    client: InferenceServerClient, tokens: int
) -> None:
    messages = ("My dog is called Biscuit.", "What is my dog called?")
    whole = await ask(client, prompt(*messages))
    begun = await ask(client, prompt(*messages), max_tokens=tokens)
    rest = await ask(client, prompt(*messages, committed=begun.text))
    assert begun.text + rest.text == whole.text
    assert begun.output_tokens + rest.output_tokens == whole.output_tokens


async def test_prefill_grows_with_uncached_tokens_and_shrinks_with_the_cache(
    client: InferenceServerClient,
) -> None:
    history = " ".join(f"On day {day} it rained {day * 7 % 13} hours." for day in range(600))
    first = await ask(client, prompt(history, "How long did it rain on day 7?"), max_tokens=1)
    again = await ask(client, prompt(history, "How long did it rain on day 8?"), max_tokens=1)
    other = await ask(client, prompt(f"Ah. {history}", "And on day 9?"), max_tokens=1)
    for answer in (first, again, other):
        uncached_tokens = answer.input_tokens - answer.cached_tokens
        prefill_s = PREFILL_FIXED_S + PREFILL_PER_TOKEN_S * uncached_tokens
        assert prefill_s - 0.002 <= answer.ttft_s <= prefill_s + 0.25
    assert first.input_tokens > 4_000
    assert first.cached_tokens < 50
    assert again.cached_tokens > 0.98 * again.input_tokens
    assert again.ttft_s < 0.3 * first.ttft_s
    assert other.cached_tokens < 50


async def test_no_more_requests_run_than_there_are_slots(client: InferenceServerClient) -> None:
    running = await occupy(client, SLOTS, "limit")
    waiting = asyncio.create_task(ask(client, prompt("Count to 3."), max_tokens=3))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    running.pop().cancel()
    async with asyncio.timeout(1):
        answer = await waiting
    assert answer.output_tokens == 3
    for stream in running:
        stream.cancel()
    await all_slots_are_free(client, within_s=2)


async def test_cancel_frees_the_slot_while_streaming(client: InferenceServerClient) -> None:
    running = await occupy(client, SLOTS, "streaming")
    cancelled_s = time.monotonic()
    for stream in running:
        stream.cancel()
    await ask(client, prompt("Hi"), max_tokens=1)
    assert time.monotonic() - cancelled_s < 0.5
    await all_slots_are_free(client, within_s=2)


async def test_cancel_frees_the_slot_in_prefill(client: InferenceServerClient) -> None:
    long_text = "rain " * 20_000  # four seconds of prefill
    sampling = '{"max_tokens": 5}'
    prefilling = [
        asyncio.ensure_future(anext(open_stream(client, prompt(f"{n} {long_text}"), sampling)))
        for n in range(SLOTS)
    ]
    await asyncio.sleep(1.5)
    waiting = asyncio.create_task(ask(client, prompt("Hi"), max_tokens=1))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    for task in prefilling:
        task.cancel()
    async with asyncio.timeout(1):
        await waiting
    await asyncio.gather(*prefilling, return_exceptions=True)
    await all_slots_are_free(client, within_s=2)


async def test_cancel_leaves_the_line(client: InferenceServerClient) -> None:
    running = await occupy(client, SLOTS, "line")
    gave_up = open_stream(client, prompt("Write 5000 words."), '{"max_tokens": 9999}')
    first = asyncio.ensure_future(anext(gave_up))
    await asyncio.sleep(0.2)
    waiting = asyncio.create_task(ask(client, prompt("Hi"), max_tokens=1))
    await asyncio.sleep(0.2)
    first.cancel()
    await asyncio.sleep(0.2)
    running.pop().cancel()
    async with asyncio.timeout(1):
        await waiting
    for stream in running:
        stream.cancel()
    await all_slots_are_free(client, within_s=2)


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ("not json", "not JSON"),
        ("[]", "JSON object"),
        ('{"max_tokens": -1}', "max_tokens must be between"),
        ('{"max_tokens": "many"}', "max_tokens must be an integer"),
        ('{"temperature": "hot"}', "temperature must be a number"),
        ('{"max_token": 3}', "'max_token' is unknown"),
    ],
)
async def test_bad_sampling_parameters_get_a_clear_error(
    client: InferenceServerClient, sampling: str, message: str
) -> None:
    error = await ask_sampling(client, sampling)
    assert message in error.message()
    assert (await ask(client, prompt("Hi"), max_tokens=1)).output_tokens == 1


async def test_the_first_input_cannot_come_back_in_a_stream(client: InferenceServerClient) -> None:
    wrong = request(prompt("Hi"), "{}")
    exclude_input = next(i for i in wrong["inputs"] if i.name() == "exclude_input_in_output")
    exclude_input.set_data_from_numpy(np.array([False]))

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield wrong

    async for _, error in client.stream_infer(requests()):
        assert "exclude_input_in_output" in error.message()


async def gaps_of(tmp_path: Path, streams: int) -> list[list[float]]:
    """Seconds between the tokens of each of so many streams at once."""
    with running_triton(tmp_path, 28010, {"DEMO_SLOTS": str(streams)}) as server:
        async with InferenceServerClient(server.address) as client:
            answers = await asyncio.gather(
                *(
                    ask(client, prompt(f"Write 500 words. {n}"), max_tokens=150)
                    for n in range(streams)
                )
            )
    return [answer.gaps_s for answer in answers]


async def test_streams_keep_the_engines_period(tmp_path: Path) -> None:
    gaps_s = sorted(gap_s for stream in await gaps_of(tmp_path, 8) for gap_s in stream)
    assert statistics.mean(gaps_s) == pytest.approx(DECODE_PERIOD_S, rel=0.25)
    assert statistics.median(gaps_s) == pytest.approx(DECODE_PERIOD_S, rel=0.25)
    assert gaps_s[int(len(gaps_s) * 0.99)] < 0.1


async def test_64_streams_keep_an_even_pace(tmp_path: Path) -> None:
    """Whatever this machine can read of 3,200 tokens a second: none of them is behind, none halts."""
    streams = await gaps_of(tmp_path, 64)
    gaps_s = sorted(gap_s for stream in streams for gap_s in stream)
    median_s, p99_s = statistics.median(gaps_s), gaps_s[int(len(gaps_s) * 0.99)]
    print(f"median {median_s * 1e3:.1f} ms, p99 {p99_s * 1e3:.1f} ms, longest {gaps_s[-1]:.3f} s")
    assert p99_s < 5 * max(median_s, DECODE_PERIOD_S)
    durations_s = [sum(stream) for stream in streams]
    assert max(durations_s) < 1.25 * min(durations_s)


async def kill_while_streaming(work_dir: Path) -> None:
    with running_triton(work_dir, 28020, {}) as server:
        stubs = children(server.pid)
        assert len(stubs) == 1
        async with InferenceServerClient(server.address) as client:
            await occupy(client, SLOTS, "kill")
            os.kill(server.pid, signal.SIGKILL)
        await asyncio.to_thread(wait_until_gone, stubs, within_s=5)


async def test_a_killed_server_leaves_no_process_behind(tmp_path: Path) -> None:
    with pytest.raises(ProcessFinishedWithError, match=str(-signal.SIGKILL)):
        await kill_while_streaming(tmp_path)
    remove_shared_memory(28021)
