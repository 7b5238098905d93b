"""Ids: which ones clients may make, and that those of a send follow from them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.identity import (
    ID_PATTERN,
    answer_id_for,
    chat_id_for,
    chat_id_from,
    digest_of,
    is_message_id,
    may_be_id,
    run_id_for,
)
from chatcore.domain.tiers import Tier, tier_of


@pytest.mark.parametrize("value", ["abcdefgh", "A-Z_0-9a", "x" * 64])
def test_message_ids_that_are_taken(value: str) -> None:
    assert is_message_id(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "short12",
        "x" * 65,
        "with space",
        "ümlaut-12",
        "abcdefgh\n",
        "\nabcdefgh",
        "a/b/c/d/e",
        "１２３４５６７８",
    ],
)
def test_message_ids_that_are_not(value: str) -> None:
    assert not is_message_id(value)


@given(user=st.text(), message=st.text())
def test_ids_have_one_form_and_follow_from_what_they_are_made_of(user: str, message: str) -> None:
    made = [run_id_for(user, message), chat_id_for(user, message), answer_id_for(message)]
    for value in made:
        assert re.fullmatch(ID_PATTERN, value)
        assert may_be_id(value)
    assert len({value[2:] for value in made}) == 3
    assert made[0] == run_id_for(user, message)


def test_parts_do_not_run_together() -> None:
    assert run_id_for("ab", "c") != run_id_for("a", "bc")
    assert run_id_for("user-a", "message-1") != run_id_for("user-b", "message-1")


def test_chats_made_by_themselves_differ() -> None:
    assert chat_id_from(b"\x00" * 16) != chat_id_from(b"\x01" * 16)


@pytest.mark.parametrize("value", ["", "x" * 65, "ümlaut", "\ud800"])
def test_what_can_be_nobodys_id(value: str) -> None:
    assert not may_be_id(value)


def test_a_digest_tells_texts_apart() -> None:
    assert digest_of("a") != digest_of("a ")


@pytest.mark.parametrize(
    ("claim", "tier"),
    [("pro", Tier.PRO), ("plus", Tier.PLUS), ("free", Tier.FREE), (None, Tier.FREE)]
    + [(other, Tier.FREE) for other in ("", "PRO", "root", "pro ")],
)
def test_a_tier_that_is_missing_or_unknown_is_the_lowest(claim: str | None, tier: Tier) -> None:
    assert tier_of(claim) is tier
