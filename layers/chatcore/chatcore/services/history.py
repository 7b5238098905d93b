"""History: read as much of a chat as a prompt may hold, newest first, no more."""

from collections.abc import Sequence

from chatcore.domain.chat import Message
from chatcore.domain.ledger import estimate_tokens
from chatcore.ports import MessageStore

PAGE = 40


def read_history(
    messages: MessageStore, chat_id: str, last_seq: int, budget_tokens: int
) -> Sequence[Message]:
    """Messages up to and with last_seq, in reading order; at least what fits the budget.

    A page is read on while what has been read surely fits, by a guess that is never below a fifth
    of the true count for any script: the exact choice is `context.build`'s.
    """
    found: list[Message] = []
    before: int | None = last_seq + 1
    least_tokens = 0
    while before is not None and least_tokens <= budget_tokens:
        page = messages.newest(chat_id, PAGE, before)
        found.extend(page.items)
        least_tokens += sum(estimate_tokens(message.text) // 5 for message in page.items)
        before = page.next_key[0] if page.next_key else None
    return found[::-1]
