"""A relay on loopback that counts the bytes of one connection, each way."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

HOST = "127.0.0.1"
_QUIET_S = 0.02


class Relayed:
    """The port to connect to, and the bytes that went up (to the server) and down so far."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._bytes: Counter[str] = Counter()

    def add(self, way: str, nbytes: int) -> None:
        self._bytes[way] += nbytes

    def counts(self) -> Counter[str]:
        """Return the bytes of both ways once nothing moves any more."""
        before = None
        while before != (now := Counter(self._bytes)):
            before = now
            time.sleep(_QUIET_S)
        return now


@contextmanager
def counting_proxy(port: int) -> Iterator[Relayed]:
    """Relay one connection to a port of this host."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(10)
        relayed = Relayed(listener.getsockname()[1])
        relay = Thread(target=_relay, args=(listener, port, relayed))
        relay.start()
        yield relayed
        relay.join(10)
        assert not relay.is_alive()


def _relay(listener: socket.socket, port: int, relayed: Relayed) -> None:
    client, _ = listener.accept()
    with client, socket.create_connection((HOST, port)) as server:
        up = Thread(target=_pump, args=(client, server, relayed, "up"))
        up.start()
        _pump(server, client, relayed, "down")
        up.join()


def _pump(source: socket.socket, sink: socket.socket, relayed: Relayed, way: str) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            relayed.add(way, len(data))
            sink.sendall(data)
    for end in (source, sink):  # one side has closed: the other pump ends as well
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
