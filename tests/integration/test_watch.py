"""The operator's view shows what the log lines of the running cloud say, and the demo leaves no trace."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from local import demo
from local.accounts import ACCOUNTS
from local.watch.samples import percentile
from tests.cloud import SLOTS, Cloud, Row, eventually
from tests.person import Person

pytestmark = [
    pytest.mark.integration,
    pytest.mark.local("reads the log files of processes"),
]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def picture(cloud: Cloud, tmp_path: Path) -> Callable[[], list[str]]:
    """The lines of `python -m local watch --once`, as wide as it takes to show every column."""
    endpoints = tmp_path / "endpoints.json"
    cloud.endpoints.write(endpoints)

    def once() -> list[str]:
        command = [sys.executable, "-m", "local", "watch", "--once", "--endpoints", str(endpoints)]
        environment = {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'chatcore'}",
            "COLUMNS": "200",
            "PATH": "/usr/bin:/bin",
            "PYTHONIOENCODING": "utf-8",
        }
        told = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        return told.stdout.splitlines()

    return once


def row(picture: list[str], part: str, beginning: str) -> str:
    (title,) = (number for number, line in enumerate(picture) if f"─ {part}" in line)
    return next(line for line in picture[title:] if line.strip("│ ").startswith(beginning))


def logged(cloud: Cloud, message: str, **fields: str) -> list[Row]:
    return [
        line
        for worker in cloud.workers
        for line in worker.log_lines()
        if line["message"] == message and fields.items() <= line.items()
    ]


def test_it_shows_the_workers_and_the_times_that_their_lines_tell(
    person: Callable[[str], Person], cloud: Cloud, picture: Callable[[], list[str]]
) -> None:
    somebody = person("pro")
    runs = [somebody.send(f"Please count to {last}.")["run_id"] for last in (5, 10, 15)]
    for run_id in runs:
        somebody.ended_run(run_id)
        eventually(lambda run_id=run_id: logged(cloud, "run.ended", run_id=run_id), "its line")  # type: ignore[misc]
    shown = picture()
    for worker in cloud.workers:
        told = row(shown, "Workers", worker.service.name)
        assert "ready" in told
        assert f"of {SLOTS} slots" in told
    times = [
        line["ttft_ms"]
        for name in ("run.ended", "run.handed_back")
        for line in logged(cloud, name, tier="pro")
        if "ttft_ms" in line
    ]
    assert len(times) >= len(runs)
    p50, p95 = percentile(times, 50), percentile(times, 95)
    assert f" {p50:,.0f} / {p95:,.0f} " in row(shown, "Tiers", "P pro")
    assert f"{cloud.endpoints.stack_name}   {len(cloud.workers)} workers" in shown[0]


def test_a_run_in_the_making_is_in_its_workers_slot(
    alice: Person, cloud: Cloud, picture: Callable[[], list[str]]
) -> None:
    with alice.line() as line:
        answer = line.ask("Please count to 400.")
        line.until_length(answer, 20)
        shown = picture()
        worker = cloud.worker_of(answer.run_id)
        line.say("cancel", run_id=answer.run_id)
        line.finish(answer)
    told = row(shown, "Workers", worker.service.name)
    assert f"+{answer.run_id[-3:]}" in shown[shown.index(told) + 1]
    # Its job is in its worker's hands until it is over.
    assert int(row(shown, "Lanes", "+ plus").strip("│ ").split()[-1]) >= 1


def test_queues_are_counted_as_sqs_does(cloud: Cloud, picture: Callable[[], list[str]]) -> None:
    dead_letters = cloud.outputs["DeadLetterQueueUrl"]
    before = picture()[0]
    cloud.sqs.send_message(QueueUrl=dead_letters, MessageBody="{}")
    after = picture()[0]
    found = cloud.sqs.receive_message(QueueUrl=dead_letters, MaxNumberOfMessages=10)["Messages"]
    (ours,) = (message for message in found if message["Body"] == "{}")
    cloud.sqs.delete_message(QueueUrl=dead_letters, ReceiptHandle=ours["ReceiptHandle"])
    count = int(before.split(" dead letter")[0].rsplit(" ", 1)[-1])
    assert f", {count + 1} dead letter" in after


def test_the_demo_ends_by_itself_and_takes_its_chats_and_guests_away(cloud: Cloud) -> None:
    chats_before = {row["chat_id"] for row in cloud.rows("chats")}
    claimed_before = len(logged(cloud, "run.claimed"))
    console = Console(file=io.StringIO())
    stage = demo.run(cloud.endpoints, console, duration_s=8, prompts=30, crowd=2)
    assert 0 < stage.sent <= 30
    # By the lines: what has been deleted is no longer in the tables.
    assert len(logged(cloud, "run.claimed")) > claimed_before
    left = [
        row
        for row in cloud.rows("chats")
        if row["chat_id"] not in chats_before and not row.get("deleted_ms")
    ]
    assert left == []
    pool = cloud.cognito.list_users(UserPoolId=cloud.outputs["UserPoolId"], Limit=60)
    emails = {
        attribute["Value"]
        for user in pool["Users"]
        for attribute in user["Attributes"]
        if attribute["Name"] == "email"
    }
    assert not any(email.startswith("guest-") for email in emails)
    assert {account.email for account in ACCOUNTS} <= emails
