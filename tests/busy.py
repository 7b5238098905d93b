"""All slots taken, so that whoever comes has to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chatcore.domain.tiers import DEFAULTS, UserTier
from tests.cloud import SLOTS, WORKERS, Cloud, eventually
from tests.person import Person


@dataclass
class BusyEngine:
    """All slots of all workers are taken, those beyond for the tier among them, by long answers of some of
    its users."""

    runs: list[tuple[Person, str]]

    def stop(self) -> None:
        for owner, run_id in self.runs:
            owner.http.post(f"/runs/{run_id}/cancel")


@contextmanager
def all_slots_taken(
    cloud: Cloud, person: Callable[[str], Person], tier: UserTier, waiting: int = 0
) -> Iterator[BusyEngine]:
    """waiting: so many more users of the tier have a run each that waits for a slot."""
    limits = DEFAULTS[tier]
    there_are = (SLOTS + limits.overcommit_slots) * WORKERS
    owners = [person(tier) for _ in range(-(-there_are // limits.max_active_runs))]
    turns = [owners[number // limits.max_active_runs] for number in range(there_are)]
    busy = BusyEngine([(owner, _begun(owner)) for owner in turns])

    def all_run() -> bool:
        return all(cloud.run(run_id)["status"] == "running" for _, run_id in busy.runs)

    eventually(all_run, "all slots taken")
    for _ in range(waiting):
        owners.append(person(tier))
        busy.runs.append((owners[-1], _begun(owners[-1])))
    yield busy
    busy.stop()
    for owner, run_id in busy.runs:
        assert owner.ended_run(run_id)["status"] in {"cancelled", "completed"}
    assert all(owner.usage()["reserved_tokens"] == 0 for owner in owners)


def _begun(owner: Person) -> str:
    return str(owner.send("Please count to 2000.")["run_id"])
