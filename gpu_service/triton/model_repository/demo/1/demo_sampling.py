"""The sampling parameters of a request.

Owns their validation. The names are those of vLLM's SamplingParams that a chat makes use of; an
unknown name is refused, as vLLM refuses it, but with a message that says so. The demo engine obeys
`max_tokens` and `stop`; it checks the others and samples nothing. It must not fail with anything
but SamplingError.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

# vLLM's own default.
DEFAULT_MAX_TOKENS = 16

_INTEGER_LIMITS = {
    "max_tokens": (1, math.inf),
    "seed": (-math.inf, math.inf),
    "top_k": (-1, math.inf),
}
_NUMBER_LIMITS = {
    "temperature": (0, math.inf),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repetition_penalty": (0, math.inf),
}


class SamplingError(ValueError):
    """The sampling parameters cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Sampling:
    """What the demo engine obeys."""

    max_tokens: int
    stop: tuple[str, ...]


def parse(raw: str) -> Sampling:
    """Read the JSON object of a request. Raises SamplingError."""
    try:
        parameters = json.loads(raw)
    except (ValueError, RecursionError):
        raise SamplingError("sampling_parameters is not JSON") from None
    if not isinstance(parameters, dict):
        raise SamplingError("sampling_parameters must be a JSON object")
    for name, value in parameters.items():
        _check(name, value)
    stop = parameters.get("stop", [])
    return Sampling(
        max_tokens=parameters.get("max_tokens", DEFAULT_MAX_TOKENS),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
    )


def _check(name: str, value: object) -> None:
    if name == "stop":
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(t, str) and t for t in texts):
            raise SamplingError("stop must be a non-empty text or a list of such")
        return
    if name in _INTEGER_LIMITS:
        kind, (low, high) = "an integer", _INTEGER_LIMITS[name]
        fits = isinstance(value, int)
    elif name in _NUMBER_LIMITS:
        kind, (low, high) = "a number", _NUMBER_LIMITS[name]
        fits = isinstance(value, int | float)
    else:
        raise SamplingError(f"sampling parameter {name!r} is unknown to the demo engine")
    # bool is an int to Python, but not to the one who wrote the request.
    if isinstance(value, bool) or not fits:
        raise SamplingError(f"{name} must be {kind}")
    if not (isinstance(value, int | float) and low <= value <= high):
        raise SamplingError(f"{name} must be between {low} and {high}")
