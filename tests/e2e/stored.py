"""Chats with answers that the demo engine would not give."""

from collections.abc import Sequence

from tests.cloud import Cloud
from tests.person import Person


def chat_with_answer(
    cloud: Cloud, who: Person, answer: str, question: str = "Please count to 3."
) -> str:
    """A chat of one turn whose answer is this text, whatever the engine said; its id."""
    run = who.ended_run(who.send(question)["run_id"])
    (item,) = [
        row
        for row in cloud.rows("messages")
        if row["chat_id"] == run["chat_id"] and row["role"] == "assistant"
    ]
    cloud.table("messages").update_item(
        Key={"chat_id": item["chat_id"], "seq": item["seq"]},
        UpdateExpression="SET #text = :text",
        ExpressionAttributeNames={"#text": "text"},
        ExpressionAttributeValues={":text": answer},
    )
    chat_id: str = run["chat_id"]
    return chat_id


def long_chat(cloud: Cloud, who: Person, turns: Sequence[tuple[str, str]]) -> str:
    """A chat of these questions and answers, with one more turn at its end; its id."""
    chat_id = chat_with_answer(cloud, who, "Here it is.")
    rows = [row for row in cloud.rows("messages") if row["chat_id"] == chat_id]
    first_seq = min(row["seq"] for row in rows)
    pattern = {row["role"]: row for row in rows}
    with cloud.table("messages").batch_writer() as batch:
        for number, turn in enumerate(turns):
            run_id = f"r_before{number:08}"
            for place, (role, text) in enumerate(zip(("user", "assistant"), turn, strict=True)):
                batch.put_item(
                    Item={
                        **pattern[role],
                        "seq": first_seq - 2 * (len(turns) - number) + place,
                        "message_id": f"before-{number}-{role}",
                        "run_id": run_id,
                        "text": text,
                    }
                )
    return chat_id
