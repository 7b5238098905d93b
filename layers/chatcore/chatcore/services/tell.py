"""Tell: say how a run ended to everybody who watches it, where no worker does."""

from chatcore.domain.run import Run
from chatcore.ports import Posts
from chatcore.protocol.websocket import encode, ended_for


def tell_viewers(posts: Posts, run: Run) -> None:
    """run: ended, its viewers still in it. Best effort: who misses it learns it when he attaches."""
    frame = encode(ended_for(run))
    for connection_id in sorted(run.viewers):
        posts.post(connection_id, frame)
