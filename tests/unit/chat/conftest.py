"""A stage for the commands, for each test its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.chat.stage import Stage, stage_at


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with stage_at(tmp_path, monkeypatch) as stage:
        yield stage
