"""What holds for each state machine: every state is reached, and leads on or ends."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from deploy.template import ROOT, read

FILES = sorted(path.name for path in (ROOT / "statemachines").glob("*.asl.yaml"))


@pytest.fixture(params=FILES)
def machine(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(f"statemachines/{request.param}")


def _successors(state: Mapping[str, Any]) -> Iterator[str]:
    for key in ("Next", "Default"):
        if key in state:
            yield state[key]
    for branch in (*state.get("Choices", ()), *state.get("Catch", ())):
        yield branch["Next"]


def test_machines_are_those_of_the_design() -> None:
    assert FILES == [
        "compact.asl.yaml",
        "drain.asl.yaml",
        "export.asl.yaml",
        "purge.asl.yaml",
        "purge_account.asl.yaml",
        "redrive.asl.yaml",
    ]


def test_states_are_connected(machine: dict[str, Any]) -> None:
    reached: set[str] = set()
    ahead = [machine["StartAt"]]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead.extend(_successors(machine["States"][name]))
    assert reached == set(machine["States"])


def test_every_state_leads_on_or_ends(machine: dict[str, Any]) -> None:
    for name, state in machine["States"].items():
        ends = state["Type"] in ("Succeed", "Fail")
        assert ends == (not list(_successors(state))), name
