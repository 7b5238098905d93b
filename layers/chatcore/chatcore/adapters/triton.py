"""Owns the gRPC stream to Triton, in the words of its vLLM backend, which both models speak."""

import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import numpy
from grpc import StatusCode
from grpc.aio import AioRpcError
from tritonclient.grpc import InferInput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from chatcore.domain.errors import EngineFailed, EngineRefused, EngineUnavailable
from chatcore.domain.run import Usage
from chatcore.ports import Generated

_REFUSED = frozenset({StatusCode.INVALID_ARGUMENT, StatusCode.OUT_OF_RANGE})
_AWAY = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.NOT_FOUND})

READY_TIMEOUT_S = 2.0
"""An engine that hangs takes the question and never answers it."""

MOST_TOKENS = 10_000_000
"""In one response: more is no count, and somebody would be charged for it."""

_UNFINISHED = frozenset({"", "None"})


class TritonEngine:
    """One model of one Triton server. Many runs stream at once, each on a gRPC stream of its own."""

    def __init__(self, url: str, model_name: str) -> None:
        """url: host and port of Triton's gRPC endpoint."""
        self._client = InferenceServerClient(url)
        self._model_name = model_name

    async def ready(self) -> bool:
        try:
            ready = await self._client.is_model_ready(
                self._model_name, client_timeout=READY_TIMEOUT_S
            )
            return bool(ready)
        except InferenceServerException:
            return False

    async def close(self) -> None:
        await self._client.close()

    async def generate(
        self, prompt: str, max_output_tokens: int
    ) -> AsyncGenerator[Generated, None]:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {
                "model_name": self._model_name,
                "inputs": _inputs(prompt, max_output_tokens),
                "enable_empty_final_response": True,
            }

        responses = self._client.stream_infer(requests())
        usage = Usage()
        finish_reason: str | None = None
        try:
            async for result, error in responses:
                if error is not None:
                    raise EngineFailed(error.message())
                text, usage, reason = _read(result, usage)
                finish_reason = reason or finish_reason
                final = _is_final(result)
                if text or final:
                    yield Generated(text, usage, (finish_reason or "stop") if final else None)
                if final:
                    return
        except AioRpcError as error:
            # tritonclient lets gRPC's own come through a stream.
            raise _ended_with(error) from error
        finally:
            responses.cancel()
        raise EngineFailed("the stream ended without a final response")


def _inputs(prompt: str, max_output_tokens: int) -> list[InferInput]:
    sampling = json.dumps({"max_tokens": max_output_tokens})
    return [
        _tensor("text_input", "BYTES", prompt.encode("utf-8")),
        _tensor("sampling_parameters", "BYTES", sampling.encode("ascii")),
        _tensor("stream", "BOOL", True),
        _tensor("exclude_input_in_output", "BOOL", True),
        _tensor("return_finish_reason", "BOOL", True),
        _tensor("return_num_input_tokens", "BOOL", True),
        _tensor("return_num_output_tokens", "BOOL", True),
    ]


def _tensor(name: str, datatype: str, value: bytes | bool) -> InferInput:
    tensor = InferInput(name, [1], datatype)
    kind: Any = numpy.object_ if datatype == "BYTES" else numpy.bool_
    tensor.set_data_from_numpy(numpy.array([value], dtype=kind))
    return tensor


def _read(result: InferResult | None, usage: Usage) -> tuple[str, Usage, str | None]:
    """The text, the totals and the finish reason after one response. Raises EngineFailed where it is
    not what the vLLM backend says.

    That counts output tokens by response, input tokens as a whole.
    """
    if result is None:
        raise EngineFailed("the engine sent an empty response")
    try:
        text = b"".join(_values(result, "text_output")).decode("utf-8")
        reason = b"".join(_values(result, "finish_reason")).decode("utf-8", "replace")
        totals = Usage(
            input_tokens=max(usage.input_tokens, *_counts(result, "num_input_tokens"), 0),
            cached_tokens=max(usage.cached_tokens, *_counts(result, "num_cached_tokens"), 0),
            output_tokens=usage.output_tokens + sum(_counts(result, "num_output_tokens")),
        )
    except UnicodeDecodeError as error:
        raise EngineFailed("the engine sent text that is not UTF-8") from error
    except (struct.error, TypeError, ValueError, IndexError) as error:
        # Wrong types, shapes or lengths: what tritonclient's parsing makes of them.
        raise EngineFailed(f"the engine's response cannot be read: {error!r}") from error
    return text, totals, None if reason in _UNFINISHED else reason


def _values(result: InferResult, name: str) -> list[Any]:
    values = result.as_numpy(name)
    return [] if values is None else list(values.reshape(-1).tolist())


def _counts(result: InferResult, name: str) -> list[int]:
    counts = _values(result, name)
    if not all(0 <= count <= MOST_TOKENS for count in counts):
        raise ValueError(f"{name} is {counts}")
    return counts


def _is_final(result: InferResult) -> bool:
    parameter = result.get_response().parameters.get("triton_final_response")
    return parameter is not None and bool(parameter.bool_param)


def _ended_with(error: AioRpcError) -> Exception:
    code, words = error.code(), f"{error.code()}: {error.details()}"
    if code in _REFUSED:
        return EngineRefused(words)
    return EngineUnavailable(words) if code in _AWAY else EngineFailed(words)
