"""A step of the export's state machine: writes the next file of a user's export."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from chatcore.adapters.clock import now_ms
from chatcore.adapters.cognito import CognitoUserPool, cognito_client
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.s3 import S3ExportFiles, s3_client
from chatcore.protocol.export import as_object, progress_of
from chatcore.services.export import write_file
from chatcore.settings import ExportAccountSettings

settings = ExportAccountSettings.read()
stores = dynamo_stores(open_tables(settings.tables))
export_files = S3ExportFiles(s3_client(), settings.exports_bucket)
user_pool = CognitoUserPool(cognito_client(), settings.user_pool_id)
logger = Logger()


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """event: user_id, export_id, and progress as the step before has said it, empty before the first.
    Errors go up: the state machine retries what may pass, and shows the rest."""
    export_id = event["export_id"]
    written = write_file(
        stores,
        user_pool,
        export_files,
        event["user_id"],
        export_id,
        progress_of(event["progress"]),
        now_ms(),
    )
    logger.info(
        "export.written",
        extra={
            "export_id": export_id,
            "state": written.state,
            "files": len(written.progress.files),
        },
    )
    return {"state": str(written.state), "progress": as_object(written.progress)}
