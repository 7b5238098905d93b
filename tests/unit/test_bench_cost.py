"""DynamoDB's rules of what is billed, by the examples and limits that its documentation gives."""

from typing import Any

import pytest

from bench.dynamo_units import index_write_units, item_bytes, read_units, write_units

KB = 1024
OLD = {"at": {"N": "1"}, "title": {"S": "a"}}
RENAMED = {"at": {"N": "1"}, "title": {"S": "b"}}
MOVED = {"at": {"N": "2"}, "title": {"S": "a"}}


def item_of(size_bytes: int) -> dict[str, dict[str, str]]:
    return {"k": {"S": "x" * (size_bytes - 1)}}


@pytest.mark.parametrize(
    ("value", "size_bytes"),
    [
        ({"S": "naïve"}, 6),
        ({"S": ""}, 0),
        ({"N": "0"}, 1),
        ({"N": "7"}, 2),
        ({"N": "1234"}, 3),
        ({"N": "1200"}, 2),
        ({"N": "-12.5"}, 4),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"B": b"abc"}, 3),
        ({"SS": ["ab", "c"]}, 3),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}]}, 3 + 1 + 2),
        ({"M": {"ab": {"S": "c"}}}, 3 + 1 + 2 + 1),
    ],
)
def test_an_item_is_as_big_as_its_names_and_values(value: dict[str, Any], size_bytes: int) -> None:
    assert item_bytes({"name": value}) == len("name") + size_bytes


def test_no_item_has_no_size() -> None:
    assert item_bytes(None) == 0
    assert item_bytes({}) == 0


def test_an_unknown_type_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="no type X"):
        item_bytes({"name": {"X": "1"}})


@pytest.mark.parametrize(
    ("size_bytes", "units"), [(0, 1), (1, 1), (4 * KB, 1), (4 * KB + 1, 2), (8 * KB, 2)]
)
def test_a_read_is_billed_by_4_kb(size_bytes: int, units: int) -> None:
    assert read_units(size_bytes) == units
    assert read_units(size_bytes, transaction=True) == 2 * units


@pytest.mark.parametrize(("size_bytes", "units"), [(2, 1), (KB, 1), (KB + 1, 2), (3 * KB, 3)])
def test_a_write_is_billed_by_1_kb(size_bytes: int, units: int) -> None:
    assert write_units(None, item_of(size_bytes)) == units
    assert write_units(None, item_of(size_bytes), transaction=True) == 2 * units


def test_an_update_is_billed_by_the_greater_of_before_and_after() -> None:
    assert write_units(item_of(3 * KB), item_of(KB)) == 3
    assert write_units(item_of(KB), item_of(3 * KB)) == 3


def test_a_delete_is_billed_by_what_was_there() -> None:
    assert write_units(item_of(2 * KB), None) == 2
    assert write_units(None, None) == 1


class TestIndex:
    def test_a_new_entry_is_one_write(self) -> None:
        assert index_write_units(None, OLD, "at") == 1

    def test_a_changed_entry_is_one_write(self) -> None:
        assert index_write_units(OLD, RENAMED, "at") == 1

    def test_a_changed_key_is_two(self) -> None:
        assert index_write_units(OLD, MOVED, "at") == 2
        assert index_write_units(OLD, MOVED, "at", transaction=True) == 4

    def test_what_does_not_change_costs_nothing(self) -> None:
        assert index_write_units(OLD, dict(OLD), "at") == 0

    def test_an_item_without_the_key_is_not_in_the_index(self) -> None:
        assert index_write_units(None, {"title": {"S": "a"}}, "at") == 0
