"""Places of a SuperLink and its nodes: this machine's loopback, or shaped network namespaces.

In namespaces each node has one link to the server, shaped by ``tc``: 20 Mbit/s down at the server's
end, 5 Mbit/s up at the node's. Deleting the namespaces removes links, addresses and shapers; the
machine's own network is not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PREFIX = "floss-flower-"
SERVER = PREFIX + "server"
DOWN_BITS_PER_S, UP_BITS_PER_S = 20_000_000, 5_000_000
_BURST_BYTES, _QUEUE_MS = 16_000, 200
SUPERLINK_PORT, GRPC_PORT, FIRST_RELAY_PORT, FIRST_RUNTIME_PORT = 8460, 8461, 8470, 8490


@dataclass(frozen=True)
class Place:
    """Where a process runs, and where it is reached.

    Attributes:
        name: Name of the node, or ``server``.
        inside: Words before a command that runs there.
        relay: Address at which the node reaches its relay.
        runtime_port: Port of the node's own interface.
    """

    name: str
    inside: tuple[str, ...]
    relay: str
    runtime_port: int


@dataclass(frozen=True)
class Places:
    """The server's place and the nodes', and the rates of their links; None on loopback."""

    server: Place
    nodes: tuple[Place, ...]
    rates_bits_per_s: tuple[int, int] | None


def can_shape() -> bool:
    """Return whether namespaces and shapers can be made here."""
    if os.geteuid() or not (shutil.which("ip") and shutil.which("tc")):
        return False
    try:
        _ip("netns", "add", PREFIX + "probe")
    except subprocess.CalledProcessError:
        return False
    _ip("netns", "delete", PREFIX + "probe")
    return True


@contextmanager
def loopback(nodes: int) -> Iterator[Places]:
    """Yield places on this machine's loopback."""
    made = tuple(
        Place(f"node-{i}", (), f"127.0.0.1:{FIRST_RELAY_PORT + i}", FIRST_RUNTIME_PORT + i)
        for i in range(nodes)
    )
    yield Places(Place("server", (), "", 0), made, None)


@contextmanager
def namespaces(nodes: int) -> Iterator[Places]:
    """Yield places in shaped namespaces, and remove them whatever happens."""
    _remove()
    try:
        _ip("netns", "add", SERVER)
        _ip("-n", SERVER, "link", "set", "lo", "up")
        yield Places(
            Place("server", ("ip", "netns", "exec", SERVER), "", 0),
            tuple(_node(i) for i in range(nodes)),
            (DOWN_BITS_PER_S, UP_BITS_PER_S),
        )
    finally:
        _remove()


def _node(number: int) -> Place:
    name, port = f"{PREFIX}node-{number}", f"n{number}"
    ours, theirs = f"10.79.{number}.1", f"10.79.{number}.2"
    _ip("netns", "add", name)
    _ip("-n", name, "link", "set", "lo", "up")
    peer = ("peer", "name", "eth0", "netns", name)
    _ip("link", "add", "name", port, "netns", SERVER, "type", "veth", *peer)
    ends = ((SERVER, port, ours, DOWN_BITS_PER_S), (name, "eth0", theirs, UP_BITS_PER_S))
    for where, interface, address, rate in ends:
        _ip("-n", where, "address", "add", f"{address}/24", "dev", interface)
        _ip("-n", where, "link", "set", interface, "up")
        law = ("rate", f"{rate}bit", "burst", f"{_BURST_BYTES}b", "latency", f"{_QUEUE_MS}ms")
        _run("tc", "-n", where, "qdisc", "replace", "dev", interface, "root", "tbf", *law)
    inside = ("ip", "netns", "exec", name)
    return Place(
        f"node-{number}", inside, f"{ours}:{FIRST_RELAY_PORT + number}", FIRST_RUNTIME_PORT
    )


def _remove() -> None:
    """Delete every namespace of this experiment, left-overs of a killed run included."""
    for line in _ip("netns", "list").splitlines():
        if line.startswith(PREFIX):
            _ip("netns", "delete", line.split()[0])


def _ip(*words: str) -> str:
    return _run("ip", *words)


def _run(*words: str) -> str:
    done = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout
