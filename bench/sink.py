"""The far end of the worker's AWS calls: answers at once, notes when each frame came, does nothing else.

A process of its own, so that its CPU time is not the worker's. It knows just the calls that a streaming
worker repeats: PostToConnection, DynamoDB's PutItem, BatchWriteItem and UpdateItem (of a run: answered
with the item that it was given beforehand), SQS's ChangeMessageVisibility. Left out: latency,
throttling, TLS, checking signatures.

    PUT /items    {run_id: item, as DynamoDB's JSON}
    GET /frames   [[connection_id, seconds of the monotonic clock, the frame's text], …]
    GET /calls    {operation: how often}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import unquote

_END_OF_HEAD = b"\r\n\r\n"
_TARGET = "x-amz-target"


@dataclass
class Noted:
    frames: list[tuple[str, float, str]] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    items: dict[str, dict[str, object]] = field(default_factory=dict)


class Sink(asyncio.Protocol):
    def __init__(self, noted: Noted) -> None:
        self._noted = noted
        self._unread = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while True:
            end = self._unread.find(_END_OF_HEAD)
            if end < 0:
                return
            line, *fields = self._unread[:end].decode("latin-1").split("\r\n")
            head = {
                name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)
            }
            start = end + len(_END_OF_HEAD)
            size = int(head.get("content-length", 0))
            if len(self._unread) < start + size:
                return
            body = bytes(self._unread[start : start + size])
            del self._unread[: start + size]
            method, path, _ = line.split(" ", 2)
            answer = self._answer(method, path, head, body)
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
            )

    def _answer(self, method: str, path: str, head: dict[str, str], body: bytes) -> bytes:
        noted = self._noted
        if "/@connections/" in path:
            connection_id = unquote(path.rpartition("/")[2])
            noted.frames.append((connection_id, time.monotonic(), body.decode("utf-8")))
            noted.calls["PostToConnection"] += 1
            return b""
        if path == "/items":
            noted.items = json.loads(body)
            return b"{}"
        if path == "/frames":
            return json.dumps(noted.frames).encode()
        if path == "/calls":
            return json.dumps(noted.calls).encode()
        operation = head.get(_TARGET, f"{method} {path}").rpartition(".")[2]
        noted.calls[operation] += 1
        if operation == "UpdateItem":
            run_id = json.loads(body)["Key"]["run_id"]["S"]
            return json.dumps({"Attributes": noted.items[run_id]}).encode()
        return b'{"UnprocessedItems": {}}' if operation == "BatchWriteItem" else b"{}"


async def serve() -> None:
    """Until ended. Tells its port as the first line of its output."""
    noted = Noted()
    server = await asyncio.get_running_loop().create_server(lambda: Sink(noted), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        sys.exit(130)
