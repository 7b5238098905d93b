"""Cursors: back and forth, and nothing forged does harm."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.errors import Code, Refusal
from chatcore.protocol import cursor


@given(st.integers(0, 10**15 - 1), st.text(alphabet="abc_0-9", min_size=1, max_size=40))
def test_a_cursor_comes_back_as_it_was_made(position: int, name: str) -> None:
    made = cursor.encode((position, name))
    assert made.isascii()
    assert "=" not in made
    assert cursor.decode(made, named=True) == (position, name)
    assert isinstance(cursor.decode(made, named=False), Refusal)


@given(st.integers(0, 10**15 - 1))
def test_so_does_one_of_a_list_without_names(position: int) -> None:
    made = cursor.encode((position, ""))
    assert cursor.decode(made, named=False) == (position, "")
    assert isinstance(cursor.decode(made, named=True), Refusal)


def forged(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


NO_KEYS: list[object] = [
    None,
    1,
    "a",
    {},
    [],
    [1],
    ["a", 1],
    [1, 2],
    [1, "a", 2],
    [True, "a"],
    [1.5, "a"],
    [-1, "a"],
    [10**15, "a"],
    [1, None],
    [[1], "a"],
    [1, "\ud800"],
    [1, "ü"],
    [1, "x" * 100],
    ["[" * 60],
]
NO_CURSORS = ["", "!", "é", "\ud800", "a" * 201, "====", "AAAA", "W10=", "W10", "WzFd"]
NOT_UTF8 = base64.urlsafe_b64encode(b"[1,\xff\xfe]").decode()


@pytest.mark.parametrize("value", [*NO_CURSORS, NOT_UTF8, *(forged(key) for key in NO_KEYS)])
@pytest.mark.parametrize("named", [True, False])
def test_forged_ones_are_refused(value: str, named: bool) -> None:
    outcome = cursor.decode(value, named)
    assert isinstance(outcome, Refusal)
    assert outcome.code is Code.CURSOR_INVALID


@given(st.text(max_size=200), st.booleans())
def test_no_text_whatsoever_is_a_crash(value: str, named: bool) -> None:
    cursor.decode(value, named)
