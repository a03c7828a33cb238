"""A relay between nodes and a SuperLink that counts bytes by node, path and direction.

Flower's nodes speak HTTP/1.1 over kept connections, one request at a time. What a node sends from
the first line of a request on belongs to its path, and so does what comes back until the next one.
Nodes of versions before 1.40 speak gRPC (:mod:`relay_grpc`). Counted are the bytes at the socket:
headers and bodies, without TCP and IP.

    python relay.py http|grpc OUT.json SUPERLINK_HOST:PORT NODE=HOST:PORT ...
"""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

_CHUNK = 1 << 16
_EMPTY_BYTES = 160  # a response below has HTTP's headers and no content
_REQUEST = re.compile(rb"(?:^|\r\n\r\n|)(?:POST|GET) (\S+) HTTP/1\.1\r\n")


class Counts:
    """Requests and bytes by node and path."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._bytes: Counter[tuple[str, str, str]] = Counter()
        self._vain: Counter[tuple[str, str, str]] = Counter()

    def add(self, node: str, path: str, way: str, nbytes: int) -> None:
        """Count bytes of a request (``up``) or of its response (``down``)."""
        with self._lock:
            self._bytes[node, path, way] += nbytes

    def begin(self, node: str, path: str) -> None:
        """Count a request."""
        with self._lock:
            self._requests[node, path] += 1

    def end(self, node: str, path: str, up: int, down: int) -> None:
        """Count a request that was answered, and apart from others one without content."""
        if down < _EMPTY_BYTES:
            with self._lock:
                for key, amount in (("count", 1), ("up", up), ("down", down)):
                    self._vain[node, path, key] += amount

    def rows(self) -> list[dict[str, object]]:
        """Return a row for each node and path."""
        with self._lock:
            return [
                {
                    "node": node, "path": path, "requests": count,
                    "up_bytes": self._bytes[node, path, "up"],
                    "down_bytes": self._bytes[node, path, "down"],
                    "empty": self._vain[node, path, "count"],
                    "empty_up_bytes": self._vain[node, path, "up"],
                    "empty_down_bytes": self._vain[node, path, "down"],
                }
                for (node, path), count in sorted(self._requests.items())
            ]  # fmt: skip


class Connection(Protocol):
    """One relayed connection of a node."""

    def sent(self, data: bytes) -> None:
        """Count what a node sent."""

    def received(self, data: bytes) -> None:
        """Count what the SuperLink sent."""


class HttpConnection:
    """One relayed connection of HTTP/1.1."""

    def __init__(self, node: str, counts: Counts) -> None:
        self.node, self.counts, self.path = node, counts, "?"
        self.up = self.down = 0  # bytes of the request under way, and of its response

    def sent(self, data: bytes) -> None:
        """Count what a node sent; a chunk begins with a request's line or goes on with a body."""
        found = _REQUEST.match(data)
        if found:
            if self.down:
                self.counts.end(self.node, self.path, self.up, self.down)
            self.up = self.down = 0
            self.path = found[1].decode()
            self.counts.begin(self.node, self.path)
        self.up += len(data)
        self.counts.add(self.node, self.path, "up", len(data))

    def received(self, data: bytes) -> None:
        """Count what the SuperLink sent."""
        self.down += len(data)
        self.counts.add(self.node, self.path, "down", len(data))


def _pump(source: socket.socket, sink: socket.socket, seen: object) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            seen(data)  # type: ignore[operator]
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _serve(
    listener: socket.socket,
    node: str,
    target: tuple[str, int],
    counts: Counts,
    connect: Callable[[str, Counts], Connection],
) -> None:
    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(target)
        except OSError:  # the SuperLink is not there; the node tries again
            client.close()
            continue
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = connect(node, counts)
        for arguments in (
            (client, server, connection.sent),
            (server, client, connection.received),
        ):
            threading.Thread(target=_pump, args=arguments, daemon=True).start()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    """Relay until SIGTERM, then write the counts; SIGUSR1 writes those so far."""
    interface, out, target, *nodes = sys.argv[1:]
    connect: Callable[[str, Counts], Connection] = HttpConnection
    if interface == "grpc":
        from relay_grpc import GrpcConnection

        connect = GrpcConnection
    counts, done = Counts(), threading.Event()

    def write(*_: object) -> None:
        Path(out).write_text(json.dumps(counts.rows(), indent=1), encoding="utf-8")

    signal.signal(signal.SIGUSR1, write)
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    for word in nodes:
        node, _, place = word.partition("=")
        listener = socket.create_server(_address(place))
        arguments = (listener, node, _address(target), counts, connect)
        threading.Thread(target=_serve, args=arguments, daemon=True).start()
    done.wait()
    write()


if __name__ == "__main__":
    main()
