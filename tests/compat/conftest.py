"""The former release's files, once a session; and at which steps of an upgrade a test has something
to say."""

import shutil
from pathlib import Path

import pytest

from tests.compat.former import COMMIT, ROOT, check_out


@pytest.fixture(scope="session")
def former() -> Path:
    """Always at the same place: what `sam build` has made of it, and keeps, names that."""
    folder = ROOT / ".local" / "former" / COMMIT
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return check_out(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that names its steps is none at the others: it is left out, not skipped."""
    items[:] = [item for item in items if _is_at_its_step(item)]


def _is_at_its_step(item: pytest.Item) -> bool:
    named = item.get_closest_marker("at_steps")
    if named is None:
        return True
    assert isinstance(item, pytest.Function)
    step = item.callspec.params["step"]
    assert isinstance(step, tuple)
    return step[0] in named.args
