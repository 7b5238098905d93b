"""Owns bringing a model's folder from S3 to a disk. Knows nothing of what is in the files.

    models_path/
        .lock                      one task of a machine fetches, the others wait and find it done
        <prefix>/config.json ...   as in the bucket
        <prefix>/.fetched.json     what of it is whole: key → ETag

A file is written under another name and renamed when it is whole, so that neither a killed task nor a
changed bucket leaves half a file behind. Another model is another prefix: engines that still read the former
one keep it.
"""

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

from boto3.exceptions import S3TransferFailedError
from boto3.s3.transfer import S3Transfer, TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session
from chatcore.domain.errors import Misconfigured, StoreUnavailable

_NOTES = ".fetched.json"
_PART = ".part"
_TRANSFER = TransferConfig(
    multipart_threshold=64 << 20, multipart_chunksize=64 << 20, max_concurrency=16
)


class Pages(Protocol):
    def paginate(self, *, Bucket: str, Prefix: str) -> Iterable[Mapping[str, Any]]: ...  # noqa: N803


class S3Client(Protocol):
    """What is used of botocore's client here; S3Transfer uses more."""

    def get_paginator(self, name: str, /) -> Pages: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """files, size_bytes: of the whole model; fetched_bytes: of these, what was not there before."""

    files: int
    size_bytes: int
    fetched_bytes: int


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    path: Path
    etag: str
    size_bytes: int


def s3_client() -> S3Client:
    config = Config(
        connect_timeout=2,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=16,
    )
    return cast(S3Client, session().create_client("s3", config=config))


def fetch(client: S3Client, bucket: str, prefix: str, models_path: Path) -> Fetched:
    """Returns when models_path/prefix holds all that the bucket holds under `prefix/`.

    Raises Misconfigured where that is nothing, or a name leads out of the folder; StoreUnavailable where
    S3 failed, after tries of its own.
    """
    folder = models_path / prefix
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(models_path), _translated():
        objects = list(_listed(client, bucket, prefix, folder))
        if not objects:
            raise Misconfigured(f"there is nothing under {prefix}/ in the bucket {bucket}")
        notes = _Notes.read(folder)
        missing = [each for each in objects if not notes.has(each)]
        transfer = S3Transfer(cast(Any, client), cast(Any, _TRANSFER))
        for each in missing:
            _bring(transfer, bucket, each)
            notes.add(each)
    return Fetched(
        files=len(objects),
        size_bytes=sum(each.size_bytes for each in objects),
        fetched_bytes=sum(each.size_bytes for each in missing),
    )


@dataclass(frozen=True, slots=True)
class _Notes:
    path: Path
    etags: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "_Notes":
        path = folder / _NOTES
        try:
            return cls(path, json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return cls(path, {})

    def has(self, each: _Object) -> bool:
        return (
            self.etags.get(each.key) == each.etag
            and each.path.is_file()
            and each.path.stat().st_size == each.size_bytes
        )

    def add(self, each: _Object) -> None:
        self.etags[each.key] = each.etag
        part = self.path.with_name(_NOTES + _PART)
        part.write_text(json.dumps(self.etags), encoding="utf-8")
        part.replace(self.path)


def _listed(client: S3Client, bucket: str, prefix: str, folder: Path) -> Iterator[_Object]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    for page in pages:
        for entry in cast(list[Mapping[str, Any]], page.get("Contents", [])):
            key = str(entry["Key"])
            if key.endswith("/"):
                # What consoles make to show an empty folder.
                continue
            name = PurePosixPath(key.removeprefix(f"{prefix}/"))
            if name.is_absolute() or ".." in name.parts or name.name in (_NOTES, ""):
                raise Misconfigured(f"the bucket {bucket} holds a file of the name {key!r}")
            yield _Object(key, folder / name, str(entry["ETag"]), int(entry["Size"]))


def _bring(transfer: S3Transfer, bucket: str, each: _Object) -> None:
    each.path.parent.mkdir(parents=True, exist_ok=True)
    part = each.path.with_name(each.path.name + _PART)
    transfer.download_file(bucket, each.key, str(part))
    part.replace(each.path)


@contextmanager
def _alone(models_path: Path) -> Iterator[None]:
    """Of all tasks of this machine. A task that dies lets go."""
    with (models_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise StoreUnavailable(f"S3: {code}") from error
    except (BotoCoreError, S3TransferFailedError) as error:
        raise StoreUnavailable(f"S3: {type(error).__name__}") from error
