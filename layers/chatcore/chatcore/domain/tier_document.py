"""Owns the document of tier settings: one JSON object by users' tier, every field named as in TierLimits.

An operator writes it by hand, so whatever is wrong is refused with its place, and nothing is guessed:
every tier and every field has to be there, and none that is not known.
"""

import json
from collections.abc import Mapping, Sequence

from chatcore.domain.errors import InvalidTiers
from chatcore.domain.tiers import USER_TIERS, Budget, TierLimits, Tiers, with_background

_LONGEST_S = 366 * 24 * 3600
_MOST = 10**12
"""More is a slip of the hand; and a number that no store holds exactly is refused with it."""

_FIELDS = (
    "weight",
    "overcommit_slots",
    "max_active_runs",
    "max_wait_s",
    "budgets",
    "max_text_chars",
    "context_tokens",
    "max_output_tokens",
    "abandon_grace_s",
    "paused",
)


def parse_tiers(text: str) -> Tiers:
    """Raises InvalidTiers."""
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidTiers(f"the document is not JSON: {error}") from None
    tiers = _fields(document, "the document", USER_TIERS)
    return with_background({tier: _limits(tiers[tier], str(tier)) for tier in USER_TIERS})


def tiers_document(tiers: Tiers) -> str:
    """What `parse_tiers` reads back as the same, laid out for people."""
    written = {tier: _written(tiers[tier]) for tier in USER_TIERS}
    return json.dumps(written, indent=2) + "\n"


def _written(limits: TierLimits) -> Mapping[str, object]:
    budgets = [
        {"tokens": budget.tokens, "window_s": _seconds(budget.window_ms)}
        for budget in limits.budgets
    ]
    return {name: budgets if name == "budgets" else getattr(limits, name) for name in _FIELDS}


def _seconds(ms: int) -> float:
    return ms / 1000 if ms % 1000 else ms // 1000


def _limits(found: object, place: str) -> TierLimits:
    fields = _fields(found, place, _FIELDS)

    def whole(name: str) -> int:
        return _whole(fields[name], f"{place}.{name}")

    grace = fields["abandon_grace_s"]
    paused = fields["paused"]
    if not isinstance(paused, bool):
        raise InvalidTiers(f"{place}.paused must be true or false")
    try:
        return TierLimits(
            weight=whole("weight"),
            overcommit_slots=whole("overcommit_slots"),
            max_active_runs=whole("max_active_runs"),
            max_wait_s=_duration_s(fields["max_wait_s"], f"{place}.max_wait_s"),
            budgets=_budgets(fields["budgets"], f"{place}.budgets"),
            max_text_chars=whole("max_text_chars"),
            context_tokens=whole("context_tokens"),
            max_output_tokens=whole("max_output_tokens"),
            abandon_grace_s=(
                None if grace is None else _duration_s(grace, f"{place}.abandon_grace_s")
            ),
            paused=paused,
        )
    except ValueError as error:
        raise InvalidTiers(f"{place}: {error}") from None


def _budgets(found: object, place: str) -> tuple[Budget, ...]:
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise InvalidTiers(f"{place} must be a list")
    return tuple(_budget(each, f"{place}[{index}]") for index, each in enumerate(found))


def _budget(found: object, place: str) -> Budget:
    fields = _fields(found, place, ("tokens", "window_s"))
    tokens = _whole(fields["tokens"], f"{place}.tokens")
    window_ms = round(_duration_s(fields["window_s"], f"{place}.window_s") * 1000)
    if window_ms <= 0:
        raise InvalidTiers(f"{place}.window_s must be greater than 0")
    try:
        return Budget(tokens, window_ms)
    except ValueError as error:
        raise InvalidTiers(f"{place}: {error}") from None


def _fields(found: object, place: str, names: Sequence[str]) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise InvalidTiers(f"{place} must be an object")
    for name in found:
        if name not in names:
            raise InvalidTiers(f"{place} has an unknown field: {name!r}")
    for name in names:
        if name not in found:
            raise InvalidTiers(f"{place} has no {str(name)!r}")
    return found


def _whole(found: object, place: str) -> int:
    # A bool is an int to Python, and a slip to everybody else.
    if isinstance(found, bool) or not isinstance(found, int):
        raise InvalidTiers(f"{place} must be a whole number")
    if abs(found) > _MOST:
        raise InvalidTiers(f"{place} must be at most {_MOST}")
    return found


def _duration_s(found: object, place: str) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InvalidTiers(f"{place} must be a number of seconds")
    if not abs(found) <= _LONGEST_S:
        raise InvalidTiers(f"{place} must be at most {_LONGEST_S} seconds")
    return found


def _object(pairs: Sequence[tuple[str, object]]) -> Mapping[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidTiers(f"the field {twice!r} is there twice")
    return found


def _constant(name: str) -> float:
    raise InvalidTiers(f"{name} is not a number that can be used")
