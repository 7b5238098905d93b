"""The engine's adapter against a server that speaks Triton's protocol and misbehaves as it is told to.

The server is gRPC's own with the service that tritonclient brings; what it leaves out is everything
that Triton does behind the protocol (`tests/integration` runs the real one).
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from chatcore.adapters import triton
from chatcore.adapters.triton import TritonEngine
from chatcore.domain.errors import EngineFailed, EngineRefused, EngineUnavailable
from chatcore.domain.run import Usage
from chatcore.ports import Generated

pytestmark = pytest.mark.enable_socket

DEADLINE_S = 5.0
EMOJI = "😀".encode()


@dataclass(frozen=True)
class Say:
    """One response. finish: the vLLM backend's finish reason; final: Triton's flag."""

    text: bytes = b""
    finish: str = ""
    final: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Fail:
    """An error inside the stream, which goes on."""

    message: str


@dataclass(frozen=True)
class Abort:
    """The end of the stream with a status of gRPC's."""

    code: grpc.StatusCode


@dataclass(frozen=True)
class Raw:
    """A response that the vLLM backend would not send."""

    response: Any


class Hang:
    """Nothing more, ever."""


Step = Say | Fail | Abort | Raw | Hang


@dataclass
class Script(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """steps: what each request is answered; cancelled: when the client has gone."""

    steps: Sequence[Step] = ()
    ready: bool | None = True
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    requests: int = 0

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's
        if self.ready is None:
            await asyncio.Event().wait()
        return service_pb2.ModelReadyResponse(ready=bool(self.ready))

    async def ModelStreamInfer(  # noqa: N802 - gRPC's
        self, requests: Any, context: Any
    ) -> AsyncIterator[Any]:
        async for _ in requests:
            self.requests += 1
            break
        try:
            for step in self.steps:
                if isinstance(step, Hang):
                    await asyncio.Event().wait()
                elif isinstance(step, Abort):
                    await context.abort(step.code, "as told")
                elif isinstance(step, Fail):
                    yield service_pb2.ModelStreamInferResponse(error_message=step.message)
                elif isinstance(step, Raw):
                    yield service_pb2.ModelStreamInferResponse(infer_response=step.response)
                else:
                    yield service_pb2.ModelStreamInferResponse(infer_response=response(step))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def response(say: Say) -> Any:
    made = service_pb2.ModelInferResponse(model_name="demo")
    _bytes(made, "text_output", say.text)
    if say.finish:
        _bytes(made, "finish_reason", say.finish.encode())
    for name, value in (
        ("num_input_tokens", say.input_tokens),
        ("num_output_tokens", say.output_tokens),
    ):
        if value is not None:
            made.outputs.add(name=name, datatype="INT64", shape=[1])
            made.raw_output_contents.append(struct.pack("<q", value))
    made.parameters["triton_final_response"].bool_param = say.final
    return made


def _bytes(made: Any, name: str, value: bytes) -> None:
    made.outputs.add(name=name, datatype="BYTES", shape=[1])
    made.raw_output_contents.append(struct.pack("<I", len(value)) + value)


@asynccontextmanager
async def served(script: Script) -> AsyncIterator[TritonEngine]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(script, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    engine = TritonEngine(f"127.0.0.1:{port}", "demo")
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield engine
    finally:
        await engine.close()
        await server.stop(None)


async def heard(*steps: Step) -> list[Generated]:
    async with served(Script(steps)) as engine:
        return [piece async for piece in engine.generate("prompt", 10)]


async def test_text_usage_and_the_end_come_as_they_were_said() -> None:
    pieces = await heard(
        Say(b"Hel", input_tokens=7, output_tokens=1),
        Say(EMOJI, output_tokens=1),
        Say(b"", finish="length", final=True, output_tokens=1),
    )
    assert [piece.text for piece in pieces] == ["Hel", "😀", ""]
    assert pieces[-1].usage == Usage(input_tokens=7, output_tokens=3)
    assert [piece.finish_reason for piece in pieces] == [None, None, "length"]


@pytest.mark.parametrize("text", ["\x00", "a\r\n\x1b[0m", "‮", "x" * 1_000_000], ids=repr)
async def test_any_text_is_text(text: str) -> None:
    pieces = await heard(Say(text.encode(), final=True))
    assert "".join(piece.text for piece in pieces) == text


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([Say(b"\xff\xfe")], id="bytes that are no UTF-8"),
        pytest.param([Say(EMOJI[:2]), Say(EMOJI[2:], final=True)], id="half a character"),
        pytest.param([Say(b"\xed\xa0\x80")], id="a lone surrogate"),
        pytest.param([Say(b"Hi")], id="no final response"),
        pytest.param([], id="nothing at all"),
        pytest.param([Fail("CUDA out of memory")], id="an error at first"),
        pytest.param([Say(b"Hi"), Fail("CUDA out of memory")], id="an error on the way"),
        pytest.param([Say(b"Hi"), Abort(grpc.StatusCode.INTERNAL)], id="INTERNAL"),
        pytest.param([Abort(grpc.StatusCode.RESOURCE_EXHAUSTED)], id="RESOURCE_EXHAUSTED"),
        pytest.param([Say(b"Hi"), Abort(grpc.StatusCode.CANCELLED)], id="CANCELLED by the server"),
    ],
)
async def test_what_is_not_an_answer_is_a_failure(steps: Sequence[Step]) -> None:
    with pytest.raises(EngineFailed):
        await heard(*steps)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.NOT_FOUND,
    ],
)
async def test_an_engine_that_is_away_is_unavailable(code: grpc.StatusCode) -> None:
    with pytest.raises(EngineUnavailable):
        await heard(Say(b"Hi"), Abort(code))


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE])
async def test_a_refused_prompt_is_refused(code: grpc.StatusCode) -> None:
    with pytest.raises(EngineRefused):
        await heard(Abort(code))


def _without_text() -> Any:
    return service_pb2.ModelInferResponse(model_name="demo")


def _numbers_as_text() -> Any:
    made = service_pb2.ModelInferResponse(model_name="demo")
    made.outputs.add(name="text_output", datatype="INT64", shape=[1])
    made.raw_output_contents.append(struct.pack("<q", 7))
    return made


def _text_as_numbers() -> Any:
    made = response(Say(b"Hi"))
    _bytes(made, "num_output_tokens", b"many")
    return made


def _wrong_shape() -> Any:
    made = response(Say(b"Hi"))
    made.outputs[0].shape[:] = [3]
    return made


def _no_contents() -> Any:
    made = response(Say(b"Hi"))
    del made.raw_output_contents[:]
    return made


@pytest.mark.parametrize(
    "garbage", [_numbers_as_text, _text_as_numbers, _wrong_shape, _no_contents]
)
async def test_garbage_is_a_failure(garbage: Callable[[], Any]) -> None:
    with pytest.raises(EngineFailed):
        await heard(Raw(garbage()), Say(b"", final=True))


async def test_a_response_without_text_says_nothing() -> None:
    pieces = await heard(Raw(_without_text()), Say(b"Hi", final=True))
    assert [piece.text for piece in pieces] == ["Hi"]


@pytest.mark.parametrize("tokens", [-5, 2**62])
async def test_counts_that_cannot_be_are_a_failure(tokens: int) -> None:
    """They would be charged to somebody."""
    with pytest.raises(EngineFailed):
        await heard(Say(b"Hi", output_tokens=tokens), Say(b"", final=True))
    with pytest.raises(EngineFailed):
        await heard(Say(b"Hi", input_tokens=tokens), Say(b"", final=True))


async def test_leaving_a_stream_tells_the_server_at_once() -> None:
    script = Script([Say(b"Hi"), Hang()])
    async with served(script) as engine:
        stream = engine.generate("prompt", 10)
        assert (await anext(stream)).text == "Hi"
        await stream.aclose()
        await script.cancelled.wait()


async def test_a_hanging_engine_is_left_when_its_reader_is_cancelled() -> None:
    """The worker's deadlines do just this."""
    script = Script([Hang()])
    async with served(script) as engine:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(engine.generate("prompt", 10)), 0.2)
        await script.cancelled.wait()


@pytest.mark.parametrize(("says", "ready"), [(True, True), (False, False)])
async def test_ready_is_what_the_server_says(says: bool, ready: bool) -> None:
    async with served(Script(ready=says)) as engine:
        assert await engine.ready() is ready


async def test_a_server_that_takes_the_question_and_never_answers_is_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triton, "READY_TIMEOUT_S", 0.2)
    async with served(Script(ready=None)) as engine:
        assert await engine.ready() is False


async def test_a_server_that_is_not_there_is_not_ready(
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    engine = TritonEngine(f"127.0.0.1:{unused_tcp_port_factory()}", "demo")
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert await engine.ready() is False
            with pytest.raises(EngineUnavailable):
                await anext(engine.generate("prompt", 10))
    finally:
        await engine.close()
