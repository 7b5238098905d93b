"""Owns one delivery of a job while this worker has it: where it lies, and how it is kept, moved and let go.

A job in a lane of the ring would be found late by others if this worker died after the front has moved
far: they look there when it is that lane's turn again. So it is moved to the tier's lane of returns
then, from which it comes by itself, now and then, until somebody finds that its run is over.
"""

from dataclasses import dataclass

from chatcore.domain import lease
from chatcore.domain.calendar import number_in, returns_of
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.ports import Lanes
from chatcore.protocol.queue import Job
from gpu_service.worker.threads import Calls


@dataclass(slots=True)
class Delivery:
    """sent_ms: when the lane took it; lane: None where it is not in this worker's hands (any more), as
    an offer's never is; number: what the lane stood for when it came; text: of the run's message, where
    it came with an offer."""

    job: Job
    sent_ms: int
    lane: Lane | None
    handle: str
    number: int
    lanes: Lanes
    calls: Calls
    text: str = ""

    @property
    def is_twin(self) -> bool:
        """Of an offer: its favourite has most likely begun the run, or even ended it."""
        return self.lane is not None and self.job.offered_ms > 0

    async def hide(self, seconds: int) -> None:
        """Raises StoreUnavailable; then it comes back when its visibility runs out."""
        if self.lane is not None:
            await self.calls(self.lanes.hide, self.lane, self.handle, seconds)

    async def keep(self, front: int) -> None:
        """Keep it from others for as long as a lease taken now. Raises StoreUnavailable."""
        lane = self.lane
        if lane is None:
            return
        if lane.index == RETURNS or number_in(lane, front) == self.number:
            await self.hide(lease.HIDDEN_S)
        else:
            await self.move(returns_of(lane.tier), lease.HIDDEN_S)

    async def move(self, lane: Lane, delay_s: int = 0) -> None:
        """Put it into another lane, and let it go here: died between the two, it is there twice, which
        is harmless. Raises StoreUnavailable."""
        await self.calls(self.lanes.send, lane, self.job, delay_s)
        await self.acknowledge()

    async def acknowledge(self) -> None:
        """Raises StoreUnavailable."""
        if self.lane is not None:
            await self.calls(self.lanes.acknowledge, self.lane, self.handle)
            self.lane = None
