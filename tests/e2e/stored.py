"""Chats with answers that the demo engine would not give."""

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
