"""Private entries: kinds of tensors that stay with the client, which keeps them as its state.

FedSA-LoRA (Guo et al., ICLR 2025) shares A and keeps B on the clients. A client's B is not lost
with its upload: it is the same state whether the upload arrives or not.

Shapes: vectors float32 over a layout of N entries; entries that are not private are zero in a
client's private vector.
"""

from __future__ import annotations

import numpy as np

from floss_sim.methods.client_vectors import ClientVectors, State
from floss_sim.methods.tensor_kinds import Kinds, kinds_mask
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Vector


class PrivateEntries(ClientVectors):
    """Private vectors of the clients; those of clients that have not trained yet are zero.

    Args:
        layout: Layout of the N entries.
        kinds: Private kinds of tensors; if there are none, nothing is kept.
    """

    def __init__(self, layout: Layout, kinds: Kinds) -> None:
        super().__init__("private", bool(kinds))
        self.is_private_N = kinds_mask(layout, kinds)

    def start(self, client: int, shared_N: Vector) -> Vector:
        """Return the values from which a client trains.

        Args:
            client: Number of the client.
            shared_N: Values that it decoded from the download.
        """
        own_N = self.vector(client)
        return shared_N if own_N is None else np.where(self.is_private_N, own_N, shared_N)

    def train(self, sequence: int, values_N: Vector) -> State:
        """Return the state after a client's training.

        Args:
            sequence: Number of the dispatch.
            values_N: Trained values.
        """
        if not self.active:
            return {}
        return self.keep(sequence, np.where(self.is_private_N, values_N, np.float32(0)))

    def with_mean(self, shared_N: Vector) -> Vector:
        """Return a vector with the mean of the clients' private vectors in the private entries."""
        if not self.all():
            return shared_N
        return np.where(self.is_private_N, np.mean(self.all(), axis=0), shared_N)
