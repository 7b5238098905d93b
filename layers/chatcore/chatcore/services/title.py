"""Title: have a chat named that nobody has named, by a run in the lowest lane.

store the run ──▶ put its job into the lane
               ▲
   died here: it is never made; the chat's next answer asks again, by a run of its own
"""

from chatcore.domain.calendar import returns_of
from chatcore.domain.run import Kind, Run, background_run
from chatcore.ports import Lanes, Stores
from chatcore.protocol.queue import job_for


def ask_for_title(stores: Stores, lanes: Lanes, answered: Run, now_ms: int) -> Run | None:
    """answered: the run whose question and answer the title is to be made of. None where it was asked for
    before. Raises StoreUnavailable."""
    run = background_run(
        Kind.TITLE,
        answered.user_id,
        answered.chat_id,
        answered.message_seq,
        now_ms,
        trace_id=answered.trace_id,
    )
    if not stores.runs.put(run):
        return None
    lanes.send(returns_of(run.tier), job_for(run))
    return run
