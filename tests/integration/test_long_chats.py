"""Long chats on the running stack: titles, and a compaction from its start to the next prompt."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cloud import Cloud, eventually
from tests.person import Person

pytestmark = pytest.mark.integration

FACT = "The gate code of the boathouse is 2930."
PROSE = " ".join(f"I saw the lantern by the willow on morning {number}." for number in range(24))
MOST_TURNS = 12


def test_a_chat_that_nobody_named_gets_a_title_and_nothing_of_it_is_billed(alice: Person) -> None:
    run = alice.ended_run(alice.send("My dog Rex likes the cold river.")["run_id"])
    chat = f"/chats/{run['chat_id']}"
    title = eventually(lambda: alice.get(chat)["title"], "the chat is named")
    assert "dog" in title.lower()
    assert alice.get(chat)["usage"] == run["usage"]
    assert alice.get("/me/usage")["total"]["runs"] == 1
    assert alice.footprint()[:3] == (1, 2, 1)


def test_a_long_chat_is_compacted_and_goes_on_from_its_summary(
    cloud: Cloud, person: Callable[[str], Person]
) -> None:
    # Of the tier with the smallest context, which is compacted soonest.
    alice = person("free")
    with alice.line() as line:
        first = line.ask(FACT)
        line.finish(first)
        assert first.end is not None
        chat_id = first.end["chat_id"]
        for number in range(MOST_TURNS):
            answer = line.ask(f"{number}. {PROSE}", chat_id)
            line.finish(answer)
            context = alice.get(f"/runs/{answer.run_id}")["context"]
            assert context["tokens"] <= context["budget_tokens"]
            if context["summary"] is not None:
                break
        else:
            raise AssertionError(f"no summary in {MOST_TURNS} turns")
        assert context["summary"]["version"] == 1
        # Many turns may have come before it was there.
        assert context["tail"]["begins"] in ("the_summary", "the_cut")
        asked = line.ask("What is the gate code of the boathouse?", chat_id)
        line.finish(asked)
    assert "2930" in asked.text
    summaries = [row for row in cloud.rows("summaries") if row["chat_id"] == chat_id]
    assert all("2930" in summary["text"] for summary in summaries)
    machine = cloud.outputs["CompactStateMachineArn"]
    # The next one may be under way.
    (execution, *_) = [
        each
        for each in cloud.states.list_executions(stateMachineArn=machine)["executions"]
        if chat_id in each["name"] and each["status"] == "SUCCEEDED"
    ]
    # What an operator sees of it holds nothing that was said.
    told = cloud.states.describe_execution(executionArn=execution["executionArn"])
    assert "2930" not in told["input"] + told.get("output", "")

    alice.delete(f"/chats/{chat_id}")
    eventually(
        lambda: not [row for row in cloud.rows("summaries") if row["chat_id"] == chat_id],
        "its summary is gone",
    )
