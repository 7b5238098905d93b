"""Owns the worker's writing of checkpoints: pieces of all runs that come within a moment go together.

    run 1   put ──────┐
    run 2     put ────┤ one call ──▶ each `put` returns, or raises, what became of it
    run 3        put ─┘

A call for each would be a third of the CPU time of a worker with hundreds of runs. Each piece stays an
independent write; it must not be told durable before it is.
"""

import asyncio
from collections.abc import Callable

from chatcore.domain.stream import Checkpoint
from chatcore.ports import MAX_CHECKPOINTS, RunStore
from gpu_service.worker.threads import Calls

GATHER_S = 0.05


class Checkpoints:
    def __init__(self, runs: RunStore, calls: Calls, now_ms: Callable[[], int]) -> None:
        self._runs = runs
        self._calls = calls
        self._now_ms = now_ms
        self._waiting: list[tuple[Checkpoint, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, piece: Checkpoint) -> None:
        """Returns when the piece is durable. Raises StoreUnavailable: it may be put again."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((piece, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await written

    async def _write(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) < MAX_CHECKPOINTS:
                    await asyncio.sleep(GATHER_S)
                batch = self._waiting[:MAX_CHECKPOINTS]
                del self._waiting[:MAX_CHECKPOINTS]
                error: Exception | None = None
                try:
                    pieces = [piece for piece, _ in batch]
                    await self._calls(self._runs.put_checkpoints, pieces, self._now_ms())
                except Exception as caught:
                    # Whoever put a piece learns it there; some of the others may be written.
                    error = caught
                for _, written in batch:
                    if written.done():
                        continue
                    if error is None:
                        written.set_result(None)
                    else:
                        written.set_exception(error)
        finally:
            self._writing = None
