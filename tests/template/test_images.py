"""The fleet's images: pinned, without root, and with all that the worker imports."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.template import ROOT
from local.vocabulary import path as vocabulary_path

DOCKERFILES = ("gpu_service/Dockerfile", "gpu_service/triton/Dockerfile")


def instructions(path: str) -> list[tuple[str, str]]:
    """Each as its keyword and the rest, on one line."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [
        (word, rest.strip()) for line in lines if line for word, _, rest in [line.partition(" ")]
    ]


def of_kind(path: str, keyword: str) -> list[str]:
    return [rest for word, rest in instructions(path) if word == keyword]


@pytest.mark.parametrize("path", DOCKERFILES)
class TestEveryImage:
    def test_is_made_from_what_a_digest_names(self, path: str) -> None:
        arguments = set(of_kind(path, "ARG"))
        for base in of_kind(path, "FROM"):
            pinned = re.fullmatch(r"\S+:(\S+)@\$\{(\w+_DIGEST)\}( AS \w+)?", base)
            assert pinned, base
            assert pinned[1] != "latest"
            # Without a default: whoever builds it has to look.
            assert pinned[2] in arguments

    def test_runs_without_root(self, path: str) -> None:
        users = of_kind(path, "USER")
        assert users == ["1000:1000"]
        words = [word for word, _ in instructions(path)]
        # Nothing after it runs as somebody else.
        assert words.index("USER") > max(i for i, word in enumerate(words) if word == "FROM")
        assert not {"RUN", "COPY"} & set(words[words.index("USER") :])

    def test_tells_how_it_is(self, path: str) -> None:
        assert len(of_kind(path, "HEALTHCHECK")) == 1

    def test_takes_nothing_from_the_network_but_locked_packages(self, path: str) -> None:
        assert not of_kind(path, "ADD")
        for run in of_kind(path, "RUN"):
            assert not re.search(r"\b(curl|wget|apt-get|git)\b", run)
            assert "pip install" not in run or "--require-hashes" in run
            assert "npm" not in run or "npm ci --ignore-scripts" in run


def pins(path: str) -> dict[str, str]:
    text = (ROOT / path).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9_.-]+)(?:\[[a-z,]+\])?==(\S+)", text, re.MULTILINE))


def test_the_worker_has_the_packages_that_the_tests_have() -> None:
    worker, tested = pins("gpu_service/worker/requirements.txt"), pins("requirements/dev.txt")
    assert {"aiohttp", "boto3", "tiktoken", "tritonclient"} <= set(worker)
    assert worker.items() <= tested.items()


def _copied() -> Iterator[tuple[Path, str]]:
    """What the worker's image gets out of this repository, and where it is put."""
    for rest in of_kind(DOCKERFILES[0], "COPY"):
        *sources, target = shlex.split(rest)
        if not sources[0].startswith("--from") and target.startswith("/opt/chatcore"):
            for source in sources:
                yield ROOT / source, target


def test_the_workers_image_has_all_that_its_programs_import(tmp_path: Path) -> None:
    for source, target in _copied():
        place = tmp_path / target.removeprefix("/opt/chatcore").strip("/")
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
    programs = (
        "gpu_service.worker.__main__",
        "gpu_service.worker.pulse",
        "gpu_service.weights.__main__",
    )
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-c", f"import {program}"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    for path in DOCKERFILES:
        for rest in of_kind(path, "COPY"):
            *sources, _ = shlex.split(rest)
            if not sources[0].startswith("--from"):
                for source in sources:
                    assert (ROOT / source).exists(), source
                    assert any(Path(source).is_relative_to(folder) for folder in kept), source


def test_the_vocabulary_is_the_file_that_is_tested() -> None:
    (source,) = [rest for rest in of_kind(DOCKERFILES[0], "COPY") if "--from=vocabulary" in rest]
    name = vocabulary_path(ROOT).relative_to(ROOT / "gpu_service" / "vocabulary")
    assert f"/vocabulary/{name} " in source
    assert f"VOCABULARY_PATH=/opt/chatcore/{name.name}" in of_kind(DOCKERFILES[0], "ENV")[0]


def test_triton_reads_the_model_that_was_fetched_and_answers_this_task_only() -> None:
    start = (ROOT / "gpu_service/triton/start.sh").read_text(encoding="utf-8")
    engine = json.loads(
        (ROOT / "gpu_service/triton/model_repository/vllm/1/model.json").read_text()
    )
    assert f'ln -sfn "/models/$MODEL_PREFIX" {engine["model"]}\n' in start
    for address in ("http", "grpc", "metrics"):
        assert f"--{address}-address=127.0.0.1" in start


def test_the_engine_starts_with_the_model_of_its_prefix(tmp_path: Path) -> None:
    start = (ROOT / "gpu_service/triton/start.sh").read_text(encoding="utf-8")
    for folder in ("/models/", "/tmp/model"):
        start = start.replace(folder, f"{tmp_path}{folder}")
    (tmp_path / "models/gpt/1").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tritonserver").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/told\n')
    (tmp_path / "tritonserver").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MODEL_PREFIX": "gpt/1"}
    # A container that is started again finds the former link.
    for _ in range(2):
        subprocess.run(["sh", "-c", start], check=True, env=environment)
    assert (tmp_path / "tmp/model").resolve() == tmp_path / "models/gpt/1"
    told = (tmp_path / "told").read_text().split()
    assert {"--load-model=vllm", "--model-control-mode=explicit"} <= set(told)
    without = {"PATH": environment["PATH"]}
    assert subprocess.run(["sh", "-c", start], check=False, env=without).returncode != 0
