"""What a worker does to the tables is what its role in the fleet's template may do: no more, no less."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import pytest

from chatcore.adapters import aws
from chatcore.adapters.dynamo.stores import dynamo_stores
from chatcore.adapters.dynamo.tables import open_tables
from chatcore.domain.run import Status
from chatcore.domain.tiers import Tier
from chatcore.ports import Stores
from chatcore.services.cancel import cancel
from tests.contract.conftest import make_tables
from tests.simulation.engine import words
from tests.template.test_fleet import PERMISSIONS
from tests.unit.worker.backstage import QUESTION, TURNS, Scripts, settled, summarise, went_on
from tests.unit.worker.stage import ALICE, ANSWER, Calls, Stage
from virtual_clock.loop import in_virtual_time, now_ms

P = ParamSpec("P")
T = TypeVar("T")

_IN_TRANSACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "Get": "GetItem",
}


@dataclass(slots=True)
class Heard(Calls):
    """Calls of the worker, and what they do to which table: those of the test are not heard.

    done: by table, without its prefix, as actions of IAM."""

    done: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    listening: int = 0

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(self.delay_s)
        self.listening += 1
        try:
            return function(*args, **kwargs)
        finally:
            self.listening -= 1

    def hear(self, **heard: Any) -> None:
        if not self.listening:
            return
        params, model = heard["params"], heard["model"]
        if model.name in ("TransactWriteItems", "TransactGetItems"):
            for item in params["TransactItems"]:
                for kind, part in item.items():
                    # A kind that is not in the list needs an action that is not, either.
                    self.note(part["TableName"], _IN_TRANSACTIONS[kind])
        elif model.name == "BatchWriteItem":
            for table in params["RequestItems"]:
                self.note(table, model.name)
        else:
            self.note(params["TableName"], model.name)

    def note(self, table: str, action: str) -> None:
        self.done[table.partition("-")[2]].add(f"dynamodb:{action}")


@pytest.fixture
def stores(
    moto_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Stores, Heard]]:
    for key, value in moto_environment.items():
        monkeypatch.setenv(key, value)
    heard = Heard()
    # Clients take their hooks from the session, so it is a new one, and nobody has it afterwards.
    aws.session.cache_clear()
    aws.session().register("before-parameter-build.dynamodb.*", heard.hear)
    yield dynamo_stores(open_tables(make_tables(), max_connections=40)), heard
    aws.session.cache_clear()


def granted() -> dict[str, set[str]]:
    """Actions by table."""
    found: dict[str, set[str]] = defaultdict(set)
    for action, targets in PERMISSIONS["WorkerRole"].items():
        if action.startswith("dynamodb:"):
            for target in targets:
                name = target.rpartition("${")[2].removesuffix("Table}").lower()
                found[name].add(action)
    return found


@in_virtual_time
async def _lives(stores: Stores, heard: Heard) -> None:
    """A chat that grows until it is summarised, a stop, a hand-over, and a worker that leaves."""
    scripts = Scripts()
    stage = Stage(script_for=scripts, calls=heard)
    stage.stores = stores
    worker = stage.start()
    chat_id: str | None = None
    for number in range(TURNS):
        run = stage.send(f"message-{number:04d}", chat_id=chat_id, text=f"No. {number}. {QUESTION}")
        chat_id = run.chat_id
        await settled()
        assert stage.stored(run).status is Status.COMPLETED
    (asked,) = stage.compactions.started
    summarise(stage, asked)
    await settled()
    assert went_on(stage, asked)
    scripts.answer = words(ANSWER, after_s=1.0)
    stopped = stage.send("message-stop", chat_id=chat_id)
    await asyncio.sleep(3)
    cancel(stores, stage.inboxes, ALICE, stopped.run_id, now_ms())
    await settled()
    moved = stage.send("message-move", chat_id=chat_id)
    await asyncio.sleep(3)
    await stage.stopped(worker)
    stage.start("worker-2")
    await settled(20)
    assert stage.stored(stopped).status is Status.CANCELLED
    assert stage.stored(moved).status is Status.COMPLETED
    for tier in Tier:
        assert stores.calendars.get(tier).backlog.at_ms
    (left,) = [task for known, task in stage._started if known is not worker]
    left.cancel()


def test_its_role_is_what_it_takes(stores: tuple[Stores, Heard]) -> None:
    _lives(*stores)
    done = stores[1].done
    assert done == granted()
