"""Downloads of the newest version: masks, messages and decoded values, each made once.

Clients of one tier that know the same mask receive the same message, unless the method draws a mask
for each dispatch.

Shapes: N adapter entries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from floss_sim.protocol import Dispatch
from floss_sim.runs.config import RunConfig
from floss_sim.training.learners.server_state import ServerState
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import decode, sent_entries


class _Message(NamedTuple):
    blob: bytes
    entries: int


class Downloads:
    """Encoded downloads of the server's newest version.

    Args:
        config: The run.
        server: The server's state; :meth:`clear` must be called when it has changed.
    """

    def __init__(self, config: RunConfig, server: ServerState) -> None:
        self._config = config
        self._layout = config.layout
        self._method = config.method
        self._server = server
        self.clear()

    def clear(self) -> None:
        """Drop the messages of an earlier version."""
        self._masks: dict[int, Mask] = {}  # by tier
        self._values: dict[int, Vector] = {}  # by tier
        # By tier and by the version that the client holds (None: it does not matter).
        self._messages: dict[tuple[int, int | None], _Message] = {}

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version under a client's download mask, encoded."""
        server, tier = self._server, self._config.tier_of(client)
        held = server.ledger.held_version(client)
        known_N = server.known_mask(tier, server.version, held, sequence)
        if self._method.downloads_by_dispatch:
            mask_N = self._everything() if known_N is None else known_N
            blob = self._encode(server.vector(), mask_N, tier, known_N)
            entries = sent_entries(blob)
        else:
            held_N = server.held_mask(tier, held)
            blob, entries = self._message(tier, held, known_N, held_N)
        return Dispatch(sequence, client, server.version, len(blob), entries, blob, held)

    def of_tier(self, tier: int) -> bytes:
        """Return the message for a client of a tier that holds no mask."""
        return self._message(tier, 0, None, None).blob

    def of_all(self, vector_N: Vector) -> bytes:
        """Return all entries of a vector, encoded as a download of the newest version.

        Args:
            vector_N: Offsets, float32 of shape (N,).
        """
        return self._encode(vector_N, self._everything(), 0, None)

    def values(self, tier: int) -> Vector:
        """Return the offsets that a client of a tier decodes from the newest version."""
        if tier not in self._values:
            known_N = self._server.known_mask(tier, self._server.version, 0)
            blob = self._encode(self._server.vector(), self._mask(tier), tier, known_N)
            self._values[tier] = decode(self._layout, blob, known_N)[0]
        return self._values[tier]

    def _message(self, tier: int, held: int, known_N: Mask | None, held_N: Mask | None) -> _Message:
        """Return the download of clients with the same mask, encoded once."""
        whole = known_N is None and held_N is None and not self._method.downloads_changes
        key = tier, None if whole else held
        if key not in self._messages:
            self._messages[key] = self._new_message(tier, held, known_N, held_N)
        return self._messages[key]

    def _new_message(
        self, tier: int, held: int, known_N: Mask | None, held_N: Mask | None
    ) -> _Message:
        server = self._server
        ledger = self._method.change_ledger
        mask_N = server.changes.since(held) if ledger else self._mask(tier)
        blob = self._encode(server.vector(), mask_N, tier, known_N, held_N)
        if server.backbone is None:
            return _Message(blob, sent_entries(blob))
        bundle = server.backbone.download(blob, server.vector(), held, server.version)
        return _Message(bundle.pack(), bundle.entries(self._layout))

    def _encode(
        self,
        vector_N: Vector,
        mask_N: Mask,
        tier: int,
        known_N: Mask | None,
        held_N: Mask | None = None,
    ) -> bytes:
        server = self._server
        return server.exchange.download(vector_N, mask_N, tier, server.version, known_N, held_N)

    def _mask(self, tier: int) -> Mask:
        if tier not in self._masks:
            server = self._server
            self._masks[tier] = server.exchange.download_mask(
                server.vector(), server.masks, tier, server.version
            )
        return self._masks[tier]

    def _everything(self) -> Mask:
        return np.ones(self._layout.entries, dtype=bool)
