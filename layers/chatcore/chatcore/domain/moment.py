"""Owns how a moment is written for people and clients. Moments inside are Unix milliseconds."""

from datetime import UTC, datetime


def rfc3339(moment_ms: int) -> str:
    """Such as 2026-11-22T16:48:28.123Z."""
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment_ms % 1000:03d}Z"
