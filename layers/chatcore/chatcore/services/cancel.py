"""Cancel: end a run that nobody works on; ask the worker of one that somebody works on."""

from dataclasses import replace

from chatcore.domain import lease
from chatcore.domain.errors import Code, Conflict, Refusal
from chatcore.domain.identity import User
from chatcore.domain.run import ACTIVE, Ending, Event, FinishReason, Run, Status, ended
from chatcore.domain.stream import durable_text
from chatcore.ports import Inboxes, Stores
from chatcore.protocol.queue import Cancel

TRIES = 4


def cancel(
    stores: Stores,
    inboxes: Inboxes,
    user: User,
    run_id: str,
    now_ms: int,
    connection_id: str = "",
) -> Run | Refusal:
    """The run afterwards: in its terminal state, or running still, to be ended by its worker.

    connection_id: who is to hear from the worker how the run ended, besides its viewers. A run that was
    ended here has its viewers still in it, to be told by the caller (see `tell`).
    """
    for _ in range(TRIES):
        run = stores.runs.get(run_id)
        if run is None or run.user_id != user.user_id:
            return Refusal(Code.RUN_NOT_FOUND, "There is no such run.", run_id)
        if run.status not in ACTIVE:
            return run
        if _is_held(run, now_ms):
            noted = stores.runs.request_cancel(run_id)
            if noted is not None:
                # The note outlives the message: a worker that takes over later finds it.
                note = Cancel(run_id=run_id, connection_id=connection_id, asked_ms=now_ms)
                inboxes.send(noted.inbox or "", note)
                return noted
            continue
        ending = _cancelled(stores, run, now_ms)
        try:
            if stores.runs.end(run, ending):
                return replace(ended(run, ending), viewers=run.viewers)
        except Conflict:
            continue
    return Refusal(Code.BUSY, "The run changed while it was being stopped. Try again.", run_id)


def _is_held(run: Run, now_ms: int) -> bool:
    return run.status is Status.RUNNING and not lease.may_take_over(now_ms, run.lease_until_ms)


def _cancelled(stores: Stores, run: Run, now_ms: int) -> Ending:
    text = durable_text(stores.runs.checkpoints(run.run_id)) if run.epoch else ""
    return Ending(
        event=Event.CANCEL,
        ended_ms=now_ms,
        text=text,
        usage=run.spent,
        finish_reason=FinishReason.CANCELLED,
    )
