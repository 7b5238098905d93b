"""Tell: say to everybody who watches a run what no worker says: that it waits, and where it ended without
one, how."""

from chatcore.domain.run import Run
from chatcore.domain.waiting import Reason, Wait
from chatcore.ports import Posts
from chatcore.protocol.websocket import encode, ended_for, queued_for


def tell_viewers(posts: Posts, run: Run) -> None:
    """run: ended, its viewers still in it. Best effort: who misses it learns it when he attaches."""
    frame = encode(ended_for(run))
    for connection_id in sorted(run.viewers):
        posts.post(connection_id, frame)


def tell_others(posts: Posts, run: Run, wait: Wait, sender: str | None) -> None:
    """That a run was admitted and waits: to all but who sent it, and was answered. Where nobody is before
    it, its worker will speak at once. Best effort, like the other."""
    others = sorted(run.viewers - {sender})
    if others and wait.reason is not Reason.STARTING:
        frame = encode(queued_for(run, wait))
        for connection_id in others:
            posts.post(connection_id, frame)
