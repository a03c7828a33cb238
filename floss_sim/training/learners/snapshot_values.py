"""Values of a snapshot's arrays: finite where they are weights, and versions that there have been.

A checkpoint that was edited by hand, or that a worker sent, may have arrays of the right shape with
values that no run has. A version that is still to come would leave out what a client lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import RecordError
from floss_sim.methods.backbone_exchange import HELD_VERSION, STEP
from floss_sim.protocol import Snapshot

_VERSIONS = ("held", "lost_at", "changed_at")  # whole arrays of versions


def check_values(snapshot: Snapshot, clients: int) -> None:
    """Check the values of a snapshot whose arrays have the shapes of its run.

    Args:
        snapshot: The snapshot.
        clients: Number of clients in the fleet.

    Raises:
        RecordError: A weight is not finite, a version is not among those up to the snapshot's, or a
            client is not in the fleet; the message names the array.
    """
    strange = next((client for client in snapshot.clients if not 0 <= client < clients), None)
    if strange is not None:
        raise RecordError(
            f"the checkpoint has a state of client {strange}; valid: 0 to {clients - 1}"
        )
    for name, weights in _weights(snapshot):
        if not np.isfinite(weights).all():
            raise RecordError(f"the checkpoint's {name!r} has values that are not finite")
    for name, versions in _versions(snapshot):
        past = (versions >= 0) & (versions <= snapshot.version) & (versions == np.round(versions))
        if not past.all():
            raise RecordError(
                f"the checkpoint's {name!r} has version {versions[~past][0]:g}; valid: 0 to "
                f"{snapshot.version}, the checkpoint's own"
            )


def _weights(snapshot: Snapshot) -> Iterator[tuple[str, NDArray[Any]]]:
    yield "P", snapshot.tensors["P"]
    for client, state in snapshot.clients.items():
        yield from ((f"client/{client}/{n}", x) for n, x in state.items() if n != HELD_VERSION)


def _versions(snapshot: Snapshot) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of versions by name, and those in the names of kept factor messages."""
    for name, tensor in snapshot.tensors.items():
        if name in _VERSIONS:
            yield name, tensor
        elif name == "held_keys":
            yield name, tensor[:, 1]
        elif name.startswith(STEP):
            number = name.removeprefix(STEP)
            yield name, np.array([int(number) if number.isdecimal() else np.nan])
    for client, state in snapshot.clients.items():
        if HELD_VERSION in state:
            yield f"client/{client}/{HELD_VERSION}", state[HELD_VERSION]
