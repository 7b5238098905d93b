"""Attach: give a connection the frames of a run from its place on, whatever state the run is in."""

from collections.abc import Sequence

from chatcore.domain import lease
from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import User
from chatcore.domain.run import ACTIVE, Run, Status
from chatcore.domain.stream import Place, all_deltas, durable_text, resume_at
from chatcore.domain.waiting import wait_of
from chatcore.ports import Inboxes, Lanes, Stores
from chatcore.protocol.queue import Attach
from chatcore.protocol.websocket import (
    Event,
    RunRewound,
    delta_for,
    ended_for,
    queued_for,
    started_for,
)
from chatcore.services.enqueue import enqueue_again


def attach(
    stores: Stores,
    lanes: Lanes,
    inboxes: Inboxes,
    user: User,
    run_id: str,
    connection_id: str,
    place: Place,
    now_ms: int,
) -> Sequence[Event] | Refusal:
    """The frames to post to the connection now; more come from the run's worker.

    Raises StoreUnavailable; attaching again is safe.
    """
    run = stores.runs.get(run_id)
    if run is None or run.user_id != user.user_id:
        return Refusal(Code.RUN_NOT_FOUND, "There is no such run.", run_id)
    return frames_for(stores, lanes, inboxes, run, connection_id, place, now_ms)


def frames_for(
    stores: Stores,
    lanes: Lanes,
    inboxes: Inboxes,
    run: Run,
    connection_id: str,
    place: Place,
    now_ms: int,
) -> Sequence[Event]:
    """The same for a run that is known to be the viewer's own."""
    if run.status in ACTIVE:
        # Noted on the run before the worker is told: should it die now, the next one knows.
        noted = stores.runs.add_viewer(run.run_id, connection_id)
        run = noted or stores.runs.get(run.run_id) or run
    if run.status is Status.QUEUED:
        ledger, calendar = stores.ledgers.get(run.user_id), stores.calendars.get(run.tier)
        enqueue_again(stores, lanes, run, ledger, calendar, now_ms)
        queued = queued_for(run, wait_of(run, ledger, calendar, now_ms))
        if run.epoch == 0:
            return [queued]
        # It had a slot before: what it has said is there, and waits to go on.
        text = durable_text(stores.runs.checkpoints(run.run_id))
        return [*replay(run, text, base=0, place=place), queued]
    if run.status is Status.RUNNING:
        control = Attach(
            run_id=run.run_id,
            connection_id=connection_id,
            offset=place.offset,
            epoch=place.epoch,
        )
        held = not lease.may_take_over(now_ms, run.lease_until_ms)
        if held and inboxes.send(run.inbox or "", control):
            return []
        # Its worker is gone: what is durable can be read meanwhile, the next worker goes on.
        text = durable_text(stores.runs.checkpoints(run.run_id))
        return replay(run, text, base=0, place=place)
    return [*replay(run, _answer_text(stores, run), base=0, place=place), ended_for(run)]


def replay(run: Run, text: str, base: int, place: Place) -> Sequence[Event]:
    """What brings a viewer from his place to the end of the text.

    base: the length up to which all epochs agree; 0 where that is not known.
    """
    offset, cut_back = resume_at(place, run.epoch, base, len(text))
    events: list[Event] = [started_for(run, offset)]
    if cut_back:
        events.append(RunRewound(run_id=run.run_id, epoch=run.epoch, offset=offset))
    return [*events, *(delta_for(run, delta) for delta in all_deltas(text, offset))]


def _answer_text(stores: Stores, run: Run) -> str:
    if not run.length:
        return ""
    # The answer's place is kept free right behind its question's.
    page = stores.messages.newest(run.chat_id, 1, before_seq=run.message_seq + 2)
    return next((m.text for m in page.items if m.message_id == run.answer_message_id), "")
