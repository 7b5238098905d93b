"""The steps of the state machine that removes all of a user: shut, chats, rest, forget."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from chatcore.adapters.clock import now_ms
from chatcore.adapters.cognito import CognitoUserPool, cognito_client
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.s3 import S3ExportFiles, s3_client
from chatcore.adapters.sqs import SqsInboxes, sqs_client
from chatcore.services.purge_account import forget, remove_chats, remove_rest, shut
from chatcore.settings import PurgeAccountSettings

settings = PurgeAccountSettings.read()
stores = dynamo_stores(open_tables(settings.tables))
inboxes = SqsInboxes(sqs_client(), settings.inbox_base_url)
export_files = S3ExportFiles(s3_client(), settings.exports_bucket)
user_pool = CognitoUserPool(cognito_client(), settings.user_pool_id)
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """event: step; user_id; after_hash, what the step before has said, where it said there is more.
    Errors go up: the state machine retries what may pass, and shows the rest."""
    step = event["step"]
    done = _done(step, event["user_id"], event.get("after_hash", ""))
    # Not whose: the log outlives the account.
    logger.info("account.purged", extra={"step": step, "state": done["state"]})
    return done


def _done(step: str, user_id: str, after_hash: str) -> dict[str, Any]:
    if step == "shut":
        shut(stores, inboxes, user_pool, user_id, now_ms())
        return {"state": "done"}
    if step == "chats":
        purged = remove_chats(stores, inboxes, user_id, now_ms())
        return {"state": str(purged.state), "removed": purged.removed}
    if step == "rest":
        return {"state": str(remove_rest(stores, export_files, user_pool, user_id, now_ms()))}
    if step == "forget":
        forgetting = forget(stores, export_files, user_id, after_hash)
        return {"state": str(forgetting.state), "after_hash": forgetting.after_hash}
    raise ValueError(f"there is no step {step!r}")
