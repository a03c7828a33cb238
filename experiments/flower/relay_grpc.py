"""Bytes of a relayed gRPC connection by method: frames of HTTP/2 without TLS.

A frame belongs to the method of its stream, headers and data alike. Frames of the connection
(settings, window updates, pings) belong to the path ``connection``. Methods are written as the
paths of Flower's HTTP interface: ``pull-messages`` for ``PullMessages``. Needs the package
``hpack`` in the environment of Flower.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpack import Decoder

if TYPE_CHECKING:
    from relay import Counts

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD, _HEADERS, _END_STREAM, _PADDED, _PRIORITY = 9, 1, 0x1, 0x8, 0x20
_CONNECTION = "connection"


class GrpcConnection:
    """One relayed gRPC connection of a node."""

    def __init__(self, node: str, counts: Counts) -> None:
        self.node, self.counts = node, counts
        self._headers = Decoder()
        self._paths: dict[int, str] = {}
        self._bytes: dict[int, dict[str, int]] = {}  # by stream: up, down
        self._left = {"up": b"", "down": b""}
        counts.begin(node, _CONNECTION)

    def sent(self, data: bytes) -> None:
        """Count what a node sent."""
        self._read(data, "up")

    def received(self, data: bytes) -> None:
        """Count what the SuperLink sent."""
        self._read(data, "down")

    def _read(self, data: bytes, way: str) -> None:
        data = self._left[way] + data
        if way == "up" and data.startswith(_PREFACE):
            self.counts.add(self.node, _CONNECTION, way, len(_PREFACE))
            data = data[len(_PREFACE) :]
        while len(data) >= _HEAD and len(data) >= (end := _HEAD + int.from_bytes(data[:3], "big")):
            self._count(data[:end], way)
            data = data[end:]
        self._left[way] = data

    def _count(self, frame: bytes, way: str) -> None:
        kind, flags = frame[3], frame[4]
        stream = int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF
        if kind == _HEADERS and way == "up":
            self._paths[stream] = self._path(frame, flags)
            self.counts.begin(self.node, self._paths[stream])
        path = self._paths.get(stream, _CONNECTION)
        self.counts.add(self.node, path, way, len(frame))
        if path == _CONNECTION:
            return
        sums = self._bytes.setdefault(stream, {"up": 0, "down": 0})
        sums[way] += len(frame)
        if way == "down" and flags & _END_STREAM and kind == _HEADERS:
            self.counts.end(self.node, path, sums["up"], sums["down"])
            del self._bytes[stream]

    def _path(self, frame: bytes, flags: int) -> str:
        block = frame[_HEAD:]
        if flags & _PADDED:
            block = block[1 : len(block) - block[0]]
        if flags & _PRIORITY:
            block = block[5:]
        method = dict(self._headers.decode(block, raw=True))[b":path"].decode()  # some are binary
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", method.rpartition("/")[2]).lower()
