"""Submit: turn a user's send into a durable, reserved and queued run, exactly once.

read ──▶ decide ──▶ one transaction ──▶ lane
                ▲                    ▲
  died here: nothing happened        died here: the run is durable but in no lane; the client,
                                     which has heard nothing, sends again, and the repeat
                                     puts it there.

A run behind another of its user is put into the lanes when that one has got its slot (see `dispatch`).
"""

from dataclasses import dataclass

from chatcore.domain.admission import Admission, Repeat, Send, check_send, decide
from chatcore.domain.affinity import TWIN_DELAY_S
from chatcore.domain.calendar import returns_of
from chatcore.domain.errors import Code, Conflict, Refusal, StoreUnavailable
from chatcore.domain.run import Run, Status
from chatcore.domain.tiers import Tiers
from chatcore.domain.waiting import Reason, Wait, wait_of
from chatcore.ports import Inboxes, Lanes, Stores
from chatcore.protocol.queue import Job, job_for
from chatcore.services.enqueue import enqueue
from chatcore.services.offer import offer

TRIES = 4
"""A user with many tabs races against himself, and against his own runs' settlements."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """repeat: the send was known already; the run is shown as it stands. wait: while it is queued."""

    run: Run
    repeat: bool
    wait: Wait | None


def submit(
    stores: Stores, lanes: Lanes, inboxes: Inboxes, tiers: Tiers, send: Send, now_ms: int
) -> Submitted | Refusal:
    """Raises StoreUnavailable when database or lane cannot be reached: sending again is safe."""
    limits = tiers[send.user.tier]
    refusal = check_send(send, limits)
    if refusal is not None:
        return refusal
    unavailable: StoreUnavailable | None = None
    for _ in range(TRIES):
        try:
            view = stores.runs.view(send)
            decision = decide(send, view, limits, now_ms)
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
            run, wait = decision.run, None
            if run.status is Status.QUEUED:
                enqueue(lanes, run, view.ledger, view.calendar, now_ms)
                wait = wait_of(run, view.ledger, view.calendar, now_ms)
            return Submitted(run, repeat=True, wait=wait)
        run = decision.run
        wait = wait_of(run, decision.ledger, view.calendar, now_ms)
        if decision.lane is not None:
            _put(stores, lanes, inboxes, decision, wait, now_ms)
        return Submitted(run, repeat=False, wait=wait)
    if unavailable is not None:
        raise unavailable
    return Refusal(
        Code.BUSY, "Too many things happened at once. Please try again.", send.message_id
    )


def _put(
    stores: Stores,
    lanes: Lanes,
    inboxes: Inboxes,
    admission: Admission,
    wait: Wait,
    now_ms: int,
) -> None:
    """Where nobody waits, the worker that knows the chat is told, a second before others see the twin. Where
    somebody does, the run goes to the end of its lane, and is offered when its turn comes."""
    assert admission.lane is not None
    run, job = admission.run, job_for(admission.run)
    if wait.reason is Reason.STARTING:

        def put_twin(twin: Job) -> None:
            lanes.send(returns_of(run.tier), twin, TWIN_DELAY_S)

        if offer(stores, inboxes, job, admission.message.text, now_ms, put_twin) is not None:
            return
    lanes.send(admission.lane, job)
