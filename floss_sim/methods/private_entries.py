"""Private entries: a part of the vector that stays with the client, which keeps it as its state.

FedSA-LoRA (Guo et al., ICLR 2025) shares A and keeps B on the clients. FedDPA (Yang et al.,
NeurIPS 2024) shares an adapter and keeps a second one. A client's private entries are not lost
with its upload: they are the same state whether the upload arrives or not.

Shapes: vectors float32 over a layout of N entries; entries that are not private are zero in a
client's private vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.methods.client_vectors import ClientVectors, State
from floss_sim.methods.shared_ranks import OfSharedRanks
from floss_sim.methods.tensor_kinds import Kinds, kinds_mask
from floss_sim.methods.top_k_selectors import TopK
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector


class PrivatePart(Protocol):
    """Interface of a rule that says which entries never travel.

    Attributes:
        averaged: Whether the global model has the mean of the clients' private entries; otherwise
            it has their initial values.
        in_turns: Whether a client trains its private entries and the shared ones in two passes
            over its examples; otherwise all train together.
    """

    averaged: ClassVar[bool]

    @property
    def in_turns(self) -> bool:
        """Whether private and shared entries train in passes of their own."""

    def mask(self, layout: Layout) -> Mask:
        """Return the mask of the private entries, bool of shape (N,)."""

    def adapters(self, settings: AdapterSettings) -> AdapterSettings:
        """Return the settings of all adapters, given those of the shared ones."""

    def settings(self) -> Any:
        """Return the part as plain values."""

    def describe(self) -> str:
        """Return a short description; empty where the selectors say it."""


@dataclass(frozen=True)
class PrivateKinds:
    """Private kinds of tensors, such as LoRA's B.

    Args:
        kinds: Kinds of tensors.
    """

    kinds: Kinds
    averaged: ClassVar[bool] = True
    in_turns: ClassVar[bool] = False

    def mask(self, layout: Layout) -> Mask:
        """Return the mask of the entries of these kinds."""
        return kinds_mask(layout, self.kinds)

    def adapters(self, settings: AdapterSettings) -> AdapterSettings:
        """Return the same settings: private kinds are of shared adapters."""
        return settings

    def settings(self) -> list[str]:
        """Return the kinds."""
        return list(self.kinds)

    def describe(self) -> str:
        """Return no text: the selectors name what is shared."""
        return ""


@dataclass(frozen=True)
class PrivateRanks:
    """A private adapter beside the shared one: the last ranks of every adapter.

    Its B starts at zero and its A at the values of the run's seed, as those of the shared one. The
    global model is the shared adapter alone: private entries have their initial values in it, whose
    product is zero.

    Args:
        rank: Rank of the private adapter, at least 1; None: that of the shared one.
        together: Whether both train in one pass; otherwise in passes of their own, in turns.
    """

    rank: int | None = None
    together: bool = False
    averaged: ClassVar[bool] = False

    @property
    def in_turns(self) -> bool:
        """Whether each adapter trains in a pass of its own."""
        return not self.together

    def mask(self, layout: Layout) -> Mask:
        """Return the mask of the entries of the private ranks."""
        return ~OfSharedRanks(TopK(1.0), self.rank).bounds(layout)

    def adapters(self, settings: AdapterSettings) -> AdapterSettings:
        """Return the settings of each shared adapter with its private one."""
        return settings.beside(self.rank)

    def settings(self) -> dict[str, Any]:
        """Return the rank, and that both train together if they do, as plain values."""
        return {"private_rank": self.rank, **({"together": True} if self.together else {})}

    def describe(self) -> str:
        """Return a description such as ``private rank 8 in turns``."""
        rank = "of the same size" if self.rank is None else f"of rank {self.rank}"
        return f"private adapter {rank}, trained {'in turns' if self.in_turns else 'together'}"


class PrivateEntries(ClientVectors):
    """Private vectors of the clients; those of clients that have not trained yet are initial.

    Args:
        layout: Layout of the N entries.
        part: Private part; None: nothing is kept.
        initial_N: Initial values of all entries.
    """

    def __init__(self, layout: Layout, part: PrivatePart | None, initial_N: Vector) -> None:
        super().__init__("private", part is not None)
        self.is_private_N = (
            np.zeros(layout.entries, dtype=bool) if part is None else part.mask(layout)
        )
        self._initial_N = initial_N
        self._averaged = part is not None and part.averaged

    def start(self, client: int, shared_N: Vector) -> Vector:
        """Return the values from which a client trains, which are those of its own model.

        Args:
            client: Number of the client.
            shared_N: Values that it decoded from the download.
        """
        own_N = self.vector(client)
        return self._joined(shared_N, self._initial_N if own_N is None else own_N)

    def shared_start(self, shared_N: Vector) -> Vector:
        """Return the values from which shared entries train alone: private ones are initial."""
        return self._joined(shared_N, self._initial_N)

    def train(self, values_N: Vector) -> State:
        """Return the state after a client's training, given the trained values."""
        if not self.active:
            return {}
        return self.keep(np.where(self.is_private_N, values_N, np.float32(0)))

    def with_global(self, shared_N: Vector) -> Vector:
        """Return a vector with the private entries of the global model.

        They are the mean of the clients' that have trained, or initial values, as the part says.
        """
        own = self.all() if self._averaged else []
        return self._joined(shared_N, np.mean(own, axis=0) if own else self._initial_N)

    def _joined(self, shared_N: Vector, private_N: Vector) -> Vector:
        return np.where(self.is_private_N, private_N, shared_N) if self.active else shared_N
