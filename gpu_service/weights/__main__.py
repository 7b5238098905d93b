"""Fetches the model's files and ends: 0 when they are all there, 2 where a setting is wrong."""

import sys
import time

from aws_lambda_powertools import Logger

from chatcore.domain.errors import Misconfigured, StoreUnavailable
from chatcore.settings import WeightsSettings
from gpu_service.weights.fetch import fetch, s3_client


def main() -> int:
    logger = Logger(service="weights")
    began_s = time.monotonic()
    try:
        settings = WeightsSettings.read()
        done = fetch(
            s3_client(), settings.model_bucket, settings.model_prefix, settings.models_path
        )
    except Misconfigured as error:
        logger.error("weights.misconfigured", extra={"reason": str(error)})
        return 2
    except StoreUnavailable as error:
        # ECS starts another task in its place.
        logger.error("weights.trouble", extra={"reason": str(error)})
        return 1
    logger.info(
        "weights.ready",
        extra={
            "files": done.files,
            "size_bytes": done.size_bytes,
            "fetched_bytes": done.fetched_bytes,
            "total_ms": round((time.monotonic() - began_s) * 1000),
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
