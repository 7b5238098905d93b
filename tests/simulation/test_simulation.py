"""What was promised holds in every world; and the simulation would notice if it did not."""

from collections.abc import Iterator

import pytest

from tests.simulation.mutations import BY_NAME
from tests.simulation.seeds import Failure, Seeds, all_cores

SEEDS = 2_000
LAST_LINES = 60


@pytest.fixture(scope="module")
def players() -> Iterator[Seeds]:
    with all_cores() as seeds:
        yield seeds


def test_all_that_was_promised_holds(players: Seeds) -> None:
    failure = players.play(range(SEEDS)).failure
    assert failure is None, told(failure)


@pytest.mark.parametrize("mutation", BY_NAME)
def test_the_simulation_finds(players: Seeds, mutation: str) -> None:
    assert players.play(range(SEEDS), mutation).failure is not None


def test_a_seed_plays_the_same_again(players: Seeds) -> None:
    """Also in another process, and after other seeds."""
    mutation = "a_zombie_may_speak"
    first = players.play(range(SEEDS), mutation).failure
    assert first is not None
    assert players.play([first.seed], mutation).failure == first


def told(failure: Failure) -> str:
    history = "\n".join(failure.history.splitlines()[-LAST_LINES:])
    return (
        f"seed {failure.seed}: {failure.why}\n… {history}\n"
        f"The whole history: make simulate SEED={failure.seed}"
    )
