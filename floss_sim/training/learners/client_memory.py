"""Clients' memory: what they decode from a download, start from, and keep until the next one.

What a client keeps is part of its state, which the caller owns. A simulation follows it here, for
learners that train a client before they are given its state.

Shapes: N adapter entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from floss_sim.methods import ClientVectors, PrivateEntries
from floss_sim.methods.backbone_exchange import HELD_VERSION
from floss_sim.methods.factor_messages import Bundle
from floss_sim.protocol import ClientState, Dispatch
from floss_sim.runs.config import RunConfig
from floss_sim.training.learners.server_state import ServerState
from floss_sim.vectors.top_k import Mask, Vector


class Content(NamedTuple):
    """A decoded download.

    Attributes:
        offsets: Offsets from the base, float32 of shape (N,).
        trained: Mask of the entries that train, shape (N,); None: all.
        bundle: The messages of the backbone's change; None if the method has none.
    """

    offsets: Vector
    trained: Mask | None
    bundle: Bundle | None = None


class ClientMemory:
    """What the clients of a run hold.

    Args:
        config: The run.
        server: The server's state, whose masks the clients know.

    Attributes:
        private: The clients' private entries.
    """

    def __init__(self, config: RunConfig, server: ServerState) -> None:
        self._config = config
        self._method = config.method
        self._server = server
        self._initial_N = config.layout.initial_vector(config.seed)
        self.private = PrivateEntries(config.layout, self._method.private, self._initial_N)
        self._held = ClientVectors("held", self._method.downloads_changes)
        self._held_version = ClientVectors(HELD_VERSION, server.backbone is not None)
        self._kept = (self.private, self._held, self._held_version)
        self._last: tuple[bytes, Content] | None = None  # the message that was decoded last

    def hear(self, client: int, state: ClientState) -> None:
        """Take over the vectors of a client's state."""
        for vectors in self._kept:
            vectors.hear(client, state)

    def content(self, dispatch: Dispatch) -> Content:
        """Return what a client decodes.

        A message that several clients receive one after another is decoded once, unless it is
        only part of what they hold.
        """
        if self._method.change_ledger:
            return self._decode(dispatch)
        if self._last is None or dispatch.blob is not self._last[0]:
            self._last = dispatch.blob, self._decode(dispatch)
        return self._last[1]

    def _decode(self, dispatch: Dispatch) -> Content:
        server, tier, own_N = self._server, self._config.tier_of(dispatch.client), None
        if self._method.change_ledger:
            own_N = self._held.vector(dispatch.client)
            own_N = self._initial_N if own_N is None else own_N
        bundle = Bundle.unpack(dispatch.blob) if server.backbone else None
        offsets_N, trained_N = server.exchange.decode_download(
            bundle.main if bundle else dispatch.blob,
            tier,
            dispatch.version,
            server.known_mask(tier, dispatch.version, dispatch.held, dispatch.sequence),
            server.held_mask(tier, dispatch.held),
            own_N,
        )
        return Content(offsets_N, trained_N, bundle)

    def trained_mask(self, dispatch: Dispatch) -> Mask | None:
        """Return the mask of the entries that a client trained; None for all entries."""
        if not (self._method.is_masked or self._method.trains_by_schedule):
            return None
        return self.content(dispatch).trained

    def start(self, dispatch: Dispatch) -> Vector:
        """Return the offsets from which a client trains, float32 of shape (N,)."""
        client, (offsets_N, _, bundle) = dispatch.client, self.content(dispatch)
        start_N = self.private.start(client, offsets_N)
        if self._server.backbone is None or bundle is None:
            return start_N
        own_N, version = self._held.vector(client), self._held_version.vector(client)
        own = None if own_N is None or version is None else (int(version[0]), own_N)
        return self._server.backbone.start(
            bundle, start_N, own, dispatch.version, dispatch.sequence
        )

    def adapters_at_start(self, dispatch: Dispatch) -> Vector:
        """Return the offsets from which a client trained; of adapted weights nothing is told."""
        offsets_N, backbone = self.content(dispatch).offsets, self._server.backbone
        return backbone.adapters_at_start(dispatch.sequence, offsets_N) if backbone else offsets_N

    def keep(self, dispatch: Dispatch, start_N: Vector, update_N: Vector) -> ClientState:
        """Return what a client keeps after training, which is heard when the dispatch is over.

        Args:
            dispatch: The dispatch.
            start_N: Offsets from which the client trained.
            update_N: Its update: start minus trained values.
        """
        held_N = start_N
        if self._server.backbone is None:
            held_N = self.content(dispatch).offsets
        version = np.array([dispatch.version], dtype=np.float32)
        return {
            **self.private.train(start_N - update_N),
            **self._held.keep(held_N),
            **self._held_version.keep(version),
        }

    def restore(self, states: Mapping[int, ClientState]) -> None:
        """Set what the clients hold to their states, by client."""
        for vectors in self._kept:
            vectors.restore(states)
