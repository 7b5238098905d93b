"""The compaction's steps: each says how it went, may be repeated, and lets faults go up."""

from dataclasses import asdict, replace
from typing import Any

import msgspec
import pytest

from chatcore.domain.chat import Chat
from chatcore.domain.errors import Retryable
from chatcore.domain.identity import background_id_for
from chatcore.domain.run import Kind, Status
from chatcore.domain.summary import Summary, SummaryAsked
from chatcore.domain.tiers import Tier
from chatcore.protocol.queue import Job, decode_job
from chatcore.settings import CompactChatSettings
from deploy.template import properties
from tests.contract.sends import ALICE, NOW_MS
from tests.unit.functions.cloud import Away, Cloud
from tests.unit.functions.loading import Context, load_function

ASKED = SummaryAsked(ALICE.user_id, "c_long", "", 8, 500)
RUN_ID = background_id_for(Kind.SUMMARY, "c_long", 8)
KEY = (ALICE.user_id, "c_long")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    cloud.enter(load_function("compact_chat"), monkeypatch)
    cloud.stores.chats.create(Chat(*KEY, None, NOW_MS, NOW_MS, last_seq=20))
    return cloud


def step(name: str, asked: SummaryAsked = ASKED) -> dict[str, Any]:
    event = {"step": name, "asked": asdict(asked)}
    reply: dict[str, Any] = load_function("compact_chat").handler(event, Context())
    return reply


def written(cloud: Cloud, run_id: str = RUN_ID, version: int = 1, up_to_seq: int = 8) -> Summary:
    """As a worker leaves it."""
    summary = Summary("c_long", run_id, version, up_to_seq, "## Facts", NOW_MS)
    cloud.stores.summaries.put(summary)
    return summary


def chat_of(cloud: Cloud) -> Chat:
    return cloud.database.chats[KEY]


def test_a_plan_is_the_job_that_the_machine_puts_into_the_lane(cloud: Cloud) -> None:
    planned = step("plan")
    assert step("plan") == planned
    assert planned["outcome"] == "planned"
    # With the token that the machine adds.
    body = msgspec.json.encode({**planned["job"], "task_token": "token"}).decode()
    assert decode_job(body) == Job(
        run_id=RUN_ID,
        chat_id="c_long",
        user_id=ALICE.user_id,
        tier=Tier.BACKGROUND,
        message_seq=8,
        created_ms=cloud.clock(),
        trace_id=planned["job"]["trace_id"],
        kind=Kind.SUMMARY,
        task_token="token",
    )
    run = cloud.database.runs[RUN_ID]
    assert (run.status, run.summary_tokens, run.created_ms) == (Status.QUEUED, 500, cloud.clock())
    assert chat_of(cloud).compacting == RUN_ID


def test_a_plan_carries_the_trace_of_its_call(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5e-7;Sampled=1")
    assert step("plan")["job"]["trace_id"] == "1-5e-7"


@pytest.mark.parametrize(
    ("asked", "outcome"),
    [
        (replace(ASKED, chat_id="c_other"), "chat_gone"),
        (replace(ASKED, user_id="user-bob"), "chat_gone"),
        (replace(ASKED, summary_id="b_former"), "outdated"),
    ],
)
def test_what_is_not_needed_is_not_planned(cloud: Cloud, asked: SummaryAsked, outcome: str) -> None:
    assert step("plan", asked) == {"outcome": outcome}
    assert cloud.database.runs == {}
    assert chat_of(cloud).compacting == ""


def test_a_deleted_chat_is_not_compacted(cloud: Cloud) -> None:
    cloud.stores.chats.mark_deleted(*KEY, NOW_MS)
    assert step("plan") == {"outcome": "chat_gone"}


def test_a_commit_puts_the_summary_in_place_of_the_former(cloud: Cloud) -> None:
    step("plan")
    first = written(cloud)
    for _ in range(2):
        assert step("commit") == {"outcome": "committed"}
        assert (chat_of(cloud).summary_id, chat_of(cloud).compacting) == (RUN_ID, "")
    further = replace(ASKED, summary_id=RUN_ID, up_to_seq=16)
    job = step("plan", further)["job"]
    assert (job["prior_seq"], job["summary_id"]) == (8, RUN_ID)
    second = written(cloud, job["run_id"], 2, 16)
    assert set(cloud.database.summaries.values()) == {first, second}
    assert step("commit", further) == {"outcome": "committed"}
    assert chat_of(cloud).summary_id == second.summary_id
    # The first, told late: what came after it stays.
    assert step("commit") == {"outcome": "outdated"}
    assert chat_of(cloud).summary_id == second.summary_id
    # Who was sent before the second goes by the first; the next plan removes it.
    assert set(cloud.database.summaries.values()) == {first, second}
    step("plan", replace(ASKED, summary_id=second.summary_id, up_to_seq=20))
    assert set(cloud.database.summaries.values()) == {second}


def test_a_commit_without_a_summary_frees_the_chat(cloud: Cloud) -> None:
    step("plan")
    assert step("commit") == {"outcome": "outdated"}
    assert (chat_of(cloud).summary_id, chat_of(cloud).compacting) == ("", "")


def test_a_commit_into_a_deleted_chat_changes_nothing(cloud: Cloud) -> None:
    step("plan")
    written(cloud)
    cloud.stores.chats.mark_deleted(*KEY, NOW_MS)
    assert step("commit") == {"outcome": "outdated"}
    assert (chat_of(cloud).summary_id, chat_of(cloud).compacting) == ("", "")


def test_a_release_frees_the_chat_for_the_next_try(cloud: Cloud) -> None:
    step("plan")
    for _ in range(2):
        assert step("release") == {"outcome": "released"}
        assert chat_of(cloud).compacting == ""
    assert step("plan", replace(ASKED, up_to_seq=12))["outcome"] == "planned"
    assert step("release") == {"outcome": "released"}
    assert chat_of(cloud).compacting == background_id_for(Kind.SUMMARY, "c_long", 12)


@pytest.mark.parametrize("name", ["plan", "commit", "release"])
def test_faults_go_up(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    step("plan")
    written(cloud)
    away: Any = Away()
    monkeypatch.setattr(load_function("compact_chat"), "stores", replace(cloud.stores, chats=away))
    with pytest.raises(Retryable):
        step(name)


def test_a_step_that_there_is_not_is_a_fault(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="sumarise"):
        step("sumarise")
    assert chat_of(cloud).compacting == ""


def test_its_settings_are_what_the_template_gives_it() -> None:
    given = dict.fromkeys(properties("CompactChatFunction")["Environment"]["Variables"], "given")
    tables = asdict(CompactChatSettings.read(given).tables)
    told = {f"{name.upper()}_TABLE" for name, value in tables.items() if value}
    assert told == given.keys() - {"POWERTOOLS_SERVICE_NAME"}
