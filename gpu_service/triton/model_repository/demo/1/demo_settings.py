"""The settings of the demo engine.

Owns their names, units and limits. Their defaults are the `parameters` of config.pbtxt; an
environment variable of the same name takes precedence. It must not read the environment itself:
model.py hands it over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(ValueError):
    """A setting is missing or outside its limits."""


@dataclass(frozen=True)
class DemoSettings:
    """What the demo engine pretends to be. Times are seconds, whatever unit they were given in."""

    slots: int
    prefill_fixed_s: float
    prefill_per_token_s: float
    decode_period_s: float
    block_tokens: int
    cache_blocks: int
    cancel_poll_s: float


def read(parameters: Mapping[str, str], environ: Mapping[str, str]) -> DemoSettings:
    """Settings from the model's parameters, overridden by the environment.

    Raises SettingsError for a missing or impossible value.
    """

    def number(name: str, minimum: float) -> float:
        text = environ.get(name) or parameters.get(name)
        if text is None:
            raise SettingsError(f"{name} is neither in config.pbtxt nor in the environment")
        try:
            value = float(text)
        except ValueError:
            raise SettingsError(f"{name} must be a number, not {text!r}") from None
        if not math.isfinite(value) or value < minimum:
            raise SettingsError(f"{name} must be at least {minimum:g}, not {text!r}")
        return value

    def whole(name: str, minimum: int) -> int:
        value = number(name, minimum)
        if not value.is_integer():
            raise SettingsError(f"{name} must be a whole number, not {value!r}")
        return int(value)

    return DemoSettings(
        slots=whole("DEMO_SLOTS", 1),
        prefill_fixed_s=number("DEMO_PREFILL_FIXED_MS", 0) / 1e3,
        prefill_per_token_s=number("DEMO_PREFILL_PER_TOKEN_US", 0) / 1e6,
        decode_period_s=number("DEMO_DECODE_PERIOD_MS", 0) / 1e3,
        block_tokens=whole("DEMO_BLOCK_TOKENS", 1),
        cache_blocks=whole("DEMO_CACHE_BLOCKS", 0),
        cancel_poll_s=number("DEMO_CANCEL_POLL_MS", 1) / 1e3,
    )
