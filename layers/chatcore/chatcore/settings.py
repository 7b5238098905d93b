"""The only reader of the environment: one typed settings class an entrypoint."""

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chatcore.adapters.dynamo.tables import TableNames
from chatcore.domain.errors import Misconfigured
from chatcore.domain.tiers import Tier

_TABLES = ("chats", "messages", "runs", "checkpoints", "ledgers", "tickets")


@dataclass(frozen=True, slots=True)
class _Environment:
    values: Mapping[str, str]

    def text(self, name: str) -> str:
        value = self.values.get(name, "")
        if not value:
            raise Misconfigured(f"the environment variable {name} is missing")
        return value

    def text_or(self, name: str, default: str) -> str:
        return self.values.get(name) or default

    def number(self, name: str, default: float) -> float:
        value = self.values.get(name, "")
        try:
            number = float(value) if value else default
        except ValueError:
            raise Misconfigured(f"{name} is not a number: {value!r}") from None
        if not 0 < number < float("inf"):
            raise Misconfigured(f"{name} must be greater than 0, not {value!r}")
        return number

    def whole(self, name: str, default: int) -> int:
        number = self.number(name, default)
        if number != int(number):
            raise Misconfigured(f"{name} must be a whole number, not {number}")
        return int(number)

    def by_tier(self, name: str) -> Mapping[Tier, float]:
        """Such as `free=120,plus=600`; a tier may be left out, and all of them."""
        found = {}
        for part in filter(None, self.values.get(name, "").split(",")):
            tier, _, number = part.partition("=")
            try:
                found[Tier(tier.strip())] = float(number)
            except ValueError:
                raise Misconfigured(f"{name} is not like free=120,plus=600: {part!r}") from None
        return found

    def tables(self, *names: str) -> TableNames:
        return TableNames(**{name: self.text(f"{name.upper()}_TABLE") for name in names})


@dataclass(frozen=True, slots=True)
class HttpApiSettings:
    tables: TableNames
    lane_base_url: str
    inbox_base_url: str
    callback_url: str
    purge_state_machine_arn: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "HttpApiSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables(*_TABLES),
            lane_base_url=source.text("LANE_BASE_URL"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
            callback_url=source.text("CALLBACK_URL"),
            purge_state_machine_arn=source.text("PURGE_STATE_MACHINE_ARN"),
        )


@dataclass(frozen=True, slots=True)
class WsAuthorizerSettings:
    tables: TableNames

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WsAuthorizerSettings":
        return cls(tables=_Environment(environment).tables("tickets"))


@dataclass(frozen=True, slots=True)
class WsMessageSettings:
    tables: TableNames
    lane_base_url: str
    inbox_base_url: str
    callback_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WsMessageSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables("chats", "messages", "runs", "checkpoints", "ledgers"),
            lane_base_url=source.text("LANE_BASE_URL"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
            callback_url=source.text("CALLBACK_URL"),
        )


@dataclass(frozen=True, slots=True)
class PurgeChatSettings:
    tables: TableNames
    inbox_base_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "PurgeChatSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables("chats", "messages", "runs", "checkpoints", "ledgers"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
        )


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """slots: sequences that the engine decodes at once; abandon_grace_s: by tier, how long an answer
    goes on when its last viewer has left; a tier that is not in it goes on to the end; drain_s: how
    long a run may go on after the worker was told to stop; first_token_timeout_s,
    next_token_timeout_s: how long an engine may be silent before the run is handed back;
    instance_metadata_url: where EC2 gives notice that it takes the machine away, empty where it is no
    Spot Instance."""

    tables: TableNames
    lane_base_url: str
    inbox_base_url: str
    dead_letter_url: str
    callback_url: str
    triton_url: str
    model_name: str
    vocabulary_path: Path
    worker_id: str
    slots: int
    abandon_grace_s: Mapping[Tier, float]
    drain_s: float
    first_token_timeout_s: float
    next_token_timeout_s: float
    instance_metadata_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WorkerSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables("chats", "messages", "runs", "checkpoints", "ledgers"),
            lane_base_url=source.text("LANE_BASE_URL"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
            dead_letter_url=source.text("DEAD_LETTER_URL"),
            callback_url=source.text("CALLBACK_URL"),
            triton_url=source.text("TRITON_URL"),
            model_name=source.text("MODEL_NAME"),
            vocabulary_path=Path(source.text("VOCABULARY_PATH")),
            worker_id=source.text_or("WORKER_ID", _fresh_worker_id()),
            slots=source.whole("SLOTS", 8),
            abandon_grace_s=source.by_tier("ABANDON_GRACE_S"),
            drain_s=source.number("DRAIN_S", 90),
            first_token_timeout_s=source.number("FIRST_TOKEN_TIMEOUT_S", 60),
            next_token_timeout_s=source.number("NEXT_TOKEN_TIMEOUT_S", 15),
            instance_metadata_url=source.text_or("INSTANCE_METADATA_URL", ""),
        )


def _fresh_worker_id() -> str:
    """Never used before: an inbox must not be taken for its predecessor's."""
    host = "".join(c for c in socket.gethostname() if c.isalnum())[:16] or "worker"
    return f"{host}-{uuid.uuid4().hex[:12]}"
