"""Title: have a chat named that nobody has named, by a run in the lowest lane.

store the run ──▶ put its job into the lane
               ▲
   died here: it is never made; the chat's next answer asks again, by a run of its own
"""

from chatcore.domain.calendar import returns_of
from chatcore.domain.identity import background_id_for
from chatcore.domain.run import Kind, Run
from chatcore.domain.tiers import Tier
from chatcore.ports import Lanes, Stores
from chatcore.protocol.queue import job_for


def ask_for_title(stores: Stores, lanes: Lanes, answered: Run, now_ms: int) -> Run | None:
    """answered: the run whose question and answer the title is to be made of. None where it was asked for
    before. Raises StoreUnavailable."""
    run = Run(
        run_id=background_id_for(Kind.TITLE, answered.chat_id, answered.message_seq),
        user_id=answered.user_id,
        chat_id=answered.chat_id,
        tier=Tier.BACKGROUND,
        message_id="",
        message_seq=answered.message_seq,
        digest="",
        created_ms=now_ms,
        trace_id=answered.trace_id,
        kind=Kind.TITLE,
    )
    if not stores.runs.put(run):
        return None
    lanes.send(returns_of(run.tier), job_for(run))
    return run
