"""Owns a cloud in memory for the Lambdas: their modules with memory sides in place of AWS's."""

import base64
import json
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from chatcore.adapters.memory.accounts import MemoryExportFiles, MemoryUserPool
from chatcore.adapters.memory.database import MemoryDatabase
from chatcore.adapters.memory.posts import MemoryPosts
from chatcore.adapters.memory.queues import MemoryInboxes, MemoryLanes
from chatcore.adapters.memory.states import (
    MemoryAccountPurges,
    MemoryExportJobs,
    MemoryPurges,
)
from chatcore.adapters.memory.stores import memory_stores
from chatcore.adapters.memory.tiers import MemoryTiers
from chatcore.domain.errors import StoreUnavailable
from chatcore.domain.run import Ending, Event, FinishReason, Run, Usage
from chatcore.ports import Claimed, Stores
from tests.contract.clock import TestClock
from tests.unit.functions.events import http_event, socket_event
from tests.unit.functions.loading import Context, load_function


@dataclass
class Reply:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """Of a problem document, whose form is checked on the way."""
        assert self.headers["content-type"] == "application/problem+json"
        assert self.body["status"] == self.status
        assert self.body["type"] == f"urn:chatcore:error:{self.body['code']}"
        assert self.body["title"]
        assert self.body["detail"].endswith(".")
        text = json.dumps(self.body)
        assert not [word for word in ("Traceback", 'File "', "boto", "pynamo") if word in text]
        code: str = self.body["code"]
        return code


@dataclass
class Cloud:
    clock: TestClock = field(default_factory=TestClock)
    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    inboxes: MemoryInboxes = field(default_factory=MemoryInboxes)
    purges: MemoryPurges = field(default_factory=MemoryPurges)
    account_purges: MemoryAccountPurges = field(default_factory=MemoryAccountPurges)
    export_jobs: MemoryExportJobs = field(default_factory=MemoryExportJobs)
    export_files: MemoryExportFiles = field(default_factory=MemoryExportFiles)
    user_pool: MemoryUserPool = field(default_factory=MemoryUserPool)
    posts: MemoryPosts = field(default_factory=MemoryPosts)
    tiers: MemoryTiers = field(default_factory=MemoryTiers)

    def __post_init__(self) -> None:
        self.lanes = MemoryLanes(self.clock)
        self.stores: Stores = memory_stores(self.database)
        self.posts.open("socket-1")

    def enter(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        sides = {
            "stores": self.stores,
            "tickets": self.stores.tickets,
            "lanes": self.lanes,
            "inboxes": self.inboxes,
            "purges": self.purges,
            "account_purges": self.account_purges,
            "export_jobs": self.export_jobs,
            "export_files": self.export_files,
            "user_pool": self.user_pool,
            "posts": self.posts,
            "tiers": self.tiers,
            "now_ms": self.clock,
        }
        for name, side in sides.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, side)
        return module

    def http(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        """Ask the HTTP API's Lambda, which `enter` has prepared."""
        reply = load_function("http_api").handler(
            http_event(method, path, body, **options), Context()
        )
        text = reply["body"]
        if reply["isBase64Encoded"]:
            text = base64.b64decode(text)
        return Reply(reply["statusCode"], json.loads(text) if text else None, reply["headers"])

    def say(self, body: Any = None, **options: Any) -> list[dict[str, Any]]:
        """Say a frame to the WebSocket's Lambda; the frames that came back on socket-1."""
        before = len(self.posts.frames.get("socket-1", []))
        reply = load_function("ws_message").handler(socket_event(body, **options), Context())
        assert reply == {"statusCode": 200}
        return [json.loads(frame) for frame in self.posts.frames.get("socket-1", [])[before:]]

    def claim(self, run_id: str) -> Run:
        claim = self.stores.runs.claim(
            run_id, "worker-1", self.inboxes.open("worker-1"), self.clock()
        )
        assert isinstance(claim, Claimed)
        return claim.run

    def complete(self, run_id: str, text: str = "Hi there") -> Run:
        run = self.claim(run_id)
        ending = Ending(
            Event.COMPLETE,
            self.clock(),
            text,
            Usage(10, 4, 5),
            FinishReason.STOP,
            context_tokens=15,
        )
        assert self.stores.runs.end(run, ending)
        return self.database.runs[run_id]


class Away:
    """A port that is not there."""

    def __getattr__(self, name: str) -> Any:
        def call(*args: object, **kwargs: object) -> Any:
            raise StoreUnavailable("ProvisionedThroughputExceededException: vendor's words")

        return call


class Broken:
    """A port with a fault that nobody thought of."""

    def __getattr__(self, name: str) -> Any:
        def call(*args: object, **kwargs: object) -> Any:
            raise RuntimeError("vendor's words")

        return call
