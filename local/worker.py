"""GPU workers of the local cloud.

Owns the environment that a worker is started with; what a worker does is gpu_service's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from local import vocabulary
from local.deployment import LocalUrls
from local.ministack import aws_environment
from local.ports import Ports
from local.processes import Service, clean_environment

MODEL_NAME = "demo"
# Sequences that one worker has the engine decode at once.
SLOTS = 8
# Beyond these, as many as a tier may use at most: the engine needs room for them, too.
EXTRA_SLOTS = 2
_READY_TEXT = "worker.ready"
# Ctrl-C should not take long: an answer that is not over by then goes on after the next start.
_DRAIN_S = 8

# What a worker is told of the stack, by its environment name.
_OUTPUTS = {
    "CHATS_TABLE": "ChatsTable",
    "MESSAGES_TABLE": "MessagesTable",
    "SUMMARIES_TABLE": "SummariesTable",
    "RUNS_TABLE": "RunsTable",
    "CHECKPOINTS_TABLE": "CheckpointsTable",
    "LEDGERS_TABLE": "LedgersTable",
    "USAGE_TABLE": "UsageTable",
    "CALENDARS_TABLE": "CalendarsTable",
    "WORKERS_TABLE": "WorkersTable",
    "LANE_BASE_URL": "LaneBaseUrl",
    "INBOX_BASE_URL": "InboxBaseUrl",
    "DEAD_LETTER_URL": "DeadLetterQueueUrl",
    "TIERS_PARAMETER": "TiersParameter",
    "COMPACT_STATE_MACHINE_ARN": "CompactStateMachineArn",
}


def environment(root: Path, ports: Ports, outputs: Mapping[str, str]) -> dict[str, str]:
    """The settings of every worker of this stack."""
    urls = LocalUrls.from_outputs(outputs, ports.aws_endpoint_url)
    return {
        **aws_environment(ports.aws_endpoint_url),
        **{name: outputs[output] for name, output in _OUTPUTS.items()},
        "CALLBACK_URL": urls.callback_url,
        "TRITON_URL": ports.triton_grpc_url,
        "MODEL_NAME": MODEL_NAME,
        "SLOTS": str(SLOTS),
        "DRAIN_S": str(_DRAIN_S),
        "VOCABULARY_PATH": str(vocabulary.path(root)),
        "PYTHONPATH": f"{root}:{root / 'layers' / 'chatcore'}",
    }


def service(root: Path, name: str, settings: Mapping[str, str], log: Path) -> Service:
    """One worker; `settings` are environment()'s, with whatever a test changes.

    The name is that of the process. The worker's id is its own choice, a fresh one at every start:
    the inbox of an earlier worker is not its.
    """
    return Service(
        name,
        [sys.executable, "-m", "gpu_service.worker"],
        environment=clean_environment(settings),
        cwd=root,
        log=log,
        ready_text=_READY_TEXT,
        start_timeout_s=60,
        stop_timeout_s=float(settings["DRAIN_S"]) + 5,
    )
