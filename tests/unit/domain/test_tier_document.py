"""The document of tier settings: what is written is read back, and whatever is wrong is named."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.errors import InvalidTiers
from chatcore.domain.tier_document import parse_tiers, tiers_document
from chatcore.domain.tiers import DEFAULTS, USER_TIERS, Budget, Tier, TierLimits, with_background

MOST = 10**12

counts = st.integers(1, MOST)
durations_s = st.one_of(
    st.integers(1, 10**7), st.floats(0.001, 10**7, allow_nan=False, allow_infinity=False)
)


@st.composite
def limits(draw: st.DrawFn) -> TierLimits:
    windows = sorted(draw(st.sets(st.integers(1, 10**10), min_size=1, max_size=4)))
    context = draw(st.integers(2, MOST))
    return TierLimits(
        weight=draw(counts),
        overcommit_slots=draw(st.integers(0, 100)),
        max_active_runs=draw(counts),
        max_wait_s=draw(durations_s),
        budgets=tuple(Budget(draw(counts), window_ms) for window_ms in windows),
        max_text_chars=draw(counts),
        context_tokens=context,
        max_output_tokens=draw(st.integers(1, context - 1)),
        abandon_grace_s=draw(st.none() | durations_s),
        paused=draw(st.booleans()),
    )


@given(st.fixed_dictionaries({tier: limits() for tier in USER_TIERS}))
def test_what_is_written_is_read_back(tiers: dict[Tier, TierLimits]) -> None:
    assert parse_tiers(tiers_document(tiers)) == with_background(tiers)


def test_a_change_by_hand_is_what_is_read() -> None:
    document = json.loads(tiers_document(DEFAULTS))
    document["free"]["paused"] = True
    document["free"]["budgets"] = [{"window_s": 1.5, "tokens": 7}]
    document["free"]["abandon_grace_s"] = 0
    changed = replace(
        DEFAULTS[Tier.FREE], paused=True, budgets=(Budget(7, 1_500),), abandon_grace_s=0
    )
    assert parse_tiers(json.dumps(document)) == {**DEFAULTS, Tier.FREE: changed}


Spoil = Callable[[dict[str, Any]], object]


def put(place: str, value: object) -> Spoil:
    """Set what the place names, such as free.budgets.0.tokens."""

    def spoil(document: dict[str, Any]) -> None:
        *way, last = [int(part) if part.isdigit() else part for part in place.split(".")]
        found: Any = document
        for part in way:
            found = found[part]
        found[last] = value

    return spoil


BAD: list[tuple[Spoil, str]] = [
    (lambda d: d.pop("plus"), "the document has no 'plus'"),
    (put("gold", {}), "the document has an unknown field: 'gold'"),
    (put("free", []), "free must be an object"),
    (put("free", None), "free must be an object"),
    (lambda d: d["pro"].pop("weight"), "pro has no 'weight'"),
    (lambda d: d["pro"].pop("paused"), "pro has no 'paused'"),
    (lambda d: d["pro"].pop("abandon_grace_s"), "pro has no 'abandon_grace_s'"),
    (put("pro.wieght", 8), "pro has an unknown field: 'wieght'"),
    (put("free.weight", 0), "free: weight must be greater than 0"),
    (put("free.weight", -1), "free: weight must be greater than 0"),
    (put("free.weight", "1"), "free.weight must be a whole number"),
    (put("free.weight", 1.0), "free.weight must be a whole number"),
    (put("free.weight", True), "free.weight must be a whole number"),
    (put("free.weight", None), "free.weight must be a whole number"),
    (put("free.weight", MOST + 1), f"free.weight must be at most {MOST}"),
    (put("plus.overcommit_slots", -1), "plus: overcommit_slots must be 0 or more"),
    (put("plus.overcommit_slots", False), "plus.overcommit_slots must be a whole number"),
    (put("plus.max_active_runs", 0), "plus: max_active_runs must be greater than 0"),
    (put("plus.max_wait_s", 0), "plus: max_wait_s must be greater than 0"),
    (put("plus.max_wait_s", "120"), "plus.max_wait_s must be a number of seconds"),
    (put("plus.max_wait_s", True), "plus.max_wait_s must be a number of seconds"),
    (put("plus.max_wait_s", 10**10), "plus.max_wait_s must be at most 31622400 seconds"),
    (put("plus.max_text_chars", 0), "plus: max_text_chars must be greater than 0"),
    (put("plus.max_output_tokens", 0), "plus: max_output_tokens must be greater than 0"),
    (put("plus.context_tokens", 2_048), "plus: max_output_tokens must leave room for a prompt"),
    (put("pro.abandon_grace_s", -1), "pro: abandon_grace_s must be 0 or more"),
    (put("pro.abandon_grace_s", False), "pro.abandon_grace_s must be a number of seconds"),
    (put("pro.paused", 1), "pro.paused must be true or false"),
    (put("pro.paused", "no"), "pro.paused must be true or false"),
    (put("pro.paused", None), "pro.paused must be true or false"),
    (put("free.budgets", []), "free: budgets must hold at least one"),
    (put("free.budgets", {}), "free.budgets must be a list"),
    (put("free.budgets", "all"), "free.budgets must be a list"),
    (put("free.budgets.1", 5), "free.budgets[1] must be an object"),
    (put("free.budgets.0.tokens", 0), "free.budgets[0]: tokens must be greater than 0"),
    (put("free.budgets.0.tokens", 1.5), "free.budgets[0].tokens must be a whole number"),
    (put("free.budgets.0.window_s", 0), "free.budgets[0].window_s must be greater than 0"),
    (put("free.budgets.0.window_s", -5), "free.budgets[0].window_s must be greater than 0"),
    (put("free.budgets.0.window_s", "5h"), "free.budgets[0].window_s must be a number of seconds"),
    (put("free.budgets.0.window_ms", 5), "free.budgets[0] has an unknown field: 'window_ms'"),
    (lambda d: d["free"]["budgets"][1].pop("tokens"), "free.budgets[1] has no 'tokens'"),
    (lambda d: d["free"]["budgets"].reverse(), "free: budgets must be in the order of their wind"),
    (put("free.budgets.0.window_s", 604_800), "free: budgets must be in the order of their wind"),
]


@pytest.mark.parametrize(("spoil", "words"), BAD, ids=[words for _, words in BAD])
def test_a_bad_document_is_refused_with_its_place(spoil: Spoil, words: str) -> None:
    document = copy.deepcopy(json.loads(tiers_document(DEFAULTS)))
    spoil(document)
    with pytest.raises(InvalidTiers) as refused:
        parse_tiers(json.dumps(document))
    assert str(refused.value).startswith(words)


GOOD = tiers_document(DEFAULTS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the document is not JSON"),
        ("free: {}", "the document is not JSON"),
        (GOOD[:-3], "the document is not JSON"),
        (GOOD + "x", "the document is not JSON"),
        ("\ufeff" + GOOD, "the document is not JSON"),
        (GOOD.replace("120,", "1" * 5_000 + ",", 1), "the document is not JSON"),
        ("[" * 100_000, "the document is not JSON"),
        ("[]", "the document must be an object"),
        ("null", "the document must be an object"),
        (GOOD.replace('"weight": 1', '"weight": NaN'), "NaN is not a number"),
        (GOOD.replace('"weight": 1', '"weight": -Infinity'), "-Infinity is not a number"),
        (GOOD.replace('_wait_s": 120', '_wait_s": 1e999'), "free.max_wait_s must be at most"),
        (GOOD.replace('_grace_s": null', '_grace_s": -1e999'), "free.abandon_grace_s must be at"),
        (GOOD.replace('"weight": 1,', '"weight": 1, "weight": 2,'), "the field 'weight' is there"),
        (GOOD.replace('"plus": {', '"free": {', 1), "the field 'free' is there twice"),
    ],
    ids=lambda part: part[:40],
)
def test_what_is_no_document_at_all(text: str, words: str) -> None:
    with pytest.raises(InvalidTiers) as refused:
        parse_tiers(text)
    assert str(refused.value).startswith(words)


def test_settings_that_no_document_made_are_held_to_the_same() -> None:
    for changes, words in (
        ({"weight": 0}, "weight must be"),
        ({"max_wait_s": float("nan")}, "max_wait_s must be"),
        ({"max_wait_s": float("inf")}, "max_wait_s must be"),
        ({"abandon_grace_s": float("nan")}, "abandon_grace_s must be"),
        ({"budgets": (Budget(1, 5), Budget(1, 5))}, "budgets must be in the order"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(DEFAULTS[Tier.FREE], **changes)
