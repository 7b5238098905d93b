"""The steps of the compaction state machine: plan a chat's next summary, commit it, or give it up."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.trace import current_trace_id
from chatcore.domain.summary import SummaryAsked
from chatcore.protocol.queue import Job, as_object
from chatcore.services.compact import commit, plan, release
from chatcore.settings import CompactChatSettings

settings = CompactChatSettings.read()
stores = dynamo_stores(open_tables(settings.tables))
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """event: step, which is plan, commit or release, and asked, what the execution was started with.
    Errors go up: the state machine retries what may pass, and shows the rest."""
    asked, step = SummaryAsked(**event["asked"]), event["step"]
    done = _done(step, asked, context)
    logger.info(
        "compaction.step",
        extra={"chat_id": asked.chat_id, "step": step, "outcome": done["outcome"]},
    )
    return done


def _done(step: str, asked: SummaryAsked, context: LambdaContext) -> dict[str, Any]:
    if step == "plan":
        planned = plan(stores, asked, now_ms(), current_trace_id(context.aws_request_id))
        if isinstance(planned, Job):
            return {"outcome": "planned", "job": as_object(planned)}
        return {"outcome": str(planned)}
    if step == "commit":
        return {"outcome": "committed" if commit(stores, asked) else "outdated"}
    if step == "release":
        release(stores, asked)
        return {"outcome": "released"}
    raise ValueError(f"there is no step {step!r}")
