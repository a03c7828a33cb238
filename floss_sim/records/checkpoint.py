"""Checkpoints: conversion of a snapshot to one flat mapping of tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.protocol import Dispatch, Snapshot


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
