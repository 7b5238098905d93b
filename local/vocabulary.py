"""The tokenizer's vocabulary as the set-up left it.

Owns where the file is. It must not fetch anything: `make` takes the package from the lock file.
"""

from __future__ import annotations

from pathlib import Path


def path(root: Path) -> Path:
    """The o200k_base vocabulary of the npm package `tiktoken`, a JSON file."""
    packages = root / "gpu_service" / "vocabulary" / "node_modules"
    return packages / "tiktoken" / "encoders" / "o200k_base.json"
