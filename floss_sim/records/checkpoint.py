"""Checkpoints: a snapshot as one flat mapping of tensors with the identity of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from floss_sim.errors import RecordError
from floss_sim.protocol import Dispatch, Snapshot

_LENGTH_BYTES = 8  # of a safetensors file's header
_NAMED = ("layout", "rank", "seed")  # keys of a trajectory that an error message names


def pack(snapshot: Snapshot) -> dict[str, NDArray[Any]]:
    """Return a snapshot as one flat mapping: learner, client states, dispatches in flight."""
    clients = {
        f"client/{client}/{name}": tensor
        for client, state in snapshot.clients.items()
        for name, tensor in state.items()
    }
    flights = {
        f"flight/{sent.sequence}/{key}": array
        for sent in snapshot.in_flight
        for key, array in _pack_dispatch(sent).items()
    }
    return {**snapshot.tensors, **clients, **flights}


def _pack_dispatch(sent: Dispatch) -> dict[str, NDArray[Any]]:
    numbers = [sent.client, sent.version, sent.nbytes, sent.entries, sent.held]
    return {"numbers": np.array(numbers, np.int64), "blob": np.frombuffer(sent.blob, np.uint8)}


def unpack(version: int, tensors: Mapping[str, NDArray[Any]]) -> Snapshot:
    """Return the snapshot of a version from its flat mapping (see :func:`pack`)."""
    own: dict[str, NDArray[Any]] = {}
    clients: dict[int, dict[str, NDArray[Any]]] = {}
    flights: dict[int, dict[str, NDArray[Any]]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind in ("client", "flight"):
            number, _, key = rest.partition("/")
            nested = clients if kind == "client" else flights
            nested.setdefault(int(number), {})[key] = tensor
        else:
            own[name] = tensor
    sent = (_unpack_dispatch(number, arrays) for number, arrays in sorted(flights.items()))
    return Snapshot(version, own, clients, tuple(sent))


def _unpack_dispatch(sequence: int, arrays: Mapping[str, NDArray[Any]]) -> Dispatch:
    client, version, nbytes, entries, held = (int(n) for n in arrays["numbers"])
    blob = arrays["blob"].tobytes()
    return Dispatch(sequence, client, version, nbytes, entries, blob, held)


def identity(description: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts in a checkpoint that tell its run.

    Args:
        description: Description of the run, the content of ``run.json``.
    """
    trajectory = description.get("trajectory") or {}
    named = {key: str(trajectory[key]) for key in _NAMED if key in trajectory}
    return {"run": str(description.get("fingerprint")), **named}


def identity_in(blob: bytes) -> dict[str, str]:
    """Return the texts of :func:`identity` in a checkpoint; empty if it does not tell its run.

    Args:
        blob: A safetensors file: length of its header (8 bytes), header in JSON, tensors.

    Raises:
        ValueError: The header cannot be read.
    """
    end = _LENGTH_BYTES + int.from_bytes(blob[:_LENGTH_BYTES], "little")
    found: dict[str, str] = json.loads(blob[_LENGTH_BYTES:end]).get("__metadata__") or {}
    return found


def check_identity(
    path: Path, description: Mapping[str, Any], remedy: str, wholly: bool = True
) -> None:
    """Check that a checkpoint is that of a run; one by an earlier version does not tell its run.

    Args:
        path: The safetensors file.
        description: Description of the run.
        remedy: Advice at the end of an error message.
        wholly: Whether a file that cannot be read is an error.

    Raises:
        RecordError: The checkpoint is that of another run; the message names rank, layout or seed.
    """
    try:
        with safe_open(path, "numpy") as file:
            found = file.metadata() or {}
    except (OSError, SafetensorError, ValueError) as error:
        if wholly:
            raise RecordError(f"cannot read {path}: {error}; {remedy}") from None
        return
    own = identity(description)
    if "run" not in found or all(found.get(key) == own[key] for key in own):
        return
    differing = [f"{k} {found.get(k)} instead of {own[k]}" for k in own if found.get(k) != own[k]]
    named = [text for text in differing if not text.startswith("run ")] or ["other settings"]
    raise RecordError(f"{path} is the checkpoint of another run ({', '.join(named)}); {remedy}")


def read_checkpoint(path: Path, version: int, remedy: str) -> Snapshot:
    """Return the snapshot in a checkpoint.

    Args:
        path: The safetensors file.
        version: Version of the global adapter.
        remedy: Advice at the end of an error message.

    Raises:
        RecordError: The file cannot be read, or holds no snapshot.
    """
    try:
        return unpack(version, load_file(path))
    except (OSError, SafetensorError) as error:
        raise RecordError(f"cannot read {path}: {error}; {remedy}") from None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} holds no snapshot ({error}); {remedy}") from None
