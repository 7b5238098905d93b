"""Owns the reading of the tier settings from their SSM parameter, and how old they may be.

Whatever is wrong with the parameter, somebody gets settings: the last good ones, else the built-in
ones. What is wrong is logged, and a document that cannot be used is logged once, not at each look.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chatcore.adapters.aws import session
from chatcore.domain.errors import InvalidTiers
from chatcore.domain.tier_document import parse_tiers
from chatcore.domain.tiers import DEFAULTS, Tiers

REFRESH_AFTER_MS = 20_000
OLDEST_MS = 55_000
"""Nobody decides by settings that are older, as long as SSM answers: a change shows within a minute,
in a Lambda that was idle, too."""

TRY_AGAIN_AFTER_MS = 5_000


class SsmClient(Protocol):
    """What is used of botocore's client."""

    def get_parameter(self, *, Name: str) -> Mapping[str, Any]: ...  # noqa: N803 - botocore's word


def ssm_client() -> SsmClient:
    """Given up soon and not tried again: whoever asks has other settings to go on with."""
    config = Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1})
    return cast("SsmClient", session().create_client("ssm", config=config))


@dataclass(slots=True)
class SsmTiers:
    """_seen: version and text of the document that was last looked at, good or not; _read_ms: when it
    was; _failed_ms: when the last look failed, if none has succeeded since."""

    client: SsmClient
    parameter: str
    logger: Logger
    now_ms: Callable[[], int]
    _tiers: Tiers | None = None
    _seen: tuple[int, str] | None = None
    _read_ms: int | None = None
    _failed_ms: int | None = None
    _built_in_is_told: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def current(self) -> Tiers:
        """Never raises. Reads the parameter where what is known is too old to go by."""
        return self._not_older_than(OLDEST_MS)

    def refresh(self) -> Tiers:
        """The same, and never so old that `current` would soon have to wait. For when nobody waits."""
        return self._not_older_than(REFRESH_AFTER_MS)

    def _not_older_than(self, oldest_ms: int) -> Tiers:
        if self._is_due(oldest_ms):
            with self._lock:
                # Another thread may just have read it.
                if self._is_due(oldest_ms):
                    self._look()
        return DEFAULTS if self._tiers is None else self._tiers

    def _is_due(self, oldest_ms: int) -> bool:
        now_ms = self.now_ms()
        failed_ms, read_ms = self._failed_ms, self._read_ms
        if failed_ms is not None and now_ms - failed_ms < TRY_AGAIN_AFTER_MS:
            return False
        return read_ms is None or now_ms - read_ms >= oldest_ms

    def _look(self) -> None:
        # The moment before the call: the answer may be as old as that.
        looked_ms = self.now_ms()
        try:
            found = self.client.get_parameter(Name=self.parameter)["Parameter"]
        except (ClientError, BotoCoreError) as error:
            self._failed_ms = self.now_ms()
            self.logger.warning("tiers.trouble", extra={"reason": _reason(error)})
        else:
            self._read_ms, self._failed_ms = looked_ms, None
            seen = (int(found["Version"]), str(found["Value"]))
            if seen != self._seen:
                self._seen = seen
                self._adopt(*seen)
        if self._tiers is None and not self._built_in_is_told:
            self._built_in_is_told = True
            self.logger.error("tiers.built_in", extra={"parameter": self.parameter})

    def _adopt(self, version: int, text: str) -> None:
        try:
            self._tiers = parse_tiers(text)
        except InvalidTiers as error:
            self.logger.error("tiers.refused", extra={"version": version, "reason": str(error)})
        else:
            self.logger.info("tiers.adopted", extra={"version": version})


def _reason(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__
