"""What a running local cloud tells people and programs: where it is and who may sign in.

Owns the shape of endpoints.json. It must not find anything out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from local.accounts import Account


@dataclass(frozen=True)
class Endpoints:
    """The keys of endpoints.json. logs: the folder of the processes' logs, empty
    where they are not on this machine."""

    http_url: str
    ws_url: str
    web_url: str
    aws_endpoint_url: str
    region: str
    user_pool_client_id: str
    accounts: tuple[Account, ...]
    stack_name: str
    triton_grpc_url: str
    logs: str = ""

    @classmethod
    def read(cls, path: Path) -> Endpoints | None:
        """None where nothing runs."""
        try:
            told = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        return cls(**{**told, "accounts": tuple(Account(**each) for each in told["accounts"])})

    def write(self, path: Path) -> None:
        """At once, so that nobody reads half of it."""
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(path)

    @property
    def page_config(self) -> dict[str, str]:
        """What the page reads as /config.json."""
        return {
            "http_url": self.http_url,
            "ws_url": self.ws_url,
            "cognito_url": self.aws_endpoint_url,
            "user_pool_client_id": self.user_pool_client_id,
            "region": self.region,
        }
