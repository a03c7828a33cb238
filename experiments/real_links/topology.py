"""Network namespaces on one machine: a server and clients around a bridge, shaped by ``tc``.

The bridge has a namespace of its own, so nothing of the machine's own network is touched, and
deleting the namespaces removes every link, address and shaper.

    client-i (eth0) === (client-i) bridge (server) === (eth0) server
       ^ up              ^ down                ^ cap up   ^ cap down
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from cases import BITS_PER_BYTE, FRAME_BYTES, HOSTS, MAX_CLIENTS, Bucket, Case

PREFIX = "floss-links-"
SERVER, SWITCH = PREFIX + "server", PREFIX + "switch"
SERVER_ADDRESS = "10.77.0.100"
MTU_BYTES = 1500
QUEUE_S = 0.05  # a shaper drops what would wait longer
_SERVER_PORT = {"down": (SERVER, "eth0"), "up": (SWITCH, "server")}
_CLIENT_FIELD = {"down": "dst", "up": "src"}
_SPLITTER = ("rate", "10gbit", "burst", f"{2 * FRAME_BYTES}b")


@dataclass(frozen=True)
class Host:
    """A namespace with one interface ``eth0`` on the bridge."""

    namespace: str
    port: str
    address: str
    mac: str


def client_host(client: int) -> Host:
    """Return the host of one client (counted from zero)."""
    name = f"client-{client}"
    return Host(PREFIX + name, name, f"10.77.0.{client + 1}", f"02:00:00:00:00:{client + 1:02x}")


def server_host() -> Host:
    """Return the server's host."""
    return Host(SERVER, "server", SERVER_ADDRESS, "02:00:00:00:00:64")


@contextmanager
def network() -> Iterator[None]:
    """Build the namespaces, and remove them whatever happens inside."""
    remove()
    hosts = [server_host(), *map(client_host, range(HOSTS))]
    try:
        for namespace in (SWITCH, *(host.namespace for host in hosts)):
            _ip("netns", "add", namespace)
        _ip("-n", SWITCH, "link", "add", "name", "bridge0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", SWITCH, "link", "set", "bridge0", "up")
        for host in hosts:
            _plug(host, [other for other in hosts if other != host])
        yield
    finally:
        remove()


def remove() -> None:
    """Delete every namespace of this experiment, left-overs of a killed run included."""
    for line in _ip("netns", "list").splitlines():
        if line.startswith(PREFIX):
            _ip("netns", "delete", line.split()[0])


def shape_clients(down: Bucket, up: Bucket) -> None:
    """Shape each client's downloads at the bridge and its uploads at its own interface."""
    for host in map(client_host, range(HOSTS)):
        _shape(SWITCH, host.port, down)
        _shape(host.namespace, "eth0", up)


@contextmanager
def shaped_server(case: Case) -> Iterator[None]:
    """Cap what the server sends (``down``) or receives (``up``), if the case says so."""
    if not case.server:
        yield
        return
    namespace, interface = _SERVER_PORT[case.direction]
    if case.queue == "fifo":
        _shape(namespace, interface, case.server)
    else:
        _share(namespace, interface, case.server, _CLIENT_FIELD[case.direction])
    yield
    _tc("-n", namespace, "qdisc", "delete", "dev", interface, "root")


def _plug(host: Host, others: list[Host]) -> None:
    """Connect a host to the bridge; fixed neighbours spare the clock an ARP request."""
    inside, link = ("-n", host.namespace), ("address", host.mac, "mtu", str(MTU_BYTES))
    peer = ("peer", "name", host.port, "netns", SWITCH)
    _ip("link", "add", "name", "eth0", *link, "netns", host.namespace, "type", "veth", *peer)
    _ip("-n", SWITCH, "link", "set", host.port, "master", "bridge0", "up")
    _ip(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
    _ip(*inside, "link", "set", "eth0", "up")
    for other in others:
        at = ("lladdr", other.mac, "dev", "eth0", "nud", "permanent")
        _ip(*inside, "neighbour", "add", other.address, *at)


def _shape(namespace: str, interface: str, bucket: Bucket) -> None:
    rate = ("rate", f"{bucket.bits_per_s}bit", "burst", f"{bucket.burst_bytes}b")
    law = (*rate, "latency", f"{round(QUEUE_S * 1e3)}ms")
    _tc("-n", namespace, "qdisc", "replace", "dev", interface, "root", "tbf", *law)


def _share(namespace: str, interface: str, whole: Bucket, field: str) -> None:
    """Shape all together and serve a queue a client in turns, a frame each (``htb``).

    htb sends while its bucket is not below zero, so one frame passes beyond an empty one; and it
    would count a packet of many segments as one, so its queues (``tbf``, never full) split them.
    """
    on = ("dev", interface, "parent")
    part = Bucket(whole.bits_per_s // MAX_CLIENTS, whole.burst_bytes // MAX_CLIENTS - FRAME_BYTES)
    wait = ("limit", str(round(QUEUE_S * part.bits_per_s / BITS_PER_BYTE)))
    tc = partial(_tc, "-n", namespace)
    tc("qdisc", "add", "dev", interface, "root", "handle", "1:", "htb")
    tc("class", "add", *on, "1:", "classid", "1:100", "htb", *_htb(whole.bits_per_s, whole))
    for number, host in enumerate(map(client_host, range(MAX_CLIENTS)), start=1):
        name = f"1:{number}"
        law = (*_htb(whole.bits_per_s, part), "quantum", str(FRAME_BYTES))
        match = ("protocol", "ip", "u32", "match", "ip", field, host.address)
        tc("class", "add", *on, "1:100", "classid", name, "htb", *law)
        tc("qdisc", "add", *on, name, "tbf", *_SPLITTER, *wait)
        tc("filter", "add", *on, "1:", *match, "flowid", name)


def _htb(ceiling_bits_per_s: int, bucket: Bucket) -> tuple[str, ...]:
    burst = f"{bucket.burst_bytes}b"
    rates = ("rate", f"{bucket.bits_per_s}bit", "ceil", f"{ceiling_bits_per_s}bit")
    return (*rates, "burst", burst, "cburst", burst)


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _tc(*arguments: str) -> str:
    return _run("tc", *arguments)


def _run(tool: str, *arguments: str) -> str:
    command = [shutil.which(tool) or tool, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
