"""Messages between server and clients: dispatches, uploads, arrivals.

Messages are named tuples because these are created three times as fast as frozen dataclasses, and
every client of every round creates some.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ClientState = Mapping[str, NDArray[np.float32]]
NO_STATE: ClientState = MappingProxyType({})


class Dispatch(NamedTuple):
    """A download: the newest version, encoded for one client.

    ``sequence`` is the number of the dispatch in the run, from 0. ``held`` is the version of the
    mask that the client is known to hold, or 0. ``blob`` is empty if only sizes are simulated.
    """

    sequence: int
    client: int
    version: int
    nbytes: int
    entries: int
    blob: bytes = b""
    held: int = 0

    def __repr__(self) -> str:
        return _short_repr(self)


class Upload(NamedTuple):
    """An upload: a client's encoded update, and the state that the client keeps.

    The client keeps ``client_state`` if the update reaches the server, else ``lost_state``.
    """

    sequence: int
    client: int
    nbytes: int
    entries: int
    examples: int
    blob: bytes = b""
    client_state: ClientState = NO_STATE
    lost_state: ClientState = NO_STATE

    def __repr__(self) -> str:
        return _short_repr(self)


def _short_repr(message: NamedTuple) -> str:
    """Return a short text of a message: its integer fields, without payload and state."""
    shown = ", ".join(
        f"{name}={value}" for name, value in message._asdict().items() if isinstance(value, int)
    )
    return f"{type(message).__name__}({shown})"


class Arrival(NamedTuple):
    """An upload that the server aggregates, with its weight and its staleness in versions."""

    dispatch: Dispatch
    upload: Upload
    weight: float
    staleness: int
