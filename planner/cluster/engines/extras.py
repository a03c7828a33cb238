"""Checks that all engines share: the library is installed, and an address answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from floss_sim.errors import ConfigError

ANSWER_S = 10.0  # seconds until an address must have answered


@contextmanager
def extra(name: str, library: str) -> Iterator[None]:
    """Turn an ImportError of the block into one line that names the extra to install.

    Raises:
        ConfigError: A module of the block is not installed.
    """
    try:
        yield
    except ImportError:
        raise ConfigError(
            f"--executor {name} needs {library}, which is not installed: "
            f"pip install 'floss-sim[{name}]'"
        ) from None


def check_address(text: str, what: str) -> None:
    """Raise ConfigError unless something accepts connections at ``host:port`` within 10 s.

    Args:
        text: Address, such as ``"127.0.0.1:8786"``.
        what: What should answer there, such as ``"Dask scheduler"``.
    """
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdigit() and int(port) < 2**16):
        raise ConfigError(f"{text!r} is no address of a {what}; valid: HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"no {what} answers at {text} ({reason})") from None


def check_count(asked: int | None, found: int, spec: str, what: str) -> int:
    """Return the number of workers: as many as were asked for, or all that were found.

    Args:
        asked: Number that was asked for; None: all.
        found: Number that the engine has.
        spec: Engine as the user gave it.
        what: What is counted, such as ``"GPUs"``.

    Raises:
        ConfigError: There is none, or there are fewer than were asked for.
    """
    if not found:
        raise ConfigError(f"executor {spec} has no {what}")
    if asked is not None and asked > found:
        raise ConfigError(f"executor {spec} has {found} {what}, fewer than the {asked} asked for")
    return asked or found
