"""Owns the signing of posts: AWS Signature Version 4 for the one kind of request that a worker makes in
thousands. The same as botocore's SigV4Auth, byte for byte (tests/contract holds them together), which
takes a tenth of a millisecond for each; it must not grow to other kinds of requests.

Source: AWS IAM User Guide, "Create a signed AWS API request".
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, urlsplit

from botocore.credentials import ReadOnlyCredentials

_SERVICE = "execute-api"


class PostSigner:
    def __init__(self, base_url: str, region: str) -> None:
        parts = urlsplit(base_url)
        default_port = {"http": 80, "https": 443}.get(parts.scheme)
        host = parts.hostname or ""
        self._host = host if parts.port in (None, default_port) else f"{host}:{parts.port}"
        self._region = region

    def headers(
        self, path: str, body: bytes, credentials: ReadOnlyCredentials, now: datetime
    ) -> Mapping[str, str]:
        """What to send with POST of the body to the path, which is percent-encoded as it will be sent."""
        moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {"X-Amz-Date": moment}
        signed = "host;x-amz-date"
        canonical = f"host:{self._host}\nx-amz-date:{moment}\n"
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
            signed += ";x-amz-security-token"
            canonical += f"x-amz-security-token:{credentials.token}\n"
        # Encoded once more: so do all services but S3.
        request = (
            f"POST\n{quote(path, safe='/~')}\n\n{canonical}\n{signed}\n"
            f"{hashlib.sha256(body).hexdigest()}"
        )
        scope = f"{moment[:8]}/{self._region}/{_SERVICE}/aws4_request"
        to_sign = (
            f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        )
        key = _key(credentials.secret_key, moment[:8], self._region)
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )
        return headers


@lru_cache(maxsize=4)
def _key(secret_key: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
