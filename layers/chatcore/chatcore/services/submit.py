"""Submit: turn a user's send into a durable, reserved and queued run, exactly once.

read ──▶ decide ──▶ one transaction ──▶ lane
                ▲                    ▲
  died here: nothing happened        died here: the run is durable but in no lane; the client,
                                     which has heard nothing, sends again, and the repeat
                                     puts it there.
"""

from dataclasses import dataclass

from chatcore.domain.admission import Admission, Repeat, Send, check_send, decide
from chatcore.domain.errors import Code, Conflict, Refusal, StoreUnavailable
from chatcore.domain.lanes import Lane
from chatcore.domain.run import Run, Status
from chatcore.domain.tiers import LIMITS
from chatcore.ports import Lanes, Stores
from chatcore.protocol.queue import job_for

TRIES = 4
"""A user with many tabs races against himself, and against his own runs' settlements."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """repeat: the send was known already; the run is shown as it stands."""

    run: Run
    repeat: bool


def submit(stores: Stores, lanes: Lanes, send: Send, now_ms: int) -> Submitted | Refusal:
    """Raises StoreUnavailable when database or lane cannot be reached: sending again is safe."""
    limits = LIMITS[send.user.tier]
    refusal = check_send(send, limits)
    if refusal is not None:
        return refusal
    unavailable: StoreUnavailable | None = None
    for _ in range(TRIES):
        try:
            decision = decide(send, stores.runs.view(send), limits, now_ms)
            if isinstance(decision, Admission):
                stores.runs.admit(decision)
        except Conflict:
            continue
        except StoreUnavailable as error:
            # The transaction may have happened: the next look finds its run and repeats it.
            unavailable = error
            continue
        if isinstance(decision, Refusal):
            return decision
        if isinstance(decision, Repeat):
            return Submitted(requeued(lanes, decision.run), repeat=True)
        return Submitted(requeued(lanes, decision.run), repeat=False)
    if unavailable is not None:
        raise unavailable
    return Refusal(
        Code.BUSY, "Too many things happened at once. Please try again.", send.message_id
    )


def requeued(lanes: Lanes, run: Run) -> Run:
    """The run, put into its lane if nobody has claimed it. Twice there is harmless: one is claimed,
    the other acknowledged."""
    if run.status is Status.QUEUED:
        lanes.send(Lane(run.tier), job_for(run))
    return run
