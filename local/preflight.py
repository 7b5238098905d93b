"""What a machine must have, checked before anything is installed.

Owns the list of required tools, the choice of the Python interpreter and the ports of the local
cloud. It says what is missing in one line each, with the remedy. It must not install or start
anything but, for the browser tests and as root on Debian, Debian's own `chromium` package.

Standard library only, and written so that Python 3.6 can still run it: an interpreter that is too
old has to be able to say so.
"""

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

# Later ones have no numpy 1, and Triton's Python backend crashes with numpy 2.
PYTHON_VERSIONS = ((3, 11), (3, 12))
PYTHON_WORDS = "Python 3.11 or 3.12"
# The least minor version of each major one that the web page's build runs on; all from 24 on do.
NODE_MINORS = {20: 19, 22: 13}
NODE_MAJOR = 24
NODE_WORDS = "Node.js 20 (from 20.19), 22 (from 22.13) or ≥ 24"
GLIBC = (2, 35)


class PortSpec(NamedTuple):
    """`variable` of the environment changes the `default`; `user` is who listens, in words."""

    variable: str
    default: int
    user: str


PORTS = (
    PortSpec("MINISTACK_PORT", 4566, "MiniStack"),
    PortSpec("TRITON_HTTP_PORT", 8000, "Triton over HTTP"),
    PortSpec("TRITON_GRPC_PORT", 8001, "Triton over gRPC"),
    PortSpec("TRITON_METRICS_PORT", 8002, "Triton's metrics"),
    PortSpec("WEB_PORT", 8400, "the web page"),
)

CHROMIUM_NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")

# What each make target needs besides an interpreter; a target that is not named needs just that.
NEEDS: Dict[str, Tuple[str, ...]] = {
    "run": ("triton", "node", "ports"),
    "setup": ("triton", "node"),
    "test": ("triton", "node", "chromium"),
    "check": ("node",),
    "audit": ("node",),
    "bench-ttft": ("triton", "node"),
}

# Run by each candidate interpreter: its version, its path, whether it can make environments, and
# the shared library that Triton's Python backend loads (empty when it has none).
PROBE = """
import os, sys, sysconfig
try:
    import ensurepip, venv
    environments = "yes"
except ImportError:
    environments = "no"
name = sysconfig.get_config_var("INSTSONAME") or ""
folder = sysconfig.get_config_var("LIBDIR") or ""
library = os.path.join(folder, name)
found = library if ".so" in name and os.path.exists(library) else ""
print("%d.%d|%s|%s|%s" % (sys.version_info[0], sys.version_info[1], sys.executable,
                          environments, found))
"""


class Interpreter(NamedTuple):
    """`library`: the path of its shared library, empty when it has none."""

    version: Tuple[int, int]
    path: str
    environments: bool
    library: str


class Unfit(Exception):
    """The machine lacks something; the text names it and the remedy, in one line."""


def _output(command: Sequence[str]) -> Optional[str]:
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def inspect_interpreter(name: str) -> Optional[Interpreter]:
    """The interpreter behind a name or path; None when there is none that runs."""
    answer = _output([name, "-c", PROBE])
    if answer is None:
        return None
    version, path, environments, library = answer.splitlines()[-1].split("|")
    major, minor = version.split(".")
    return Interpreter((int(major), int(minor)), path, environments == "yes", library)


def check_interpreter(found: Interpreter, triton: bool) -> None:
    """Raises Unfit when the interpreter cannot serve; `triton`: it also has to run the engine."""
    words = "Python %d.%d" % found.version
    if found.version not in PYTHON_VERSIONS:
        fault = "old" if found.version < PYTHON_VERSIONS[0] else "new"
        raise Unfit(
            "%s (%s) is too %s: chatcore runs on %s. Install one of them, or name one: "
            "make PYTHON=/path/to/python3.12 …" % (words, found.path, fault, PYTHON_WORDS)
        )
    if not found.environments:
        raise Unfit(
            "%s (%s) cannot make environments: apt-get install python%d.%d-venv"
            % (words, found.path, *found.version)
        )
    if triton and not found.library:
        raise Unfit(
            "%s (%s) lacks the shared library that Triton's Python backend loads: "
            "apt-get install libpython%d.%d, or build that Python with --enable-shared"
            % (words, found.path, *found.version)
        )


def choose_interpreter(triton: bool) -> str:
    """The path of the newest interpreter that fits, or of the one that PYTHON names."""
    named = os.environ.get("PYTHON")
    names = [named] if named else ["python%d.%d" % v for v in reversed(PYTHON_VERSIONS)]
    if not named:
        names.append("python3")
    refusals: List[Unfit] = []
    for name in names:
        found = inspect_interpreter(name)
        if found is None:
            continue
        try:
            check_interpreter(found, triton)
        except Unfit as refusal:
            refusals.append(refusal)
        else:
            return found.path
    if refusals:
        raise refusals[0]
    if named:
        raise Unfit("PYTHON=%s is no Python that runs: name one of %s" % (named, PYTHON_WORDS))
    raise Unfit(
        "Python is missing: install %s (apt-get install python3 python3-venv)" % PYTHON_WORDS
    )


def check_node() -> None:
    """Raises Unfit unless a Node.js that serves, and npm, run."""
    remedy = "install %s with npm (https://nodejs.org/en/download)" % NODE_WORDS
    version = _output(["node", "--version"])
    if version is None:
        raise Unfit("Node.js is missing: " + remedy)
    match = re.match(r"v(\d+)\.(\d+)\.", version)
    major, minor = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
    if major < NODE_MAJOR and (major not in NODE_MINORS or minor < NODE_MINORS[major]):
        raise Unfit("Node.js %s is too old: %s" % (version, remedy))
    if _output(["npm", "--version"]) is None:
        raise Unfit("npm is missing: it comes with Node.js; " + remedy)


def check_glibc() -> None:
    """Raises Unfit on a C library that Triton's wheel was not built for."""
    if platform.machine() != "x86_64":
        raise Unfit(
            "This machine is %s: Triton's wheel and the Lambda layers are for x86-64 Linux"
            % platform.machine()
        )
    try:
        words = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        words = ""
    match = re.match(r"glibc (\d+)\.(\d+)", words)
    if match is None or (int(match.group(1)), int(match.group(2))) < GLIBC:
        raise Unfit(
            "The C library (%s) is too old for Triton's wheel: it needs glibc ≥ %d.%d, as in "
            "Debian 12 or Ubuntu 22.04" % (words or "not glibc", *GLIBC)
        )


def port_number(spec: PortSpec, environment: Dict[str, str]) -> int:
    """The port that the environment names for this user, or its default."""
    text = environment.get(spec.variable) or str(spec.default)
    if not re.match(r"^\d{1,5}$", text) or not 1 <= int(text) <= 65535:
        raise Unfit("%s=%s is no port: give a number from 1 to 65535" % (spec.variable, text))
    return int(text)


def is_port_free(port: int) -> bool:
    """Whether nothing listens on this port of the loopback interface."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # So that the last minute's closed connections do not count as a listener.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except PermissionError:
            raise Unfit("Port %d may not be used by this account: choose one above 1023" % port)
        except OSError:
            if family == socket.AF_INET or _answers(address, port):
                return False
    return True


def _answers(address: str, port: int) -> bool:
    # A machine without IPv6 refuses the bind as well; only an answer says that the port is in use.
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def check_port(spec: PortSpec, port: int) -> None:
    """Raises Unfit when the port is in use; the message names the variable that changes it."""
    if not is_port_free(port):
        other = port + 10000 if port < 50000 else port - 10000
        raise Unfit(
            "Port %d (%s) is in use: end what listens there (`ss -ltnp` shows it), or choose "
            "another: make run %s=%d" % (port, spec.user, spec.variable, other)
        )


def check_ports() -> None:
    """Raises Unfit for the first port of the local cloud that is in use or named twice."""
    users: Dict[int, PortSpec] = {}
    for spec in PORTS:
        port = port_number(spec, dict(os.environ))
        if port in users:
            raise Unfit(
                "%s and %s are both %d: give each a port of its own"
                % (users[port].variable, spec.variable, port)
            )
        users[port] = spec
        check_port(spec, port)


def find_chromium() -> Optional[str]:
    """A Chromium or Chrome that runs: the one that CHROMIUM names, or the first on the PATH."""
    named = os.environ.get("CHROMIUM")
    for name in (named,) if named else CHROMIUM_NAMES:
        path = shutil.which(name)
        if path is not None and _output([path, "--version"]) is not None:
            return path
    return None


def _is_debian() -> bool:
    try:
        with open("/etc/os-release") as lines:
            return any(line.strip() == "ID=debian" for line in lines)
    except OSError:
        return False


def ensure_chromium() -> None:
    """Raises Unfit without a browser for the end-to-end tests, unless Debian's can be installed."""
    if find_chromium() is not None:
        return
    named = os.environ.get("CHROMIUM")
    if named:
        raise Unfit("CHROMIUM=%s is no browser that runs: name a Chromium or Chrome" % named)
    installable = _is_debian() and os.geteuid() == 0 and shutil.which("apt-get") is not None
    if installable:
        print("==> Chromium is missing: installing Debian's package for the browser tests")
        sys.stdout.flush()
        quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
        subprocess.call(["apt-get", "update", "-qq"], env=quiet)
        subprocess.call(install, env=quiet)
        if find_chromium() is not None:
            return
    raise Unfit(
        "Chromium is missing, which the browser tests drive: apt-get install chromium on Debian; "
        "on Ubuntu install Google Chrome (its chromium is a snap); or name one: CHROMIUM=/path"
    )


def check_workers() -> None:
    """Raises Unfit when WORKERS is set and is no count of workers."""
    text = os.environ.get("WORKERS", "1")
    if not re.match(r"^[1-9]\d?$", text):
        raise Unfit("WORKERS=%s is no count: give a number from 1 to 99" % text)


def _write_if_changed(path: str, text: str) -> None:
    # Make compares times: an unchanged interpreter must not make its environments old.
    try:
        with open(path) as old:
            if old.read() == text:
                return
    except OSError:
        pass
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(path, "w") as new:
        new.write(text)


def main(arguments: Sequence[str]) -> int:
    """`preflight.py FILE [TARGET …]`: checks for these targets, leaves the interpreter in FILE."""
    interpreter_file, targets = arguments[0], arguments[1:]
    needs = {need for target in targets for need in NEEDS.get(target, ())}
    try:
        interpreter = choose_interpreter(triton="triton" in needs)
        if "triton" in needs:
            check_glibc()
        if "node" in needs:
            check_node()
        if "ports" in needs:
            check_workers()
            check_ports()
        if "chromium" in needs:
            ensure_chromium()
    except Unfit as unfit:
        sys.stderr.write("chatcore: %s\n" % unfit)
        return 1
    _write_if_changed(interpreter_file, interpreter + "\n")
    return 0


if __name__ == "__main__":
    # An old or bare interpreter may have an ASCII console; the messages are not all ASCII.
    if (sys.stderr.encoding or "").lower().replace("-", "") != "utf8":
        sys.stderr = open(sys.stderr.fileno(), "w", encoding="utf-8", closefd=False)
    sys.exit(main(sys.argv[1:]))
