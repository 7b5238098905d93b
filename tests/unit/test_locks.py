"""Every package that is installed is of one version and of known bytes."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = [
    *sorted((ROOT / "requirements").glob("*.txt")),
    ROOT / "layers/dependencies/requirements.txt",
]
PACKAGE_LOCKS = [ROOT / "web/package-lock.json", ROOT / "gpu_service/vocabulary/package-lock.json"]


def entries(lock: Path) -> list[str]:
    """Each requirement with its hashes, on one line."""
    text = re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: f"{lock.parent.name}/{lock.name}")
def test_every_requirement_is_of_one_version_with_its_hashes(lock: Path) -> None:
    found = entries(lock)
    assert found
    for entry in found:
        # No URL, no folder, no option that would look elsewhere.
        assert re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[^\s;]+ ", entry), entry[:80]
        assert re.search(r" --hash=sha256:[0-9a-f]{64}(\s|$)", entry), entry[:80]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: f"{lock.parent.name}/{lock.name}")
def test_every_lock_is_of_a_list_that_is_there(lock: Path) -> None:
    assert lock.with_suffix(".in").is_file()
    names = {path.stem for path in (ROOT / "requirements").glob("*.in")}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (locked,) = re.findall(r"@for name in ([a-z ]+); do", makefile)
    assert set(locked.split()) == names


@pytest.mark.parametrize("lock", PACKAGE_LOCKS, ids=lambda lock: lock.parent.name)
def test_every_package_of_node_has_its_integrity(lock: Path) -> None:
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    # The first is the project itself.
    others = {name: package for name, package in packages.items() if name}
    assert others
    for name, package in others.items():
        assert re.match(r"sha512-[A-Za-z0-9+/]{86}==$", package["integrity"]), name
        assert "link" not in package, name


def test_installing_asks_for_the_hashes() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = re.findall(
        r"^\t.*(?:pip install|pip sync|npm (?:ci|install)).*(?:\n.*)?", makefile, re.M
    )
    assert len(installs) == 5
    for install in installs:
        asked = "--require-hashes" in install or "npm ci " in install
        assert asked or "--package-lock-only" in install, install
