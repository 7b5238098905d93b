"""The cloud that integration and browser tests share: the local one, started once and ended whatever
happens, or with `--stack` one that is deployed, which is left running.
"""

import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import pytest

from chatcore.domain.tiers import Tier
from tests.busy import BusyEngine, all_slots_taken
from tests.cloud import Cloud, running_cloud
from tests.deployed import NotFound, look_up
from tests.person import Person, sign_up


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stack", help="test this deployed stack, by its outputs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--stack"):
        return
    for item in items:
        mark = item.get_closest_marker("local")
        if mark is not None:
            (why,) = mark.args
            item.add_marker(pytest.mark.skip(reason=f"needs the local cloud: it {why}"))


@pytest.fixture(scope="session", autouse=True)
def _unwind_when_told_to_end() -> Iterator[None]:
    """pytest does so on Ctrl-C only; a `kill` of it must not leave emulators and engines behind."""
    former = signal.signal(signal.SIGTERM, _interrupt)
    yield
    signal.signal(signal.SIGTERM, former)


@pytest.fixture(scope="session")
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    stack = request.config.getoption("--stack")
    if not stack:
        with running_cloud() as running:
            yield running
        return
    try:
        yield Cloud.of_outputs(look_up(stack))
    except NotFound as reason:
        pytest.exit(str(reason), returncode=pytest.ExitCode.USAGE_ERROR)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@pytest.fixture
def person(cloud: Cloud) -> Iterator[Callable[[str], Person]]:
    """Signs up somebody new of a tier, with nothing used and nothing said."""
    people: list[Person] = []

    def make(tier: str) -> Person:
        people.append(sign_up(cloud, tier))
        return people[-1]

    yield make
    for each in people:
        each.http.close()


@pytest.fixture
def busy_engine(person: Callable[[str], Person], cloud: Cloud) -> Iterator[BusyEngine]:
    """Even for the highest tier."""
    with all_slots_taken(cloud, person, Tier.PRO) as busy:
        yield busy


@pytest.fixture
def alice(person: Callable[[str], Person]) -> Person:
    return person("plus")
