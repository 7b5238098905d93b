"""Owns the former release: which commit it is, and its files in a folder of their own.

It is taken from this repository's history, so the tests that need it fail where the history does not
reach back to it: a clone must be whole. Move COMMIT on with every release that is deployed anywhere.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

COMMIT = "dbbbe08e77e3ecbb016507ea784dd4fdff567321"
MADE = "2026-11-28"
"""The day of COMMIT, for people."""


class NoFormerRelease(Exception):
    """Says in words why the former release cannot be had."""


def check_out(folder: Path, commit: str = COMMIT) -> Path:
    """The files of a commit, in `folder`, without a work tree of git's. Raises NoFormerRelease."""
    done = _git("archive", "--format=tar", commit)
    if done.returncode != 0:
        # A shallow clone: where it came from may still be there to be asked.
        _git("fetch", "--quiet", "--depth=1", "origin", commit)
        done = _git("archive", "--format=tar", commit)
    if done.returncode != 0:
        raise NoFormerRelease(
            f"The former release ({commit}) is not in this clone's history: clone it whole, or run "
            f"`git fetch --unshallow`. git says: {done.stderr.decode(errors='replace').strip()}"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    # Whoever owns the folder: only this repository is read, and none of its hooks run.
    command = ["git", "-c", f"safe.directory={ROOT}", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=120)


def asyncapi(release: Path) -> dict[str, Any]:
    """A release's description of its frames."""
    document: dict[str, Any] = yaml.safe_load((release / "docs" / "asyncapi.yaml").read_text())
    return document


def examples(document: dict[str, Any], tag: str) -> dict[str, dict[str, Any]]:
    """An example of each frame, by its name. tag: "type" for events, "action" for actions."""
    found = {}
    for message in document["components"]["messages"].values():
        for example in message["examples"]:
            if tag in example["payload"]:
                found[example["payload"][tag]] = example["payload"]
    return found
