"""The order of the tests on the running cloud: what looks back on all of them comes last."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # A stable sort: the others stay as they are.
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
