"""Owns the id by which one prompt's log lines are found, from the Lambda that took it to the worker, and what
the worker's part of its X-Ray trace hangs on.

Not a setting: the Lambda runtime renews the variable with each invocation, so it is read here.
"""

import os
import re

_ROOT = re.compile(r"(?:^|;)Root=([^;]+)")
_PARENT = re.compile(r"(?:^|;)Parent=([0-9a-f]{16})(?:;|$)")
_SAMPLED = re.compile(r"(?:^|;)Sampled=1(?:;|$)")


def current_trace_id(request_id: str) -> str:
    """X-Ray's root id of this invocation; the invocation's request id where there is none."""
    found = _ROOT.search(_header())
    return found.group(1) if found else request_id


def current_parent() -> str:
    """X-Ray's id of this invocation's segment; empty where the trace is not sampled."""
    found = _PARENT.search(_header())
    return found.group(1) if found and _SAMPLED.search(_header()) else ""


def header_of(trace_id: str, trace_parent: str) -> str:
    """What tells the next service of a sampled trace (vendor's page: X-Ray concepts, tracing header)."""
    return f"Root={trace_id};Parent={trace_parent};Sampled=1"


def _header() -> str:
    return os.environ.get("_X_AMZN_TRACE_ID", "")
