"""How the real Triton server of the PyPI wheel nvidia-pytriton is started on this machine.

Owns the command line, the environment and the backends folder. It starts nothing and waits for
nothing: whoever runs the processes does. It must import nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Answers, as one JSON object, what only the environment's own interpreter knows.
_ASK_INTERPRETER = """
import json, sys, sysconfig
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "packages": sysconfig.get_path("platlib"),
    "shared_library": sysconfig.get_config_var("INSTSONAME"),
    "library_folders": [sysconfig.get_config_var("LIBDIR"), sys.base_prefix + "/lib"],
}))
"""

_EXIT_TIMEOUT_S = 5


class TritonSetupError(Exception):
    """The environment cannot run Triton; the message says what to do."""


@dataclass(frozen=True)
class _Installation:
    """Where the parts of the wheel and of its interpreter are."""

    server: Path
    wheel_libraries: Path
    python_backend: Path
    python_stub: Path
    python_library_folder: Path


def command(
    venv: Path, repository: Path, work_dir: Path, http_port: int, grpc_port: int, metrics_port: int
) -> tuple[list[str], dict[str, str]]:
    """The argument list that runs Triton with the demo engine, and what to add to its environment.

    `venv` is a virtual environment with requirements/triton.txt, `repository` the model repository.
    The backends folder and the log `triton.log` are written under `work_dir`, which each server
    needs for itself. Ready when GET /v2/health/ready of the HTTP port answers 200.

    Raises TritonSetupError.
    """
    installation = _find(venv)
    backends = _assemble_backends(installation, work_dir / "backends")
    arguments = [
        str(installation.server),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        # The repository also holds the production model, which needs a GPU.
        "--model-control-mode=explicit",
        "--load-model=demo",
        "--disable-auto-complete-config",
        # Two servers on one machine must not share the names of their memory.
        f"--backend-config=python,shm-region-prefix-name=chatcore-{grpc_port}-",
        "--http-address=127.0.0.1",
        f"--http-port={http_port}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={grpc_port}",
        f"--metrics-port={metrics_port}",
        "--allow-gpu-metrics=false",
        f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
        f"--log-file={work_dir / 'triton.log'}",
    ]
    # The interpreter's own libpython comes first: that of another patch level fails in odd ways.
    libraries = [str(installation.python_library_folder), str(installation.wheel_libraries)]
    environment = {
        "LD_LIBRARY_PATH": _joined(libraries, "LD_LIBRARY_PATH"),
        # The Python backend finds the environment by the first python on the path.
        "PATH": _joined([str(venv / "bin")], "PATH"),
    }
    return arguments, environment


def _find(venv: Path) -> _Installation:
    interpreter = venv / "bin" / "python"
    if not interpreter.exists():
        raise TritonSetupError(
            f"no virtual environment at {venv}: create it and install requirements/triton.txt"
        )
    asked = subprocess.run(
        [str(interpreter), "-c", _ASK_INTERPRETER], check=True, capture_output=True, text=True
    )
    facts = json.loads(asked.stdout)
    packages = Path(facts["packages"])
    wheel = packages / "pytriton" / "tritonserver"
    installation = _Installation(
        server=wheel / "bin" / "tritonserver",
        wheel_libraries=packages / "nvidia_pytriton.libs",
        python_backend=wheel / "backends" / "python",
        python_stub=wheel
        / "python_backend_stubs"
        / facts["version"]
        / "triton_python_backend_stub",
        python_library_folder=_library_folder(facts["library_folders"], facts["shared_library"]),
    )
    for part in (installation.server, installation.python_backend, installation.python_stub):
        if not part.exists():
            raise TritonSetupError(
                f"{part} is missing: install requirements/triton.txt into {venv}"
            )
    return installation


def _library_folder(candidates: list[str], shared_library: str) -> Path:
    for folder in map(Path, candidates):
        if (folder / shared_library).is_file():
            return folder
    raise TritonSetupError(
        f"{shared_library} is in none of {', '.join(candidates)}: Triton's Python backend needs an "
        "interpreter that was built with a shared library"
    )


def _assemble_backends(installation: _Installation, backends: Path) -> Path:
    """Put the Python backend and the stub of this Python version into one folder."""
    target = backends / "python"
    shutil.copytree(installation.python_backend, target, dirs_exist_ok=True)
    shutil.copy2(installation.python_stub, target)
    return backends


def _joined(folders: list[str], variable: str) -> str:
    inherited = os.environ.get(variable)
    return os.pathsep.join([*folders, inherited] if inherited else folders)
