"""Owns the translation of DynamoDB's errors into the product's, by code, never by text."""

from collections.abc import Iterator
from contextlib import contextmanager

from pynamodb.exceptions import DoesNotExist, PynamoDBException

from chatcore.domain.errors import Conflict, StoreUnavailable, Terminal

CONDITION_FAILED = "ConditionalCheckFailed"
_CONDITION_FAILED_CODES = frozenset({"ConditionalCheckFailedException"})
_CONFLICT_REASONS = frozenset({CONDITION_FAILED, "TransactionConflict"})
_CONFLICT_CODES = frozenset({"TransactionConflictException", "TransactionInProgressException"})
_OURS = frozenset({"ValidationException", "ResourceNotFoundException", "AccessDeniedException"})


class ConditionFailed(Conflict):
    """The item is not as the write asked for."""


class Rejected(Terminal):
    """DynamoDB will never take this request: a mistake of ours or of the deployment."""


@contextmanager
def translated() -> Iterator[None]:
    """Raises ConditionFailed, Conflict, StoreUnavailable or Rejected in place of vendors' errors."""
    try:
        yield
    except DoesNotExist:
        # An answer, not a fault: each store says what it means.
        raise
    except PynamoDBException as error:
        raise _translation(error) from error


def _translation(error: PynamoDBException) -> Exception:
    code = _code(error)
    if code in _CONDITION_FAILED_CODES:
        return ConditionFailed(code)
    if code in _CONFLICT_CODES:
        return Conflict(code)
    if code == "TransactionCanceledException":
        reasons = _reasons(error)
        if reasons <= _CONFLICT_REASONS:
            return ConditionFailed(code) if CONDITION_FAILED in reasons else Conflict(code)
        return StoreUnavailable(f"{code}: {', '.join(sorted(reasons))}")
    if code in _OURS:
        return Rejected(f"{code}: {error.cause_response_message}")
    return StoreUnavailable(code or type(error.cause or error).__name__)


def _code(error: PynamoDBException) -> str | None:
    """DynamoDB's, None where it has not answered: pynamodb's own property fails there."""
    answered = getattr(error.cause, "response", None)
    return error.cause_response_code if answered else None


def _reasons(error: PynamoDBException) -> set[str]:
    """Why each item of a transaction failed, of those that did."""
    reasons = getattr(error.cause, "cancellation_reasons", ())
    return {reason.code for reason in reasons if reason is not None}
