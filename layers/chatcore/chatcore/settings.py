"""The only reader of the environment: one typed settings class an entrypoint."""

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chatcore.adapters.dynamo.tables import TableNames
from chatcore.domain.errors import Misconfigured

_ENDING = ("chats", "messages", "runs", "checkpoints", "ledgers", "usage")
"""Of whoever may end a run."""

_COMPACTING = ("chats", "runs", "summaries")


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

    def tables(self, *names: str) -> TableNames:
        return TableNames(**{name: self.text(f"{name.upper()}_TABLE") for name in names})


@dataclass(frozen=True, slots=True)
class HttpApiSettings:
    tables: TableNames
    lane_base_url: str
    inbox_base_url: str
    callback_url: str
    tiers_parameter: str
    purge_state_machine_arn: str
    purge_account_state_machine_arn: str
    export_state_machine_arn: str
    exports_bucket: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "HttpApiSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables(*_ENDING, "tickets", "calendars", "workers"),
            lane_base_url=source.text("LANE_BASE_URL"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
            callback_url=source.text("CALLBACK_URL"),
            tiers_parameter=source.text("TIERS_PARAMETER"),
            purge_state_machine_arn=source.text("PURGE_STATE_MACHINE_ARN"),
            purge_account_state_machine_arn=source.text("PURGE_ACCOUNT_STATE_MACHINE_ARN"),
            export_state_machine_arn=source.text("EXPORT_STATE_MACHINE_ARN"),
            exports_bucket=source.text("EXPORTS_BUCKET"),
        )


@dataclass(frozen=True, slots=True)
class WsAuthorizerSettings:
    """web_origin: the page's, the only one that a browser may open a socket from."""

    tables: TableNames
    web_origin: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WsAuthorizerSettings":
        source = _Environment(environment)
        return cls(tables=source.tables("tickets"), web_origin=source.text("WEB_ORIGIN"))


@dataclass(frozen=True, slots=True)
class WsMessageSettings:
    tables: TableNames
    lane_base_url: str
    inbox_base_url: str
    callback_url: str
    tiers_parameter: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WsMessageSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables(*_ENDING, "calendars", "workers"),
            lane_base_url=source.text("LANE_BASE_URL"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
            callback_url=source.text("CALLBACK_URL"),
            tiers_parameter=source.text("TIERS_PARAMETER"),
        )


@dataclass(frozen=True, slots=True)
class PurgeChatSettings:
    tables: TableNames
    inbox_base_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "PurgeChatSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables(*_ENDING, "summaries"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
        )


@dataclass(frozen=True, slots=True)
class PurgeAccountSettings:
    tables: TableNames
    inbox_base_url: str
    exports_bucket: str
    user_pool_id: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "PurgeAccountSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables(*_ENDING, "summaries", "tickets"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
            exports_bucket=source.text("EXPORTS_BUCKET"),
            user_pool_id=source.text("USER_POOL_ID"),
        )


@dataclass(frozen=True, slots=True)
class ExportAccountSettings:
    tables: TableNames
    exports_bucket: str
    user_pool_id: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "ExportAccountSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables("chats", "messages", "summaries", "ledgers", "usage"),
            exports_bucket=source.text("EXPORTS_BUCKET"),
            user_pool_id=source.text("USER_POOL_ID"),
        )


@dataclass(frozen=True, slots=True)
class DrainWorkerSettings:
    tables: TableNames
    inbox_base_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "DrainWorkerSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables("workers"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
        )


@dataclass(frozen=True, slots=True)
class RedriveRunsSettings:
    tables: TableNames
    lane_base_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "RedriveRunsSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables("runs", "ledgers", "calendars"),
            lane_base_url=source.text("LANE_BASE_URL"),
        )


@dataclass(frozen=True, slots=True)
class CompactChatSettings:
    tables: TableNames

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "CompactChatSettings":
        return cls(tables=_Environment(environment).tables(*_COMPACTING))


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """slots: sequences that the engine decodes at once; drain_s: how long a run may go on after the
    worker was told to stop; first_token_timeout_s, next_token_timeout_s: how long an engine may be
    silent before the run is handed back; history_bytes: for the chats that it keeps in memory;
    instance_metadata_url: where EC2 gives notice that it takes
    the machine away, empty where it is no Spot Instance; ecs_agent_uri: of the agent that can have ECS
    spare this task, empty where ECS does not run it; pulse_path: the file that shows that it is alive,
    empty where nobody looks."""

    tables: TableNames
    lane_base_url: str
    inbox_base_url: str
    dead_letter_url: str
    callback_url: str
    tiers_parameter: str
    compact_state_machine_arn: str
    triton_url: str
    model_name: str
    vocabulary_path: Path
    worker_id: str
    slots: int
    drain_s: float
    first_token_timeout_s: float
    next_token_timeout_s: float
    history_bytes: int
    instance_metadata_url: str
    ecs_agent_uri: str
    pulse_path: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WorkerSettings":
        source = _Environment(environment)
        return cls(
            tables=source.tables(*_ENDING, "summaries", "calendars", "workers"),
            lane_base_url=source.text("LANE_BASE_URL"),
            inbox_base_url=source.text("INBOX_BASE_URL"),
            dead_letter_url=source.text("DEAD_LETTER_URL"),
            callback_url=source.text("CALLBACK_URL"),
            tiers_parameter=source.text("TIERS_PARAMETER"),
            compact_state_machine_arn=source.text("COMPACT_STATE_MACHINE_ARN"),
            triton_url=source.text("TRITON_URL"),
            model_name=source.text("MODEL_NAME"),
            vocabulary_path=Path(source.text("VOCABULARY_PATH")),
            worker_id=source.text_or("WORKER_ID", _fresh_worker_id()),
            slots=source.whole("SLOTS", 8),
            drain_s=source.number("DRAIN_S", 90),
            first_token_timeout_s=source.number("FIRST_TOKEN_TIMEOUT_S", 60),
            next_token_timeout_s=source.number("NEXT_TOKEN_TIMEOUT_S", 15),
            history_bytes=source.whole("HISTORY_BYTES", 256 * 1024 * 1024),
            instance_metadata_url=source.text_or("INSTANCE_METADATA_URL", ""),
            ecs_agent_uri=source.text_or("ECS_AGENT_URI", ""),
            pulse_path=source.text_or("PULSE_PATH", ""),
        )


@dataclass(frozen=True, slots=True)
class WeightsSettings:
    """model_prefix: the model's folder in the bucket, without slashes at its ends; models_path: the folder
    that it is put into, under the same path."""

    model_bucket: str
    model_prefix: str
    models_path: Path

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WeightsSettings":
        source = _Environment(environment)
        return cls(
            model_bucket=source.text("MODEL_BUCKET"),
            model_prefix=source.text("MODEL_PREFIX"),
            models_path=Path(source.text("MODELS_PATH")),
        )


def _fresh_worker_id() -> str:
    """Never used before: an inbox must not be taken for its predecessor's."""
    host = "".join(c for c in socket.gethostname() if c.isalnum())[:16] or "worker"
    return f"{host}-{uuid.uuid4().hex[:12]}"
