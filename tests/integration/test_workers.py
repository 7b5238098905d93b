"""Several workers: work is shared, and a leaving one hands over. Faults are in `tests/e2e`."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest

from tests.cloud import WORKERS, Cloud, Row, RunningWorker, eventually
from tests.person import Answer, Line, Person

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("ends workers and reads their logs"),
]

LONG = "Please count to 250."
LONG_ANSWER = "The demo engine counts to 250: " + ", ".join(map(str, range(1, 251))) + "."


@pytest.fixture
def full_strength(cloud: Cloud) -> Iterator[None]:
    """As many workers as before, whatever the test does to them."""
    yield
    while len(cloud.workers) < WORKERS:
        cloud.add_worker()


def test_twelve_chats_at_once_are_each_answered_once_by_both_workers(
    person: Callable[[str], Person], cloud: Cloud
) -> None:
    people = [person("plus") for _ in range(3)]
    with ExitStack() as lines:
        asked: list[tuple[Person, Line, Answer, int]] = []
        for number in range(12):
            who = people[number % len(people)]
            line = lines.enter_context(who.line())
            # Long enough that a worker's four slots are not free again before the others are asked.
            last = 60 + number
            asked.append((who, line, line.ask(f"Please count to {last}."), last))
        for _, line, answer, _ in asked:
            line.finish(answer, deadline_s=60)
    for who, _, answer, last in asked:
        assert answer.text.startswith(f"The demo engine counts to {last}: 1, 2,")
        assert answer.text.endswith(f", {last}.")
        run = who.get(f"/runs/{answer.run_id}")
        assert (run["status"], run["epoch"]) == ("completed", 1)
        assert [m["text"] for m in who.messages(run["chat_id"])][1:] == [answer.text]
    run_ids = {answer.run_id for _, _, answer, _ in asked}
    ended = Counter(
        (worker.worker_id, line["run_id"])
        for worker in cloud.workers
        for line in worker.log_lines()
        if line.get("message") == "run.ended" and line["run_id"] in run_ids
    )
    assert {run_id for _, run_id in ended} == run_ids
    assert set(ended.values()) == {1}
    assert len(ended) == len(run_ids)
    assert {worker_id for worker_id, _ in ended} == {w.worker_id for w in cloud.workers}
    for who in people:
        usage = who.usage()
        assert (usage["reserved_tokens"], usage["active_runs"]) == (0, 0)
        assert who.footprint()[3]["active"] == {}


@pytest.mark.usefixtures("full_strength")
def test_a_leaving_worker_hands_its_answer_to_the_other_one_at_once(
    alice: Person, cloud: Cloud
) -> None:
    with alice.line(attaches_on_gap=True) as line:
        answer = line.ask(LONG)
        line.until_length(answer, 100)
        leaving = cloud.worker_of(answer.run_id)
        cloud.stop_worker(leaving)
        line.finish(answer)
    run = alice.get(f"/runs/{answer.run_id}")
    assert (run["status"], run["epoch"]) == ("completed", 2)
    assert answer.text == LONG_ANSWER
    assert alice.stored_answer(run["chat_id"])["text"] == answer.text
    # All of its text was made durable before: nothing that was seen is taken back.
    rewound = next(frame for frame in answer.frames if frame["type"] == "run.rewound")
    before = answer.frames[: answer.frames.index(rewound)]
    assert rewound["offset"] >= sum(len(f["text"]) for f in before if f["type"] == "run.delta")
    # Not a fault of anybody's, and neither lease nor visibility had to run out.
    assert cloud.run(answer.run_id)["attempts"] == 0
    handed_back = _logged_at(leaving, "run.handed_back", answer.run_id)
    (other,) = cloud.workers
    claimed = _logged_at(other, "run.claimed", answer.run_id)
    assert claimed - handed_back < timedelta(seconds=3)
    usage = alice.usage()
    assert (usage["reserved_tokens"], usage["active_runs"]) == (0, 0)


@pytest.mark.usefixtures("full_strength")
def test_a_worker_that_is_drained_by_hand_hands_its_answer_over_and_is_gone(
    alice: Person, cloud: Cloud
) -> None:
    with alice.line(attaches_on_gap=True) as line:
        answer = line.ask(LONG)
        line.until_length(answer, 100)
        leaving = cloud.worker_of(answer.run_id)
        started = cloud.states.start_execution(
            stateMachineArn=cloud.outputs["DrainStateMachineArn"],
            input=json.dumps({"worker_id": leaving.worker_id}),
        )

        def ended() -> Row | None:
            told: Row = dict(cloud.states.describe_execution(executionArn=started["executionArn"]))
            return None if told["status"] == "RUNNING" else told

        told = eventually(ended, "the end of the drain")
        assert told["status"] == "SUCCEEDED", told
        assert json.loads(told["output"])["outcome"] == "drained"
        cloud.workers.remove(leaving)
        line.finish(answer)
    assert answer.text == LONG_ANSWER
    run = alice.get(f"/runs/{answer.run_id}")
    assert (run["status"], run["epoch"]) == ("completed", 2)
    gone = eventually(
        lambda: [each for each in leaving.log_lines() if each.get("message") == "worker.gone"],
        "its process ends",
    )
    assert len(gone) == 1
    assert leaving.worker_id not in {row["worker_id"] for row in cloud.rows("workers")}


def _logged_at(worker: RunningWorker, message: str, run_id: str) -> datetime:
    moments = [
        datetime.strptime(line["timestamp"], "%Y-%m-%d %H:%M:%S,%f%z")
        for line in worker.log_lines()
        if line.get("message") == message and line.get("run_id") == run_id
    ]
    assert len(moments) == 1
    return moments[0]
