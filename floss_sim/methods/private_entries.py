"""Private entries: kinds of tensors that stay with the client, which keeps them as its state.

FedSA-LoRA (Guo et al., ICLR 2025) shares A and keeps B on the clients. A client's B is not lost
with its upload: it is the same state whether the upload arrives or not.

Shapes: vectors float32 over a layout of N entries; entries that are not private are zero in a
client's private vector.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from floss_sim.methods.tensor_kinds import Kinds, kinds_mask
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Vector

PRIVATE = "private"  # name of the private vector in a client's state
ClientState = Mapping[str, NDArray[np.float32]]


class PrivateEntries:
    """Private vectors of the clients of a run.

    A simulated client's vector is that of its last training that is over. Clients that have not
    trained yet hold zeros.

    Args:
        layout: Layout of the N entries.
        kinds: Private kinds of tensors; if there are none, nothing is kept.
    """

    def __init__(self, layout: Layout, kinds: Kinds) -> None:
        self.is_private_N = kinds_mask(layout, kinds)
        self._vectors: dict[int, Vector] = {}
        self._trained: dict[int, Vector] = {}  # by dispatch, until it is over
        self.any = bool(kinds)

    def hear(self, client: int, state: ClientState) -> None:
        """Take over the vector of a client's state."""
        if self.any and PRIVATE in state:
            self._vectors[client] = state[PRIVATE]

    def start(self, client: int, shared_N: Vector) -> Vector:
        """Return the values from which a client trains.

        Args:
            client: Number of the client.
            shared_N: Values that it decoded from the download.
        """
        if client not in self._vectors:
            return shared_N
        return np.where(self.is_private_N, self._vectors[client], shared_N)

    def train(self, sequence: int, values_N: Vector) -> ClientState:
        """Return the state after a client's training, which it keeps when the dispatch is over.

        Args:
            sequence: Number of the dispatch.
            values_N: Trained values.
        """
        if not self.any:
            return {}
        self._trained[sequence] = np.where(self.is_private_N, values_N, np.float32(0))
        return {PRIVATE: self._trained[sequence]}

    def finish(self, client: int, sequence: int) -> None:
        """Record that a dispatch is over: the client holds what it trained, if it did."""
        if sequence in self._trained:
            self._vectors[client] = self._trained.pop(sequence)

    def with_mean(self, shared_N: Vector) -> Vector:
        """Return a vector with the mean of the clients' private vectors in the private entries."""
        if not self._vectors:
            return shared_N
        ordered = [self._vectors[client] for client in sorted(self._vectors)]
        return np.where(self.is_private_N, np.mean(ordered, axis=0), shared_N)

    def restore(self, states: Mapping[int, ClientState]) -> None:
        """Set the vectors to those of the clients' states, and forget all others."""
        self._vectors, self._trained = {}, {}
        for client, state in states.items():
            self.hear(client, state)
