"""The layers' sources: what is locked, what is left to the runtime, and that the parts agree."""

import re

from deploy.template import ROOT, TEMPLATE, of_type, properties

FOLDER = ROOT / "layers" / "dependencies"
LOCK = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
PINS = re.findall(r"^([a-z0-9-]+)==\S+(.*(?:\n +--hash=\S+(?: \\)?)*)", LOCK, re.MULTILINE)


def _wanted() -> set[str]:
    lines = (FOLDER / "requirements.in").read_text(encoding="utf-8").splitlines()
    return {re.split(r"[\[=<>~ ;#]", line)[0].lower() for line in lines if line.strip()}


def test_every_package_is_pinned_with_hashes() -> None:
    assert PINS
    for name, rest in PINS:
        assert "--hash=sha256:" in rest, name


def test_lock_holds_what_is_asked_for() -> None:
    assert _wanted() - {""} <= {name for name, _ in PINS}


def test_what_the_runtime_brings_is_not_in_the_layer() -> None:
    brought = {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"}
    assert not brought & {name for name, _ in PINS}


def test_lock_names_no_index() -> None:
    assert "index-url" not in LOCK.replace("--no-emit-index-url", "")
    assert "://" not in LOCK


def test_layers_are_built_by_the_target_that_sam_calls() -> None:
    for name, body in of_type("AWS::Serverless::LayerVersion").items():
        assert body["Metadata"]["BuildMethod"] == "makefile"
        makefile = ROOT / properties(name)["ContentUri"] / "Makefile"
        assert f"\nbuild-{name}:\n" in makefile.read_text(encoding="utf-8")


def test_layer_is_built_by_default_for_the_default_runtime() -> None:
    makefile = (FOLDER / "Makefile").read_text(encoding="utf-8")
    version = TEMPLATE["Parameters"]["LambdaRuntime"]["Default"].removeprefix("python")
    assert f"\nLAMBDA_PYTHON ?= {version}\n" in makefile
