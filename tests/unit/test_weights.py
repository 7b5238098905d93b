"""The model's files: brought once, whole, and only from their folder. S3 is moto's."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from chatcore.adapters import aws
from chatcore.domain.errors import Misconfigured, StoreUnavailable
from gpu_service.weights.__main__ import main
from gpu_service.weights.fetch import fetch, s3_client

BUCKET = "models"
PREFIX = "gpt-oss-20b/2"
FILES = {
    "config.json": b'{"model_type": "gpt_oss"}',
    "model-00001-of-00002.safetensors": b"1" * 70_000,
    "original/tokenizer.json": b"{}",
}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client, with a bucket that holds the model and a neighbour that is not to be touched."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client: Any = s3_client()
        client.create_bucket(Bucket=BUCKET)
        for name, content in FILES.items():
            client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}", Body=content)
        client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/original/", Body=b"")
        client.put_object(Bucket=BUCKET, Key="gpt-oss-20b/20/config.json", Body=b"another's")
        yield client
    aws.session.cache_clear()


def read(models: Path) -> dict[str, bytes]:
    folder = models / PREFIX
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".fetched.json"
    }


def test_the_folder_is_there_as_in_the_bucket(s3: Any, tmp_path: Path) -> None:
    done = fetch(s3, BUCKET, PREFIX, tmp_path)
    assert read(tmp_path) == FILES
    size = sum(map(len, FILES.values()))
    assert (done.files, done.size_bytes, done.fetched_bytes) == (3, size, size)
    assert [path.name for path in (tmp_path / "gpt-oss-20b").iterdir()] == ["2"]


def test_what_is_there_is_not_brought_again(s3: Any, tmp_path: Path) -> None:
    fetch(s3, BUCKET, PREFIX, tmp_path)
    assert fetch(s3, BUCKET, PREFIX, tmp_path).fetched_bytes == 0


@pytest.mark.parametrize("spoiled", ["cut short", "gone", "changed in the bucket", "never noted"])
def test_what_is_not_whole_or_not_the_same_is_brought_again(
    s3: Any, tmp_path: Path, spoiled: str
) -> None:
    fetch(s3, BUCKET, PREFIX, tmp_path)
    config = tmp_path / PREFIX / "config.json"
    expected = dict(FILES)
    match spoiled:
        case "cut short":
            config.write_bytes(b"{")
        case "gone":
            config.unlink()
        case "changed in the bucket":
            # Of the same length.
            expected["config.json"] = FILES["config.json"].replace(b"oss", b"OSS")
            s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/config.json", Body=expected["config.json"])
        case _:
            notes = tmp_path / PREFIX / ".fetched.json"
            etags = json.loads(notes.read_text())
            del etags[f"{PREFIX}/config.json"]
            notes.write_text(json.dumps(etags))
    done = fetch(s3, BUCKET, PREFIX, tmp_path)
    assert read(tmp_path) == expected
    assert done.fetched_bytes == len(FILES["config.json"])


def test_a_killed_fetch_leaves_no_file_that_is_taken_for_whole(s3: Any, tmp_path: Path) -> None:
    folder = tmp_path / PREFIX
    folder.mkdir(parents=True)
    (folder / "config.json.part").write_bytes(b"{")
    (folder / ".fetched.json").write_text('{"half a')
    fetch(s3, BUCKET, PREFIX, tmp_path)
    assert read(tmp_path) == FILES


def test_tasks_of_one_machine_fetch_one_after_the_other(s3: Any, tmp_path: Path) -> None:
    bytes_fetched: list[int] = []

    def run() -> None:
        bytes_fetched.append(fetch(s3, BUCKET, PREFIX, tmp_path).fetched_bytes)

    tasks = [threading.Thread(target=run) for _ in range(3)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert sorted(bytes_fetched) == [0, 0, sum(map(len, FILES.values()))]


def test_an_empty_folder_and_a_name_that_leads_out_of_it_are_refused(
    s3: Any, tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match="nothing under gpt-oss-20b/3/"):
        fetch(s3, BUCKET, "gpt-oss-20b/3", tmp_path)
    s3.put_object(Bucket=BUCKET, Key="evil/../../etc/passwd", Body=b"")
    with pytest.raises(Misconfigured, match="passwd"):
        fetch(s3, BUCKET, "evil", tmp_path)


def test_a_bucket_that_is_not_there_is_trouble(s3: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        fetch(s3, "nobodys", PREFIX, tmp_path)


def test_the_program_says_by_its_code_how_it_went(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_BUCKET", BUCKET)
    monkeypatch.setenv("MODEL_PREFIX", PREFIX)
    assert main() == 2
    monkeypatch.setenv("MODELS_PATH", str(tmp_path))
    assert main() == 0
    assert read(tmp_path) == FILES
    monkeypatch.setenv("MODEL_BUCKET", "nobodys")
    assert main() == 1
