"""The web page into the bucket of the running stack."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest

from deploy.page import NotPublished, page_config, publish
from tests.cloud import Cloud

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("puts another page into the stack's bucket"),
]


@pytest.fixture
def session(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.endpoints.aws_endpoint_url)
    return boto3.Session("test", "test", region_name=cloud.endpoints.region)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    files = {
        "index.html": "<!doctype html>",
        "assets/index-1.js": "1",
        "manifest.webmanifest": "{}",
        "icon.svg": "<svg/>",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_page_and_its_settings_are_in_the_bucket(
    cloud: Cloud, session: boto3.Session, page: Path
) -> None:
    told: list[str] = []
    outputs = publish(session, cloud.endpoints.stack_name, page, told.append)
    s3 = session.client("s3")
    bucket = outputs["PageBucketName"]

    def headers(key: str) -> tuple[str, str]:
        found = s3.head_object(Bucket=bucket, Key=key)
        return found["ContentType"], found["CacheControl"]

    assert headers("index.html") == ("text/html", "no-cache")
    assert headers("config.json") == ("application/json", "no-cache")
    assert headers("manifest.webmanifest") == ("application/manifest+json", "no-cache")
    assert headers("icon.svg") == ("image/svg+xml", "no-cache")
    script, kept = headers("assets/index-1.js")
    assert script.endswith("/javascript")
    assert kept.endswith("immutable")
    config = json.loads(s3.get_object(Bucket=bucket, Key="config.json")["Body"].read())
    assert config == page_config(cloud.outputs, cloud.endpoints.region)
    assert set(config) == set(cloud.endpoints.page_config)
    # The page comes last: what it names is there before it.
    assert told[-1].startswith("index.html")
    assert outputs["PageUrl"].startswith("https://")


def test_a_later_build_leaves_the_former_ones_files(
    cloud: Cloud, session: boto3.Session, page: Path
) -> None:
    stack = cloud.endpoints.stack_name
    bucket = publish(session, stack, page, lambda _: None)["PageBucketName"]
    (page / "assets" / "index-1.js").rename(page / "assets" / "index-2.js")
    publish(session, stack, page, lambda _: None)
    s3 = session.client("s3")
    assert s3.get_object(Bucket=bucket, Key="assets/index-1.js")["Body"].read() == b"1"
    assert s3.get_object(Bucket=bucket, Key="assets/index-2.js")["Body"].read() == b"1"


def test_what_is_missing_is_told(cloud: Cloud, session: boto3.Session, page: Path) -> None:
    with pytest.raises(NotPublished, match="no-such-stack"):
        publish(session, "no-such-stack", page, lambda _: None)
    (page / "index.html").unlink()
    with pytest.raises(NotPublished, match="not built"):
        publish(session, cloud.endpoints.stack_name, page, lambda _: None)
