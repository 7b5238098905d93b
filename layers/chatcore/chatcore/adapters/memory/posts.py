"""Owns connections in memory. Left out: latency, throttling, and posts that succeed into the void."""

from dataclasses import dataclass, field

from chatcore.ports import Posted


@dataclass(slots=True)
class MemoryPosts:
    """frames: what each open connection got, in order."""

    frames: dict[str, list[bytes]] = field(default_factory=dict)

    def open(self, connection_id: str) -> None:
        self.frames[connection_id] = []

    def close(self, connection_id: str) -> None:
        self.frames.pop(connection_id, None)

    def post(self, connection_id: str, frame: bytes) -> Posted:
        if connection_id not in self.frames:
            return Posted.GONE
        self.frames[connection_id].append(frame)
        return Posted.SENT
