"""Changes of the frozen weights on both ends: the server's steps, and what clients make of them.

A client needs the change of each round since its last reply. The server sends the factors of those
rounds, or the adapted weights as they are now, whichever takes fewer bytes. Version 0, the
pretrained weights, is known to all. A client whose upload was lost may hold a newer version than
the server knows; it passes over the factors that it has already applied.

The server itself applies what it decodes from its own factor messages. With lossy value codes, too,
all ends therefore hold the same weights; only a client that received the weights has them rounded.

Shapes: vectors float32 over a layout of N entries, adapted weights among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import MissingStateError, NonFiniteUpdateError
from floss_sim.methods.backbone_changes import BackboneChange, TrainedAdapter
from floss_sim.methods.factor_messages import Bundle, encode_factors, product_changes
from floss_sim.methods.product_steps import Contribution
from floss_sim.methods.rank_selectors import adapters
from floss_sim.methods.tensor_kinds import kinds_mask
from floss_sim.rng import stream
from floss_sim.vectors.layout import (
    ADAPTED_WEIGHT,
    LORA_A,
    LORA_B,
    Layout,
    TensorSpec,
    initial_values,
)
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import VALUE_CODES, decode, encode

HELD_VERSION = "held_version"  # name in a client's state, float32 of shape (1,)
STEP = "step/"  # prefix of factor messages in a snapshot, by version


class BackboneExchange:
    """Messages and server steps of a method that changes the frozen weights.

    Args:
        change: The server's step.
        layout: Layout ``merged`` of the run, N entries.
        scale: LoRA's scale of products.
        values: Value code of downloads.
        seed: Seed of the run.
    """

    def __init__(
        self, change: BackboneChange, layout: Layout, scale: float, values: str, seed: int
    ) -> None:
        self._change = change
        self._layout = layout
        self._scale = scale
        self._values = values
        self._seed = seed
        self._adapted_N: Mask = kinds_mask(layout, (ADAPTED_WEIGHT,))
        self._adapted_entries = int(np.count_nonzero(self._adapted_N))
        self._steps: dict[int, bytes] = {}  # factor messages by version, the newest ones
        self._dense: tuple[int, bytes] = -1, b""  # newest message of the weights, and its version

    def moving_mask(self) -> Mask:
        """Return the mask of the entries that the server's optimiser moves."""
        kept = (ADAPTED_WEIGHT, LORA_A, LORA_B) if self._change.restarts else (ADAPTED_WEIGHT,)
        return ~kinds_mask(self._layout, kept)

    def download(self, main: bytes, vector_N: Vector, held: int, version: int) -> Bundle:
        """Return the download of a client.

        Args:
            main: Message of adapters and head.
            vector_N: The server's vector.
            held: Version that the client is known to hold.
            version: Version that is downloaded.
        """
        missed = range(held + 1, version + 1)
        factors = None
        if all(v in self._steps for v in missed):
            factors = Bundle(main, tuple(self._steps[v] for v in missed))
            if not missed:
                return factors
        dense = Bundle(main, (self._weights(vector_N, version),), dense=True)
        return dense if factors is None or dense.nbytes < factors.nbytes else factors

    def _weights(self, vector_N: Vector, version: int) -> bytes:
        """Return the message of the adapted weights, encoded once for each version."""
        if self._dense[0] != version:
            blob = encode(
                self._layout, vector_N, self._adapted_N,
                values=self._values, known_N=self._adapted_N, draw=self._draw(version, "weights"),
            )  # fmt: skip
            self._dense = version, blob
        return self._dense[1]

    def start(
        self,
        bundle: Bundle,
        offsets_N: Vector,
        own: tuple[int, Vector] | None,
        version: int,
        sequence: int,
    ) -> Vector:
        """Return the values from which a client trains.

        Args:
            bundle: Messages of the download.
            offsets_N: Values that the client decoded from the main message.
            own: Version that the client holds, and its vector; None: version 0.
            version: Version that is downloaded.
            sequence: Number of the dispatch.

        Raises:
            PayloadError: The messages are not of this run.
            MissingStateError: The download leaves out versions that the client lacks.
        """
        start_N = self.adapters_at_start(sequence, offsets_N).copy()
        if bundle.dense:
            weights_N = decode(self._layout, bundle.changes[0], self._adapted_N)[0]
            start_N[self._adapted_N] = weights_N[self._adapted_N]
            return start_N
        held, own_N = own or (0, np.zeros_like(start_N))
        first = version - len(bundle.changes)  # version before the first change
        if held < first:
            raise MissingStateError(f"a client of version {held} got changes from {first + 1} on")
        start_N[self._adapted_N] = own_N[self._adapted_N]
        for step in bundle.changes[held - first :]:
            start_N += product_changes(self._layout, step, self._scale)
        return start_N

    def adapters_at_start(self, sequence: int, offsets_N: Vector) -> Vector:
        """Return offsets with the adapters of a dispatch, which are new if the method restarts.

        Args:
            sequence: Number of the dispatch.
            offsets_N: Values decoded from the main message.
        """
        if not self._change.restarts:
            return offsets_N
        start_N = offsets_N.copy()
        for tensor in self._layout.tensors:
            if tensor.kind in (LORA_A, LORA_B):
                drawn = initial_values(tensor, self._seed, "dispatch", sequence)
                start_N[self._layout.slices[tensor.name]] = drawn
        return start_N

    def step(self, parts: Sequence[Contribution], version: int) -> Vector:
        """Return the change of a server step, zero outside adapted weights, and keep its message.

        Args:
            parts: The clients' parts in the step.
            version: Version after the step.

        Raises:
            NonFiniteUpdateError: The change holds NaN or infinity.
        """
        factors = [
            self._change.factors([self._trained(part, a, b) for part in parts])
            for a, b in adapters(self._layout)
        ]
        if not all(np.isfinite(factor).all() for pair in factors for factor in pair):
            raise NonFiniteUpdateError(
                f"the change of the backbone is not finite after round {version}; "
                "lower the learning rates"
            )
        draw = self._draw(version, "factors")
        blob = encode_factors(self._layout, factors, self._values, draw)
        self._steps[version] = blob
        self._forget()
        return product_changes(self._layout, blob, self._scale)

    def _trained(self, part: Contribution, a: TensorSpec, b: TensorSpec) -> TrainedAdapter:
        weight, start_N, update_N = part
        values = (
            (start_N[at] - update_N[at]).reshape(tensor.shape).astype(np.float64)
            for tensor, at in ((t, self._layout.slices[t.name]) for t in (a, b))
        )
        return TrainedAdapter(weight, *values)

    def _forget(self) -> None:
        """Drop the messages of versions from which on the weights themselves take fewer bytes."""
        total, most = 0, 4 * self._adapted_entries
        for version in sorted(self._steps, reverse=True):
            total += len(self._steps[version])
            if total > most:
                del self._steps[version]

    def _draw(self, version: int, name: str) -> np.random.Generator | None:
        rounds = VALUE_CODES[self._values].rounds_at_random
        return stream(self._seed, "version", version, name) if rounds else None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the kept factor messages as arrays, by name."""
        return {f"{STEP}{v}": np.frombuffer(b, np.uint8).copy() for v, b in self._steps.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Set the factor messages to those that :meth:`state` returned."""
        self._steps = {
            int(name.removeprefix(STEP)): blob.tobytes()
            for name, blob in state.items()
            if name.startswith(STEP)
        }
        self._dense = -1, b""
