"""A worker's sign of life, and who looks at it."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from gpu_service.worker.pulse import BEAT_EVERY_S, FRESH_S, beat, is_fresh
from virtual_clock.loop import in_virtual_time


@in_virtual_time
async def test_it_beats_for_as_long_as_the_loop_turns(tmp_path: Path) -> None:
    pulse = tmp_path / "pulse"
    beating = asyncio.create_task(beat(pulse))
    await asyncio.sleep(0)
    assert is_fresh(pulse, time.time())
    os.utime(pulse, (0, 0))
    await asyncio.sleep(BEAT_EVERY_S)
    await asyncio.sleep(0)
    assert is_fresh(pulse, time.time())
    beating.cancel()


def test_one_that_stopped_and_one_that_never_was_are_not_fresh(tmp_path: Path) -> None:
    pulse = tmp_path / "pulse"
    assert not is_fresh(pulse, 1_000.0)
    pulse.touch()
    os.utime(pulse, (1_000.0, 1_000.0))
    assert is_fresh(pulse, 1_000.0 + FRESH_S)
    assert not is_fresh(pulse, 1_000.1 + FRESH_S)
    # Some beats may be late.
    assert FRESH_S >= 3 * BEAT_EVERY_S


def test_a_health_check_is_told_by_the_exit_code(tmp_path: Path) -> None:
    pulse = tmp_path / "pulse"
    command = [sys.executable, "-m", "gpu_service.worker.pulse", str(pulse)]
    root = Path(__file__).parents[3]
    assert subprocess.run(command, check=False, cwd=root).returncode == 1
    pulse.touch()
    assert subprocess.run(command, check=False, cwd=root).returncode == 0
