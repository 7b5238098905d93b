"""A step of the state machine that redrives stuck runs: looks at a page of the runs table."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.sqs import SqsLanes, sqs_client
from chatcore.services.redrive import redrive
from chatcore.settings import RedriveRunsSettings

MINUTE_MS = 60_000

settings = RedriveRunsSettings.read()
stores = dynamo_stores(open_tables(settings.tables))
lanes = SqsLanes(sqs_client(), settings.lane_base_url)
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """event: older_than_minutes, and after_id, where the step before has ended, empty before the first.
    Errors go up: the state machine retries what may pass, and shows the rest."""
    older_ms = round(event["older_than_minutes"] * MINUTE_MS)
    redriven = redrive(stores, lanes, older_ms, event["after_id"], now_ms())
    found = {str(what): count for what, count in redriven.found.items()}
    logger.info("runs.redriven", extra={"looked_at": redriven.looked_at, "found": found})
    return {
        "looked_at": redriven.looked_at,
        "next_id": redriven.next_id,
        "requeued": 0,
        "taken_over": 0,
        "behind": 0,
        "changed": 0,
        **found,
    }
