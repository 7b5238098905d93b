"""Owns the states of an export, as its user is told of them."""

from enum import StrEnum


class ExportState(StrEnum):
    PREPARING = "preparing"
    READY = "ready"
    FAILED = "failed"
