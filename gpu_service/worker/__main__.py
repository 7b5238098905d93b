"""Starts the worker on the real parts, and turns SIGTERM, SIGINT and a Spot notice into a drain."""

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path

from aws_lambda_powertools import Logger

from chatcore.adapters.async_posts import AsyncApiGatewayPosts
from chatcore.adapters.clock import now_ms
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.adapters.ecs import protect
from chatcore.adapters.spot import spot_notice
from chatcore.adapters.sqs import SqsInboxes, SqsLanes, sqs_client
from chatcore.adapters.ssm import SsmTiers, ssm_client
from chatcore.adapters.stepfunctions import StatesCompactions, StatesWaits, states_client
from chatcore.adapters.triton import TritonEngine
from chatcore.adapters.vocabulary import load_vocabulary
from chatcore.adapters.xray import XRaySegments, xray_client
from chatcore.domain.calendar import LANES
from chatcore.domain.errors import Misconfigured
from chatcore.settings import WorkerSettings
from gpu_service.worker.interpreter import keep_gaps_short
from gpu_service.worker.protection import protect_while_busy
from gpu_service.worker.pulse import beat
from gpu_service.worker.threads import Threads
from gpu_service.worker.worker import Worker, WorkerLimits, WorkerParts

CALLS = 32
"""Threads for short calls; as many connections are kept open to each service."""

POSTS = 512
"""Posts in flight, each on a connection of its own."""


async def serve(settings: WorkerSettings, logger: Logger) -> None:
    calls = Threads(CALLS, "aws")
    polls = Threads(len(LANES) + 1, "poll")
    client = sqs_client(CALLS + len(LANES) + 1)
    engine = TritonEngine(settings.triton_url, settings.model_name)
    posts = AsyncApiGatewayPosts(settings.callback_url, POSTS)
    states = states_client()
    parts = WorkerParts(
        stores=dynamo_stores(open_tables(settings.tables, CALLS)),
        lanes=SqsLanes(client, settings.lane_base_url, settings.dead_letter_url),
        inboxes=SqsInboxes(client, settings.inbox_base_url),
        posts=posts,
        tiers=SsmTiers(ssm_client(), settings.tiers_parameter, logger, now_ms),
        compactions=StatesCompactions(states, settings.compact_state_machine_arn),
        waits=StatesWaits(states),
        engine=engine,
        count_tokens=load_vocabulary(settings.vocabulary_path),
        calls=calls,
        polls=polls,
        logger=logger,
        now_ms=now_ms,
        put_segment=XRaySegments(xray_client(), logger).put,
    )
    limits = WorkerLimits(
        slots=settings.slots,
        drain_s=settings.drain_s,
        first_token_timeout_s=settings.first_token_timeout_s,
        next_token_timeout_s=settings.next_token_timeout_s,
        history_bytes=settings.history_bytes,
    )
    worker = Worker(settings.worker_id, parts, limits)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stopping.set)
    keep_gaps_short()
    beside = [
        asyncio.create_task(
            _leave_on_notice(settings.instance_metadata_url, worker.stopping, logger)
        ),
        asyncio.create_task(_be_spared(settings.ecs_agent_uri, worker, logger)),
        asyncio.create_task(_show_pulse(settings.pulse_path)),
    ]
    try:
        async with posts:
            await worker.run()
    finally:
        for task in beside:
            task.cancel()
        await engine.close()
        calls.close()
        polls.close()


async def _leave_on_notice(metadata_url: str, stopping: asyncio.Event, logger: Logger) -> None:
    def on_trouble(reason: str) -> None:
        logger.warning("spot.trouble", extra={"reason": reason})

    if metadata_url:
        notice = await spot_notice(metadata_url, on_trouble)
        logger.warning("spot.notice", extra={"notice": notice})
        stopping.set()


async def _be_spared(agent_uri: str, worker: Worker, logger: Logger) -> None:
    if agent_uri:
        await protect_while_busy(lambda: worker.is_busy, partial(protect, agent_uri), logger)


async def _show_pulse(path: str) -> None:
    if path:
        await beat(Path(path))


def main() -> int:
    logger = Logger(service="worker")
    try:
        settings = WorkerSettings.read()
        logger.append_keys(worker_id=settings.worker_id)
        asyncio.run(serve(settings, logger))
    except Misconfigured as error:
        logger.error("worker.misconfigured", extra={"reason": str(error)})
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
