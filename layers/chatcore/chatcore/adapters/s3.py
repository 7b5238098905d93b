"""Owns the files of exports on S3. Keys begin with the user, so that all of one can be listed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session
from chatcore.domain.errors import StoreUnavailable

_GONE = frozenset({"NoSuchKey", "404"})
AT_ONCE = 1_000
"""As many as one DeleteObjects takes."""


class S3Client(Protocol):
    """What is used of botocore's client. Its arguments have AWS's names."""

    def put_object(self, **asked: object) -> Mapping[str, Any]: ...

    def get_object(self, **asked: object) -> Mapping[str, Any]: ...

    def list_objects_v2(self, **asked: object) -> Mapping[str, Any]: ...

    def delete_objects(self, **asked: object) -> Mapping[str, Any]: ...

    def generate_presigned_url(self, ClientMethod: str, **asked: object) -> str: ...  # noqa: N803


def s3_client() -> S3Client:
    """SigV4: links that are signed otherwise are refused for what a KMS key encrypts."""
    config = Config(
        connect_timeout=1,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 3},
        signature_version="s3v4",
    )
    return cast(S3Client, session().create_client("s3", config=config))


@dataclass(frozen=True, slots=True)
class S3ExportFiles:
    """at_once: how many `remove` takes."""

    client: S3Client
    bucket: str
    at_once: int = AT_ONCE

    def put(self, user_id: str, export_id: str, name: str, body: bytes) -> None:
        try:
            self.client.put_object(
                Bucket=self.bucket,
                Key=_key(user_id, export_id, name),
                Body=body,
                ContentType="application/json" if name.endswith(".json") else "application/jsonl",
            )
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error

    def get(self, user_id: str, export_id: str, name: str) -> bytes | None:
        try:
            found = self.client.get_object(Bucket=self.bucket, Key=_key(user_id, export_id, name))
            body: bytes = found["Body"].read()
            return body
        except ClientError as error:
            if _code(error) in _GONE:
                return None
            raise _unavailable(error) from error
        except BotoCoreError as error:
            raise _unavailable(error) from error

    def link(self, user_id: str, export_id: str, name: str, seconds: int) -> str:
        """Made here, without a call."""
        return self.client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": _key(user_id, export_id, name),
                "ResponseContentDisposition": f'attachment; filename="{export_id}-{name}"',
            },
            ExpiresIn=seconds,
        )

    def remove(self, user_id: str) -> bool:
        try:
            page = self.client.list_objects_v2(
                Bucket=self.bucket, Prefix=f"{user_id}/", MaxKeys=self.at_once
            )
            listed = [{"Key": each["Key"]} for each in page.get("Contents", [])]
            if listed:
                done = self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": listed, "Quiet": True}
                )
                if done.get("Errors"):
                    raise StoreUnavailable("S3: DeleteObjects left some out")
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(error) from error
        return not page["IsTruncated"]


def _key(user_id: str, export_id: str, name: str) -> str:
    return f"{user_id}/{export_id}/{name}"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _unavailable(error: ClientError | BotoCoreError) -> StoreUnavailable:
    name = _code(error) if isinstance(error, ClientError) else type(error).__name__
    return StoreUnavailable(f"S3: {name}")
