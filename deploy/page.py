"""`python -m deploy.page`, which `make publish` calls: the built web page into a stack's bucket.

Owns which file gets which headers, and the order: a page never names a file that is not there yet.
Files of former builds stay, since pages that are open may still ask for them. Nothing has to be
taken out of CloudFront's caches: what may change is asked for anew each time (`no-cache`), and the
build names everything else by its content.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

_PAGE = Path(__file__).parents[1] / "web" / "dist"
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
_CONTENT_TYPES = {".webmanifest": "application/manifest+json"}
_URL_SUFFIXES = {"cn": "amazonaws.com.cn"}


class NotPublished(Exception):
    """Says in words why the page is not, or not wholly, in its bucket."""


def page_config(outputs: Mapping[str, str], region: str) -> dict[str, str]:
    """What the page reads as /config.json, from the stack's outputs."""
    suffix = _URL_SUFFIXES.get(region.split("-")[0], "amazonaws.com")
    return {
        "http_url": outputs["HttpUrl"],
        "ws_url": outputs["WsUrl"],
        "cognito_url": f"https://cognito-idp.{region}.{suffix}",
        "user_pool_client_id": outputs["UserPoolClientId"],
        "region": region,
    }


def publish(
    session: boto3.Session, stack: str, page: Path, told: Callable[[str], None]
) -> Mapping[str, str]:
    """Put the page that was built into folder `page`, and its config.json, into the bucket of
    `stack`; returns the stack's outputs. Raises NotPublished; to be repeated, then."""
    if not (page / "index.html").is_file():
        raise NotPublished("The page is not built. `make publish` builds it.")
    try:
        outputs = _outputs(session, stack)
        bucket = outputs.get("PageBucketName")
        if bucket is None:
            raise NotPublished(f"The stack {stack} has no bucket for the page. Deploy it again.")
        s3 = session.client("s3")
        config = json.dumps(page_config(outputs, session.region_name), indent=2).encode()
        for key, body in [*_files(page), ("config.json", config), _index(page)]:
            kind, _ = mimetypes.guess_type(key)
            kept = key.startswith("assets/")
            s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=body,
                ContentType=_CONTENT_TYPES.get(
                    Path(key).suffix, kind or "application/octet-stream"
                ),
                CacheControl=_FOR_EVER if kept else _ASK_AGAIN,
            )
            told(f"{key}, {len(body):,} bytes")
    except (BotoCoreError, ClientError) as error:
        raise NotPublished(f"AWS did not take it: {error}") from error
    return outputs


def _outputs(session: boto3.Session, stack: str) -> Mapping[str, str]:
    (found,) = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}


def _files(page: Path) -> list[tuple[str, bytes]]:
    """All but the page itself, which comes last."""
    paths = (path for path in sorted(page.rglob("*")) if path.is_file())
    files = [(path.relative_to(page).as_posix(), path.read_bytes()) for path in paths]
    return [(key, body) for key, body in files if key != "index.html"]


def _index(page: Path) -> tuple[str, bytes]:
    return "index.html", (page / "index.html").read_bytes()


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.page", description=publish.__doc__)
    parser.add_argument("--stack", required=True)
    stack: str = parser.parse_args(arguments).stack
    session = boto3.Session()
    if not session.region_name:
        print(
            "No region is set: name one in AWS_DEFAULT_REGION or in your profile.", file=sys.stderr
        )
        return 1
    try:
        outputs = publish(session, stack, _PAGE, print)
    except NotPublished as reason:
        print(reason, file=sys.stderr)
        return 1
    print(f"The page is at {outputs['PageUrl']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
