"""History: read what a chat's next prompt is built from."""

from chatcore.domain.context import History
from chatcore.ports import Stores

MOST_MESSAGES = 12_000
"""The newest so many: what is older is in the summary alone. Bounds what a worker holds of one chat."""


def read_history(stores: Stores, chat_id: str, last_seq: int, summary_id: str) -> History:
    """Messages up to and with last_seq, in reading order, and the summary of that id. Raises
    StoreUnavailable."""
    page = stores.messages.newest(chat_id, MOST_MESSAGES, last_seq + 1)
    summary = stores.summaries.get(chat_id, summary_id) if summary_id else None
    return History(page.items[::-1], summary)
