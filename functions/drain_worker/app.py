"""A step of the drain's state machine: tells a worker to leave, and says whether it has."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.sqs import SqsInboxes, sqs_client
from chatcore.services.drain import drain
from chatcore.settings import DrainWorkerSettings

settings = DrainWorkerSettings.read()
stores = dynamo_stores(open_tables(settings.tables))
inboxes = SqsInboxes(sqs_client(), settings.inbox_base_url)
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Errors go up: the state machine retries what may pass, and shows the rest."""
    state = drain(stores, inboxes, event["worker_id"], now_ms())
    logger.info("worker.told", extra={"worker_id": event["worker_id"], "state": state})
    return {"state": str(state)}
