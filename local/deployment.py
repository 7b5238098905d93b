"""The deployed template: `sam build` and `sam deploy` against the emulator, and the outputs.

Owns what is built when, and how the stack's AWS-shaped URLs are reached on this machine. It must
not start processes that stay. Build and deploy are skipped for a fingerprint (template, functions,
layers, state machines, parameters) that is already there.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from local import gaps
from local.ministack import aws_environment, session
from local.ports import Ports
from local.processes import clean_environment, run_to_end

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

_SOURCES = (
    "template.yaml",
    "gpu_service/template.yaml",
    "operations/template.yaml",
    "samconfig.toml",
    "functions",
    "layers",
    "security",
    "statemachines",
)
_FINGERPRINT_TAG = "chatcore:fingerprint"
_STANDING = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
_WEBSOCKET_STAGE = "v1"


@dataclass(frozen=True)
class LocalUrls:
    """The stack's URLs as they are reached on this machine; none ends in a slash."""

    http_url: str
    ws_url: str
    callback_url: str

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, str], aws_endpoint_url: str) -> LocalUrls:
        """The outputs name `{api id}.execute-api.…`; the emulator serves them by path."""
        apis = f"{aws_endpoint_url}/_aws/execute-api"
        http_api = _first_label(outputs["HttpUrl"])
        ws_api = _first_label(outputs["WsUrl"])
        stage_url = f"{apis}/{ws_api}/{_WEBSOCKET_STAGE}"
        return cls(
            http_url=f"{apis}/{http_api}/$default",
            ws_url=stage_url.replace("http", "ws", 1),
            callback_url=stage_url,
        )


def _first_label(url: str) -> str:
    return (urlsplit(url).hostname or "").partition(".")[0]


class Deployment:
    """One stack of the template on the emulator."""

    def __init__(
        self, *, root: Path, home: Path, logs: Path, sam: Path, pip: Path, ports: Ports, name: str
    ) -> None:
        """`home` keeps the build; `sam` and `pip` are environments that hold these."""
        self.stack_name = f"chatcore-{name}"
        self._root = root
        self._aws_endpoint_url = ports.aws_endpoint_url
        self._build = home / "build"
        # One cache for each Python: SAM's own key does not tell the layers of two versions apart.
        self._cache = home / f"build-cache-{_python_version()}"
        self._logs = logs
        self._sam = sam / "bin" / "sam"
        apis = f"{ports.aws_endpoint_url}/_aws/execute-api"
        self._parameters = {
            "LambdaRuntime": f"python{_python_version()}",
            "WebOrigin": ports.web_url,
            # The template fills in the id of the WebSocket API, unknown before the first deploy.
            "CallbackUrl": f"{apis}/{{apiId}}/{_WEBSOCKET_STAGE}",
            "ReservedConcurrency": "enabled",
            # The emulator refuses a template with saved queries in it.
            "Console": "disabled",
        }
        self._environment = clean_environment(
            {
                **aws_environment(ports.aws_endpoint_url),
                "SAM_CLI_TELEMETRY": "0",
                "LAMBDA_PYTHON": _python_version(),
                # Functions run in the emulator's interpreter, on this machine's C library.
                "LAMBDA_PLATFORM": "host",
                "PATH": f"{pip / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            }
        )
        self._cloudformation = session().client(
            "cloudformation", endpoint_url=ports.aws_endpoint_url
        )
        self.fingerprint = fingerprint(root, self._parameters)

    def build(self, heard: Callable[[str], None]) -> bool:
        """Build what changed; False when this build is already there. Raises ProcessFailure."""
        stamp = self._build / ".fingerprint"
        if stamp.is_file() and stamp.read_text() == self.fingerprint:
            return False
        stamp.unlink(missing_ok=True)
        self._run_sam(
            "build",
            ["--build-dir", str(self._build), "--cache-dir", str(self._cache)],
            [f"LambdaRuntime={self._parameters['LambdaRuntime']}"],
            heard,
        )
        stamp.write_text(self.fingerprint)
        return True

    def deploy(self, heard: Callable[[str], None]) -> bool:
        """Deploy the build; False when the kept state holds it already. Raises ProcessFailure."""
        deployed = self._deploy_changes(heard)
        gaps.close(
            self._build / "template.yaml",
            self._parameters,
            self._physical_ids(),
            self._aws_endpoint_url,
        )
        return deployed

    def outputs(self) -> dict[str, str]:
        """The stack's outputs by name."""
        stack = self._stack()
        listed = stack.get("Outputs", []) if stack is not None else []
        return {output["OutputKey"]: output["OutputValue"] for output in listed}

    def _deploy_changes(self, heard: Callable[[str], None]) -> bool:
        stack = self._stack()
        if stack is not None and stack["StackStatus"] in _STANDING:
            tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
            if tags.get(_FINGERPRINT_TAG) == self.fingerprint:
                return False
        self._run_sam(
            "deploy",
            [
                *("--stack-name", self.stack_name),
                *("--template-file", str(self._build / "template.yaml")),
                *("--tags", f"{_FINGERPRINT_TAG}={self.fingerprint}"),
            ],
            [f"{name}={value}" for name, value in self._parameters.items()],
            heard,
        )
        return True

    def _run_sam(
        self, verb: str, options: list[str], parameters: list[str], heard: Callable[[str], None]
    ) -> None:
        run_to_end(
            f"sam {verb}",
            [
                *(str(self._sam), verb, "--config-env", "local"),
                # SAM would look for it beside the built template.
                *("--config-file", str(self._root / "samconfig.toml")),
                *options,
                *("--parameter-overrides", *parameters),
            ],
            environment=self._environment,
            cwd=self._root,
            log=self._logs / f"sam-{verb}.log",
            heard=heard,
        )

    def _physical_ids(self) -> dict[str, str]:
        pages = self._cloudformation.get_paginator("list_stack_resources")
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages.paginate(StackName=self.stack_name)
            for resource in page["StackResourceSummaries"]
            if "PhysicalResourceId" in resource
        }

    def _stack(self) -> StackTypeDef | None:
        try:
            found = self._cloudformation.describe_stacks(StackName=self.stack_name)
        except ClientError as error:
            # CloudFormation's only word for a stack that does not exist.
            if error.response["Error"]["Code"] == "ValidationError":
                return None
            raise
        return found["Stacks"][0]


def fingerprint(root: Path, parameters: Mapping[str, str]) -> str:
    """A hash of everything that a build and a deploy are made of."""
    digest = hashlib.sha256()
    for path in _source_files(root):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    for name, value in sorted(parameters.items()):
        digest.update(f"{name}={value}\0".encode())
    return digest.hexdigest()[:32]


def _source_files(root: Path) -> Iterator[Path]:
    for source in _SOURCES:
        path = root / source
        if path.is_file():
            yield path
            continue
        for inner in sorted(path.rglob("*")):
            if inner.is_file() and "__pycache__" not in inner.parts:
                yield inner


def _python_version() -> str:
    # All environments are made of one interpreter, so this one's version is the emulator's.
    return f"{sys.version_info.major}.{sys.version_info.minor}"
