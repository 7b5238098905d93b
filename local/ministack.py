"""The AWS emulator: MiniStack, with its state kept between runs.

Owns its command line, its environment and its clients. It must not deploy anything. The state is
written when it ends on SIGTERM; a SIGKILL loses what came since its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import boto3

from local.processes import Service, clean_environment

REGION = "us-east-1"
_ACCESS_KEY = "test"


def aws_environment(endpoint_url: str) -> dict[str, str]:
    """What points the SDKs and the SAM CLI to the emulator."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": _ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
    }


def session() -> boto3.Session:
    """Clients' credentials for the emulator; give each client the emulator's endpoint_url."""
    return boto3.Session(
        aws_access_key_id=_ACCESS_KEY, aws_secret_access_key=_ACCESS_KEY, region_name=REGION
    )


def service(
    venv: Path, home: Path, port: int, log: Path, settings: Mapping[str, str] | None = None
) -> Service:
    """The emulator on a loopback port, with its state under `home`. settings: more of its environment."""
    scratch = home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    environment = clean_environment(
        {
            **aws_environment(f"http://localhost:{port}"),
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "PERSIST_STATE": "1",
            "STATE_DIR": str(home / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(home / "s3"),
            "TMPDIR": str(scratch),
            "LAMBDA_EXECUTOR": "local",
            # It would clean up containers of its own making at every start: no Docker here.
            "DOCKER_HOST": f"unix://{scratch / 'no-docker.sock'}",
            # Listeners that nobody here asks for.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            **(settings or {}),
        }
    )
    return Service(
        "MiniStack",
        [str(venv / "bin" / "ministack")],
        environment=environment,
        cwd=home,
        log=log,
        ready_url=f"http://127.0.0.1:{port}/_ministack/ready",
        start_timeout_s=60,
        # Its state is written after the last open connection has gone.
        stop_timeout_s=30,
    )
