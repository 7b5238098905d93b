"""Owns the loading of a Lambda's module as the runtime loads it: by its path, with its environment.

Loading opens clients (no connections); tests then put memory sides in their places.
"""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

FUNCTIONS = Path(__file__).parents[3] / "functions"

RECORDS = ("CHATS", "MESSAGES", "SUMMARIES", "RUNS", "CHECKPOINTS", "LEDGERS", "USAGE")
_QUEUES = "https://sqs.eu-central-1.amazonaws.com/123456789012/stack"
_MACHINES = "arn:aws:states:eu-central-1:123456789012:stateMachine"

ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    **{
        f"{name}_TABLE": f"stack-{name.lower()}"
        for name in (*RECORDS, "TICKETS", "CALENDARS", "WORKERS")
    },
    "LANE_BASE_URL": f"{_QUEUES}-lane",
    "INBOX_BASE_URL": f"{_QUEUES}-inbox",
    "CALLBACK_URL": "https://api.execute-api.eu-central-1.amazonaws.com/live",
    "TIERS_PARAMETER": "/stack/tiers",
    "PURGE_STATE_MACHINE_ARN": f"{_MACHINES}:purge",
    "PURGE_ACCOUNT_STATE_MACHINE_ARN": f"{_MACHINES}:purge-account",
    "EXPORT_STATE_MACHINE_ARN": f"{_MACHINES}:export",
    "EXPORTS_BUCKET": "stack-exports",
    "USER_POOL_ID": "eu-central-1_pool",
    "WEB_ORIGIN": "https://chat.example.com",
    "POWERTOOLS_SERVICE_NAME": "test",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
}


@contextmanager
def event_loop() -> Iterator[None]:
    """Mangum takes the thread's event loop, and where there is none makes one that nobody closes."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@cache
def load_function(name: str) -> ModuleType:
    """The app module of functions/<name>, loaded once a session."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    try:
        spec = importlib.util.spec_from_file_location(
            f"function_{name}", FUNCTIONS / name / "app.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # dataclasses look their own module up.
        sys.modules[spec.name] = module
        with event_loop():
            spec.loader.exec_module(module)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return module


@dataclass(frozen=True, slots=True)
class Context:
    """What the runtime tells a handler of its invocation, as far as anything reads it."""

    function_name: str = "test"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:test"
    aws_request_id: str = "request-1"
