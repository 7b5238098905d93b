"""The former release's files, once a session."""

from pathlib import Path

import pytest

from tests.compat.former import check_out


@pytest.fixture(scope="session")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return check_out(tmp_path_factory.mktemp("former"))
