"""An upgrade in place, step by step, on one stack whose data the former release has made.

    former functions, former worker      what there was
    former functions, a worker of each   workers are replaced first
    our functions, the former worker     a worker that has not been replaced yet
    our functions, a worker of each      the same, with ours beside it

At each step everything that a client does is whole. The engine and the packages are ours throughout;
the template, the functions, the layers and the workers are each release's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from chatcore.domain.tiers import DEFAULTS, Tier
from local import vocabulary
from local.ports import Ports
from local.progress import Progress
from local.stack import ROOT, STEPS, LocalStack
from tests.cloud import SLOTS, Cloud, RunningWorker, eventually
from tests.person import Answer, Line, Person, sign_up

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("deploys two releases and starts workers of both"),
]

PORTS = Ports(
    ministack=15566, triton_http=19000, triton_grpc=19001, triton_metrics=19002, web=19400
)
FORMER, OURS = "former", "ours"
WORKERS_FIRST = "former functions, a worker of each"
FUNCTIONS_NEW = "our functions, the former worker"
ALL_BUT_ONE_NEW = "our functions, a worker of each"
STEPS_OF_UPGRADE = (
    (WORKERS_FIRST, {FORMER, OURS}),
    (FUNCTIONS_NEW, {FORMER}),
    (ALL_BUT_ONE_NEW, {FORMER, OURS}),
)
MORE_THAN_ONE_TAKES = SLOTS + DEFAULTS[Tier.PRO].overcommit_slots + 1
"""Answers of a pro user: with two workers there is one at each."""

LAST = 150
"""Long enough to be handed over in the middle."""

SHORT = 80


def counted(last: int) -> str:
    return f"The demo engine counts to {last}: {', '.join(map(str, range(1, last + 1)))}."


@dataclass
class Upgrade:
    """One stack on its way. owner, chat_id: whose chat the former release began; crossing: the run that
    is under way while the functions are replaced."""

    stack: LocalStack
    sources: dict[str, Path]
    cloud: Cloud
    workers: dict[str, RunningWorker] = field(default_factory=dict)
    owner: Person | None = None
    chat_id: str = ""
    crossing: str = ""
    is_deployed: bool = False

    def staff(self, releases: set[str]) -> None:
        """Workers of just these releases; the first come before the last leave."""
        for release in sorted(releases - self.workers.keys()):
            self.workers[release] = self.cloud.add_worker(self.sources[release])
        for release in sorted(self.workers.keys() - releases):
            self.cloud.stop_worker(self.workers.pop(release))

    def deploy_ours(self) -> None:
        """With an answer under way."""
        if self.is_deployed:
            return
        assert self.owner is not None
        self.crossing = str(self.owner.send("Please count to 500.")["run_id"])
        self.stack.upgrade()
        self.is_deployed = True
        former = self.cloud
        self.cloud = Cloud.of_processes(self.stack, PORTS)
        # The emulator writes a resource anew though nothing of it has changed; AWS leaves it as it is.
        _wait_patiently(self.cloud)
        self.cloud.workers = former.workers
        assert self.cloud.endpoints == former.endpoints


@pytest.fixture(scope="module")
def upgrade(former: Path) -> Iterator[Upgrade]:
    stack = LocalStack(
        "compat",
        PORTS,
        Progress(Console(stderr=True), STEPS + 2),
        workers=0,
        fresh=True,
        worker_settings={
            "SLOTS": str(SLOTS),
            "DRAIN_S": "1",
            # Its packages are no part of a release's files.
            "VOCABULARY_PATH": str(vocabulary.path(ROOT)),
        },
        engine_settings={"DEMO_SLOTS": str(4 * SLOTS)},
        source=former,
    )
    with stack:
        made = Upgrade(stack, {FORMER: former, OURS: ROOT}, Cloud.of_processes(stack, PORTS))
        _wait_patiently(made.cloud)
        made.staff({FORMER})
        made.owner = sign_up(made.cloud, "pro")
        with made.owner.line() as line:
            first = line.ask("My dog is called Biscuit.")
            end = line.finish(first)
        made.chat_id = end["chat_id"]
        yield made
        made.owner.http.close()


@pytest.fixture(scope="module", params=STEPS_OF_UPGRADE, ids=[name for name, _ in STEPS_OF_UPGRADE])
def step(request: pytest.FixtureRequest, upgrade: Upgrade) -> Upgrade:
    name, releases = request.param
    if name != WORKERS_FIRST:
        # While there still is who holds the answer that is under way.
        upgrade.deploy_ours()
    upgrade.staff(releases)
    return upgrade


@pytest.fixture
def somebody(step: Upgrade) -> Iterator[Callable[[], Person]]:
    people: list[Person] = []

    def make() -> Person:
        people.append(sign_up(step.cloud, "pro"))
        return people[-1]

    yield make
    for each in people:
        each.http.close()


def _wait_patiently(cloud: Cloud) -> None:
    """Nobody is refused for a line that is thought too long: the former release's workers know little of
    how fast they go when they have just begun."""
    ssm, name = cloud.aws.client("ssm"), cloud.outputs["TiersParameter"]
    tiers = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    for limits in tiers.values():
        limits["max_wait_s"] = 600
    ssm.put_parameter(Name=name, Value=json.dumps(tiers), Type="String", Overwrite=True)


def is_settled(person: Person, answer: Answer) -> None:
    run = person.ended_run(answer.run_id)
    assert person.stored_answer(run["chat_id"])["text"] == answer.text
    usage = person.usage()
    assert (usage["reserved_tokens"], usage["active_runs"]) == (0, 0)


def ended_by(worker: RunningWorker) -> set[str]:
    """The runs whose ends this worker has logged."""
    return {line["run_id"] for line in worker.log_lines() if line.get("message") == "run.ended"}


def test_prompts_are_answered_by_every_worker(
    step: Upgrade, somebody: Callable[[], Person]
) -> None:
    person = somebody()
    with person.line() as line:
        answers = [line.ask(f"Please count to {SHORT}.") for _ in range(MORE_THAN_ONE_TAKES)]
        for answer in answers:
            line.finish(answer)
            assert answer.text == counted(SHORT)
    for answer in answers:
        is_settled(person, answer)
    for worker in step.workers.values():
        assert {answer.run_id for answer in answers} & ended_by(worker), worker.worker_id


def test_a_chat_of_the_former_release_goes_on(step: Upgrade) -> None:
    assert step.owner is not None
    if step.crossing:
        step.owner.ended_run(step.crossing, deadline_s=60)
    with step.owner.line() as line:
        answer = line.ask("What is my dog called?", step.chat_id)
        line.finish(answer)
    assert "Biscuit" in answer.text
    is_settled(step.owner, answer)


def test_a_cancel_ends_an_answer(step: Upgrade, somebody: Callable[[], Person]) -> None:
    person = somebody()
    with person.line() as line:
        answers = [line.ask("Please count to 500.") for _ in range(SLOTS + 1)]
        for answer in answers:
            line.until_length(answer, 30)
        for answer in answers:
            line.say("cancel", run_id=answer.run_id)
        for answer in answers:
            assert line.finish(answer, deadline_s=5)["type"] == "run.cancelled"
    for answer in answers:
        is_settled(person, answer)


def test_an_attach_follows_an_answer_from_where_it_was(
    step: Upgrade, somebody: Callable[[], Person]
) -> None:
    person = somebody()
    with person.line() as line:
        seen = [line.ask(f"Please count to {SHORT}.") for _ in range(SLOTS + 1)]
        for answer in seen:
            line.until_length(answer, 60)
    with person.line() as line:
        rest = [line.attach(answer.run_id, answer) for answer in seen]
        for answer in rest:
            line.finish(answer)
            assert answer.text == counted(SHORT)
    for answer in rest:
        is_settled(person, answer)


@pytest.mark.at_steps(WORKERS_FIRST, ALL_BUT_ONE_NEW)
@pytest.mark.parametrize(("leaving", "taking"), [(FORMER, OURS), (OURS, FORMER)])
def test_an_answer_goes_on_with_a_worker_of_the_other_release(
    step: Upgrade, somebody: Callable[[], Person], leaving: str, taking: str
) -> None:
    person = somebody()
    with person.line(attaches_on_gap=True) as line:
        answer = _held_by(step, line, leaving)
        step.staff({taking})
        line.finish(answer)
    assert answer.text == counted(LAST)
    run = person.ended_run(answer.run_id)
    assert (run["status"], run["epoch"]) == ("completed", 2)
    eventually(lambda: answer.run_id in ended_by(step.workers[taking]), "its end in the log")
    is_settled(person, answer)
    step.staff({leaving, taking})


def _held_by(step: Upgrade, line: Line, release: str) -> Answer:
    """An answer that this release's worker is in the middle of; the others asked for are cancelled."""
    asked = [line.ask(f"Please count to {LAST}.") for _ in range(MORE_THAN_ONE_TAKES)]
    for answer in asked:
        line.until_length(answer, 30)
    held = [a for a in asked if step.cloud.worker_of(a.run_id) is step.workers[release]]
    assert held, f"no answer of {len(asked)} is with the {release} worker"
    for answer in asked:
        if answer is not held[0]:
            line.say("cancel", run_id=answer.run_id)
    for answer in asked:
        if answer is not held[0]:
            line.finish(answer)
    return held[0]


@pytest.mark.at_steps(FUNCTIONS_NEW)
def test_an_answer_under_way_outlives_the_new_functions(step: Upgrade) -> None:
    assert step.owner is not None
    run = step.owner.ended_run(step.crossing, deadline_s=60)
    assert run["status"] == "completed"
    assert step.owner.stored_answer(run["chat_id"])["text"] == counted(500)
