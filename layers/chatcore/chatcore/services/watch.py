"""Watch: have a connection told of each run of a chat from its beginning, whoever sends it."""

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import User
from chatcore.ports import ChatStore


def watch(chats: ChatStore, user: User, chat_id: str, connection_id: str) -> Refusal | None:
    """Why not, or None. Raises StoreUnavailable; watching again is safe."""
    if chats.watch(user.user_id, chat_id, connection_id):
        return None
    return Refusal(Code.CHAT_NOT_FOUND, "There is no such chat.", chat_id)
