"""Both ends of a TCP connection, each a process in its network namespace, and one transfer.

Instants are ``time.perf_counter()``, which on Linux is one clock for all processes and
namespaces. Nothing polls: a sender sleeps until the common start, a receiver blocks in ``recv``.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from topology import SERVER_ADDRESS, client_host, server_host

CONGESTION_CONTROL = "cubic"  # Linux' default
SYSCTLS = {
    "tcp_no_metrics_save": "1",  # a connection starts without what earlier ones learned
    "tcp_timestamps": "1",
}
Instants = dict[str, float]
_SYSCTL_DIR = Path("/proc/sys/net/ipv4")
_FIRST_PORT = 5000
_PATIENCE_S = 60.0
_ANSWER_BYTES = 1
_NEW_NETWORK, _PARENT_DEATH_SIGNAL = 0x40000000, 1  # CLONE_NEWNET, PR_SET_PDEATHSIG
_RETRANSMITS, _LEAST_ROUND_TRIP = slice(100, 104), slice(148, 152)  # within struct tcp_info


@dataclass(frozen=True)
class Order:
    """One transfer as both ends are told it; a new connection is the client's to open."""

    direction: str
    payload_bytes: int
    connection: str
    start_at_s: float

    def is_sent_by(self, end: str) -> bool:
        """Return whether ``client`` or ``server`` is the one that sends."""
        return (self.direction == "up") == (end == "client")

    def is_started_by(self, end: str) -> bool:
        """Return whether the clock starts with this end: its connect, or its first send."""
        return end == "client" if self.connection == "new" else self.is_sent_by(end)


class Pair:
    """The processes of one client and of its counterpart in the server's namespace."""

    def __init__(self, client: int) -> None:
        self._pipes = [
            _spawn(server_host().namespace, _serve, _FIRST_PORT + client),
            _spawn(client_host(client).namespace, _connect, _FIRST_PORT + client),
        ]

    def begin(self, order: Order) -> None:
        """Tell both ends to transfer."""
        for pipe in self._pipes:
            pipe.send(order)

    def finish(self) -> Instants:
        """Return instants (start, first byte, last byte) and what TCP counted."""
        return _answer(self._pipes[0]) | _answer(self._pipes[1])


def _answer(pipe: Connection) -> Any:
    if not pipe.poll(_PATIENCE_S):
        raise RuntimeError(f"no answer from a transfer within {_PATIENCE_S:g} s")
    return pipe.recv()


def _spawn(namespace: str, body: Callable[..., None], port: int) -> Connection:
    """Start an end in its namespace; return once it listens or is connected."""
    ours, theirs = multiprocessing.Pipe()
    fork = multiprocessing.get_context("fork")
    fork.Process(target=_live, args=(namespace, body, port, theirs), daemon=True).start()
    theirs.close()
    _answer(ours)
    return ours


def _live(namespace: str, body: Callable[..., None], port: int, pipe: Connection) -> None:
    """Enter the namespace and go ahead of other jobs; end when the parent ends, however it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    with Path("/run/netns", namespace).open() as file:
        if libc.setns(file.fileno(), _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"entering {namespace}")
    for name, value in SYSCTLS.items():
        (_SYSCTL_DIR / name).write_text(value)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    body(port, pipe)


def _serve(port: int, pipe: Connection) -> None:
    with socket.create_server((SERVER_ADDRESS, port)) as listener:
        _choose_congestion_control(listener)  # for the connections that it accepts, too
        pipe.send("listens")
        _obey(pipe, "server", lambda: listener.accept()[0])


def _connect(port: int, pipe: Connection) -> None:
    def connected() -> socket.socket:
        link = socket.socket()
        _choose_congestion_control(link)
        link.connect((SERVER_ADDRESS, port))
        return link

    with connected() as kept:
        pipe.send("connected")
        _obey(pipe, "client", connected, kept)


def _choose_congestion_control(link: socket.socket) -> None:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL.encode())


def _obey(
    pipe: Connection,
    end: str,
    opened: Callable[[], socket.socket],
    kept: socket.socket | None = None,
) -> None:
    """Carry out orders for ever; the connection that is kept opens before the first."""
    kept = kept or opened()
    while True:
        order = pipe.recv()
        if order.connection == "new":
            pipe.send(_transfer(order, end, opened))
        else:
            pipe.send(_transfer(order, end, lambda: contextlib.nullcontext(kept)))


def _transfer(order: Order, end: str, opened: Callable[[], Any]) -> Instants:
    """Take part in one transfer; what the other end sees is not in the result."""
    move = _send if order.is_sent_by(end) else _receive
    buffer = bytearray(b"." * order.payload_bytes)
    seen: Instants = {}
    if order.is_started_by(end):
        time.sleep(max(0.0, order.start_at_s - time.perf_counter()))
        seen["started_at_s"] = time.perf_counter()
    with opened() as link:
        return seen | move(link, buffer)


def _send(link: socket.socket, payload: bytearray) -> Instants:
    """Send all of it; the receiver's answer, after the clock, says that it is there."""
    before = _tcp(link, _RETRANSMITS)
    link.sendall(payload)
    link.recv(_ANSWER_BYTES)
    return {
        "retransmits": _tcp(link, _RETRANSMITS) - before,
        "least_round_trip_s": 1e-6 * _tcp(link, _LEAST_ROUND_TRIP),
    }


def _receive(link: socket.socket, payload: bytearray) -> Instants:
    rest = memoryview(payload)
    rest = rest[link.recv_into(rest) :]
    first_byte_at_s = time.perf_counter()
    while rest:
        rest = rest[link.recv_into(rest, len(rest), socket.MSG_WAITALL) :]
    last_byte_at_s = time.perf_counter()
    link.sendall(bytes(_ANSWER_BYTES))
    return {"first_byte_at_s": first_byte_at_s, "last_byte_at_s": last_byte_at_s}


def _tcp(link: socket.socket, field: slice) -> int:
    """Return a number of the kernel's struct tcp_info."""
    information = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, field.stop)
    return int.from_bytes(information[field], sys.byteorder)
