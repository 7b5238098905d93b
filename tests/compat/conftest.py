"""The former release's files, once a session."""

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
