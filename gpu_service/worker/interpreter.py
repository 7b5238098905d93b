"""Owns the interpreter's settings that keep the gaps between tokens short (`make bench-worker`)."""

import gc
import sys

SWITCH_INTERVAL_S = 0.0005
"""How long a thread that makes an AWS call may hold the event loop up; Python's default is ten times
that, and calls come in swarms."""

GC_THRESHOLDS = (10_000, 20, 20)
"""Rarer rounds: almost all of a worker's garbage is freed by reference counts."""


def keep_gaps_short() -> None:
    """Once, when all is imported and made: what lives for as long as the process is never looked at
    by the garbage collector again, whose full rounds took about 90 ms with it."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
