"""Runs the page's own TypeScript in Node: a script of web/bench/ is given JSON and answers in JSON.

Owns building and running. It must not know what a script does.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from local.stack import ROOT


def run(script: str, given: object) -> Any:  # noqa: ANN401 - the script's own JSON
    """What web/bench/<script>.ts answers. What it tells meanwhile is passed on."""
    with tempfile.TemporaryDirectory() as folder:
        built = subprocess.run(
            ["npx", "vite", "build", "--ssr", f"bench/{script}.ts", "--outDir", folder],
            cwd=ROOT / "web",
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise SystemExit(f"chatcore: web/bench/{script}.ts could not be built:\n{built.stderr}")
        # Built into a folder of its own, it would not find the packages that it does not hold.
        packages = Path(folder) / "node_modules"
        packages.symlink_to(ROOT / "web" / "node_modules", target_is_directory=True)
        ran = subprocess.run(
            ["node", str(Path(folder) / f"{script}.js")],
            input=json.dumps(given),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(ran.stdout)
