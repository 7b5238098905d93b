"""A step of the purge state machine: removes a batch of a deleted chat and says how it stands."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.sqs import SqsInboxes, sqs_client
from chatcore.services.purge import purge
from chatcore.settings import PurgeChatSettings

settings = PurgeChatSettings.read()
stores = dynamo_stores(open_tables(settings.tables))
inboxes = SqsInboxes(sqs_client(), settings.inbox_base_url)
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Errors go up: the state machine retries what may pass, and shows the rest."""
    purged = purge(stores, inboxes, event["user_id"], event["chat_id"], now_ms())
    logger.info(
        "chat.purged",
        extra={"chat_id": event["chat_id"], "state": purged.state, "removed": purged.removed},
    )
    return {"state": str(purged.state), "removed": purged.removed}
