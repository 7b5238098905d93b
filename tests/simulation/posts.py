"""Owns the worker's way to connections that are played synchronously: a post is one of its calls.

So a post takes the time of a call, a stalled process's posts hang, and a dead one's do not happen.
"""

from dataclasses import dataclass

from chatcore.ports import Posted, Posts
from gpu_service.worker.threads import Calls


@dataclass(frozen=True, slots=True)
class CalledPosts:
    posts: Posts
    calls: Calls

    async def post(self, connection_id: str, frame: bytes) -> Posted:
        return await self.calls(self.posts.post, connection_id, frame)
