"""Vectors that clients keep from one participation to the next, as a simulation follows them.

A vector is part of the client's state, which the caller owns (checkpoints hold it, and a node of a
deployed run keeps it). The simulation's copy serves learners that train a client before they are
given its state; it changes when a dispatch is over.

Shapes: vectors float32 over a layout of N entries.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from floss_sim.vectors.top_k import Vector

State = Mapping[str, NDArray[np.float32]]


class ClientVectors:
    """One vector of each client of a run.

    Args:
        name: Name of the vector in a client's state.
        active: Whether the method has such vectors; otherwise nothing is kept.
    """

    def __init__(self, name: str, active: bool) -> None:
        self.name = name
        self.active = active
        self._vectors: dict[int, Vector] = {}

    def vector(self, client: int) -> Vector | None:
        """Return a client's vector; None if it has none yet."""
        return self._vectors.get(client)

    def all(self) -> list[Vector]:
        """Return the vectors of all clients that have one, by client number."""
        return [self._vectors[client] for client in sorted(self._vectors)]

    def hear(self, client: int, state: State) -> None:
        """Take over the vector of a client's state."""
        if self.active and self.name in state:
            self._vectors[client] = state[self.name]

    def keep(self, vector_N: Vector) -> State:
        """Return the state with a client's new vector, which is heard when its dispatch is over."""
        return {self.name: vector_N} if self.active else {}

    def restore(self, states: Mapping[int, State]) -> None:
        """Set the vectors to those of the clients' states, and forget all others."""
        self._vectors = {}
        for client, state in states.items():
            self.hear(client, state)
