"""Owns the id by which one prompt's log lines are found, from the Lambda that took it to the worker.

Not a setting: the Lambda runtime renews the variable with each invocation, so it is read here.
"""

import os
import re

_ROOT = re.compile(r"(?:^|;)Root=([^;]+)")


def current_trace_id(request_id: str) -> str:
    """X-Ray's root id of this invocation; the invocation's request id where there is none."""
    found = _ROOT.search(os.environ.get("_X_AMZN_TRACE_ID", ""))
    return found.group(1) if found else request_id
