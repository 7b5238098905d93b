"""The demo engine as a Triton model with the interface of the vLLM backend.

Owns the way between Triton and the scheduler: reading requests, the one thread that sends tokens
when they are due, and cancels. It must not decide what is answered (demo_answer) or when a token
is due (demo_scheduler).

`execute` reads each request and plans its answer; the engine thread alone touches the scheduler and
the response senders of planned requests, so there are no locks.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import demo_answer
import demo_prompt
import demo_sampling
import demo_settings
import demo_tokens
import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]
from demo_scheduler import Emission, Generation, Scheduler

_STOP_TIMEOUT_S = 2.0
_PARENT_CHECK_PERIOD_S = 1.0


class RequestError(ValueError):
    """A request that cannot be served; the message is for the one who sent it."""


@dataclass
class Reply:
    """A request on its way: whom to send what."""

    sender: pb_utils.InferenceResponseSender
    generation: Generation
    stream: bool
    opening: str
    with_finish_reason: bool
    with_input_tokens: bool
    with_output_tokens: bool
    unsent: list[str] = field(default_factory=list)


class TritonPythonModel:
    """The class Triton looks for by this name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the settings and start the engine thread."""
        config = json.loads(args["model_config"])
        parameters = {
            name: value["string_value"] for name, value in config.get("parameters", {}).items()
        }
        self._settings = demo_settings.read(parameters, os.environ)
        self._scheduler = Scheduler(self._settings)
        self._replies: dict[Generation, Reply] = {}
        self._inbox: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        # Daemons: a call into a server that has crashed may never return, and must not hold us.
        self._thread = threading.Thread(target=self._run, name="demo-engine", daemon=True)
        self._thread.start()
        threading.Thread(target=_exit_after, args=(os.getppid(),), daemon=True).start()
        pb_utils.Logger.log_info(f"demo engine: {self._settings}")

    def execute(self, requests: Iterable[pb_utils.InferenceRequest]) -> None:
        """Plan each request and hand it to the engine thread."""
        for request in requests:
            sender = request.get_response_sender()
            if not self._thread.is_alive():
                _send_error(sender, "the engine has failed", pb_utils.TritonError.UNAVAILABLE)
                continue
            try:
                # Now: the memory of the request's tensors is gone after execute().
                self._inbox.put(self._plan(request, sender))
            except (RequestError, demo_sampling.SamplingError) as error:
                _send_error(sender, str(error), pb_utils.TritonError.INVALID_ARG)

    def finalize(self) -> None:
        """Stop the engine thread; what is unfinished ends with an error."""
        self._inbox.put(None)
        self._thread.join(_STOP_TIMEOUT_S)

    def _plan(
        self, request: pb_utils.InferenceRequest, sender: pb_utils.InferenceResponseSender
    ) -> Reply:
        text = _text_input(request, "text_input")
        if text is None:
            raise RequestError("text_input is missing")
        # The vLLM backend falls back to the parameters of the request, too.
        raw_sampling = _text_input(request, "sampling_parameters") or request.parameters()
        sampling = demo_sampling.parse(raw_sampling)
        stream = _bool_input(request, "stream", default=False)
        exclude_input = _bool_input(request, "exclude_input_in_output", default=stream)
        if stream and not exclude_input:
            raise RequestError("exclude_input_in_output cannot be false for a stream")

        prompt = demo_prompt.parse(text)
        rest = demo_answer.answer(prompt)[len(prompt.given) :]
        for stop in sampling.stop:
            rest = rest.partition(stop)[0]
        generation = Generation(
            prompt_tokens=demo_tokens.split(text),
            answer_tokens=demo_tokens.split(rest),
            max_tokens=sampling.max_tokens,
        )
        generation.hash_blocks(self._settings.block_tokens)
        return Reply(
            sender=sender,
            generation=generation,
            stream=stream,
            opening="" if exclude_input else text,
            with_finish_reason=_bool_input(request, "return_finish_reason", default=False),
            with_input_tokens=_bool_input(request, "return_num_input_tokens", default=False),
            with_output_tokens=_bool_input(request, "return_num_output_tokens", default=False),
        )

    def _run(self) -> None:
        """The engine thread: takes new work, sends what is due, notices cancels."""
        next_poll_s = 0.0
        try:
            while self._take_new_work(next_poll_s):
                for emission in self._scheduler.advance(time.monotonic()):
                    self._deliver(emission)
                if time.monotonic() >= next_poll_s:
                    for generation in self._scheduler.silent():
                        self._drop_if_cancelled(self._replies[generation])
                    next_poll_s = time.monotonic() + self._settings.cancel_poll_s
        finally:
            for reply in self._replies.values():
                _send_error(reply.sender, "the engine stopped", pb_utils.TritonError.UNAVAILABLE)

    def _take_new_work(self, next_poll_s: float) -> bool:
        """Wait for new work, at most until something is due. False when it is time to stop."""
        wake_s = self._scheduler.next_due_s()
        if wake_s is not None and self._scheduler.silent():
            wake_s = min(wake_s, next_poll_s)
        timeout_s = None if wake_s is None else max(0.0, wake_s - time.monotonic())
        try:
            reply = self._inbox.get(timeout=timeout_s)
            while reply is not None:
                self._replies[reply.generation] = reply
                self._scheduler.submit(reply.generation, time.monotonic())
                reply = self._inbox.get_nowait()
        except queue.Empty:
            return True
        return False

    def _deliver(self, emission: Emission) -> None:
        reply = self._replies[emission.generation]
        if self._drop_if_cancelled(reply):
            return
        reply.unsent.append(emission.text)
        if reply.stream or emission.finish_reason is not None:
            final = emission.finish_reason is not None
            self._send(reply, _tensors(reply, emission.finish_reason), final=final)
            reply.unsent.clear()

    def _drop_if_cancelled(self, reply: Reply) -> bool:
        if not reply.sender.is_cancelled():
            return False
        self._forget(reply)
        _send_error(reply.sender, "Request was cancelled", pb_utils.TritonError.CANCELLED)
        return True

    def _send(self, reply: Reply, tensors: list[pb_utils.Tensor], *, final: bool) -> None:
        flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if final else 0
        if final:
            self._forget(reply)
        try:
            reply.sender.send(pb_utils.InferenceResponse(output_tensors=tensors), flags)
        except pb_utils.TritonModelException as error:
            # One broken reply must not stop the tokens of the others.
            pb_utils.Logger.log_error(f"demo engine: a response could not be sent: {error}")
            self._forget(reply)

    def _forget(self, reply: Reply) -> None:
        self._scheduler.drop(reply.generation, time.monotonic())
        self._replies.pop(reply.generation, None)


def _exit_after(parent_pid: int) -> None:
    """End this process when the server is gone.

    Triton's stub does so itself, unless the server died while it was asked for a cancel: then the
    stub waits for the answer for good.
    """
    while os.getppid() == parent_pid:
        time.sleep(_PARENT_CHECK_PERIOD_S)
    os._exit(1)


def _tensors(reply: Reply, finish_reason: str | None) -> list[pb_utils.Tensor]:
    """What the vLLM backend sends: the new text and the count of its tokens, not the sums."""
    generation = reply.generation
    is_first = generation.emitted_tokens == len(reply.unsent)
    text = (reply.opening if is_first else "") + "".join(reply.unsent)
    tensors = [_bytes_tensor("text_output", text)]
    if reply.with_finish_reason:
        tensors.append(_bytes_tensor("finish_reason", str(finish_reason)))
    if reply.with_input_tokens:
        tensors.append(_count_tensor("num_input_tokens", len(generation.prompt_tokens)))
        tensors.append(_count_tensor("num_cached_tokens", generation.cached_tokens))
    if reply.with_output_tokens:
        tensors.append(_count_tensor("num_output_tokens", [len(reply.unsent)]))
    return tensors


def _bytes_tensor(name: str, text: str) -> pb_utils.Tensor:
    return pb_utils.Tensor(name, np.asarray([text.encode()], dtype=np.object_))


def _count_tensor(name: str, count: int | list[int]) -> pb_utils.Tensor:
    # As in the vLLM backend a single number makes a tensor without dimensions.
    return pb_utils.Tensor(name, np.asarray(count, dtype=np.uint32))


def _text_input(request: pb_utils.InferenceRequest, name: str) -> str | None:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return None
    try:
        text: str = tensor.as_numpy()[0].decode()
    except UnicodeDecodeError:
        raise RequestError(f"{name} is not UTF-8") from None
    return text


def _bool_input(request: pb_utils.InferenceRequest, name: str, *, default: bool) -> bool:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return default if tensor is None else bool(tensor.as_numpy()[0])


def _send_error(sender: pb_utils.InferenceResponseSender, message: str, code: int) -> None:
    response = pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
    sender.send(response, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
