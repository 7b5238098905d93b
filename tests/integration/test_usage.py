"""What answers used, on the local cloud: with each answer, in its chat, and day by day."""

import pytest

from tests.cloud import Cloud, Row
from tests.person import Person

pytestmark = pytest.mark.integration

KINDS = ("input_tokens", "cached_tokens", "output_tokens")


def summed(usages: list[Row]) -> Row:
    return {kind: sum(usage[kind] for usage in usages) for kind in KINDS}


def by_kind(told: Row) -> Row:
    return {kind: told[kind] for kind in KINDS}


def test_streamed_answers_show_up_in_their_chat_and_in_the_days_of_their_user(
    alice: Person, cloud: Cloud
) -> None:
    assert alice.get("/me/usage")["days"] == []
    with alice.line() as line:
        whole = line.ask("Please count to 20.")
        line.finish(whole)
        assert whole.end is not None
        chat_id = whole.end["chat_id"]
        stopped = line.ask("Please count to 500.", chat_id)
        line.until_length(stopped, 50)
        line.say("cancel", run_id=stopped.run_id)
        line.finish(stopped)
        elsewhere = line.ask("Please count to 10.")
        line.finish(elsewhere)
    ends = [answer.end or {} for answer in (whole, stopped, elsewhere)]
    assert [end["type"] for end in ends] == ["run.completed", "run.cancelled", "run.completed"]
    usages = [end["usage"] for end in ends]
    assert all(usage["output_tokens"] > 0 for usage in usages)
    # Told alike by the event, the run and the message.
    for answer, usage in zip((whole, stopped, elsewhere), usages, strict=True):
        run = alice.get(f"/runs/{answer.run_id}")
        assert run["usage"] == usage
        (stored,) = [
            message
            for message in alice.messages(run["chat_id"])
            if message["message_id"] == run["answer_message_id"]
        ]
        assert stored["usage"] == usage

    assert alice.get(f"/chats/{chat_id}")["usage"] == summed(usages[:2])
    listed = {chat["chat_id"]: chat["usage"] for chat in alice.get("/chats")["chats"]}
    assert listed == {chat_id: summed(usages[:2]), ends[2]["chat_id"]: usages[2]}
    # Two days, for those who test at midnight.
    told = alice.get("/me/usage", days=2)
    assert (told["total"]["runs"], by_kind(told["total"])) == (3, summed(usages))
    assert by_kind(told["total"]) == summed(told["days"])
    ended = {alice.get(f"/runs/{end['run_id']}")["ended_at"][:10] for end in ends}
    assert {used["day"] for used in told["days"]} == ended <= {told["first_day"], told["last_day"]}
    items = [row for row in cloud.rows("usage") if row["user_id"] == alice.user_id]
    assert sum(item["runs"] for item in items) == 3

    alice.delete(f"/chats/{chat_id}")
    assert alice.get("/me/usage", days=2) == told
