"""The server's state between rounds: P with its optimiser, and what it remembers of the clients.

Shapes: N adapter entries.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from floss_sim.methods import BackboneExchange, ChangeHistory, Exchange, MaskHistory, MaskLedger
from floss_sim.protocol import Snapshot
from floss_sim.runs.config import RunConfig
from floss_sim.training.learners.snapshot_arrays import check_arrays
from floss_sim.training.server_optimizer import ServerOptimizer
from floss_sim.vectors.top_k import Mask, Vector


class ServerState:
    """State of a run's server, at version 0.

    Args:
        config: The run.

    Attributes:
        exchange: The method's messages.
        version: Number of server steps.
        optimizer: P and its optimiser.
        masks: History of the persistent mask.
        ledger: Version of the masks, or of the vector, that each client holds.
        changes: Version at which each entry changed last.
        backbone: The changes of the frozen weights; None if they never change.
    """

    def __init__(self, config: RunConfig) -> None:
        method, layout = config.method, config.layout
        self._config = config
        self.exchange = Exchange(method, layout, config.seed, config.server.cohort)
        self.version = 0
        self.optimizer = ServerOptimizer(layout.initial_vector(config.seed), config.server)
        self.masks = MaskHistory(layout.entries)
        self.ledger = MaskLedger(config.fleet.clients)
        self.changes = ChangeHistory(layout.entries)
        self.backbone: BackboneExchange | None = None
        if method.backbone_change:
            self.backbone = BackboneExchange(
                method.backbone_change, layout, config.adapters.scale, method.down_values,
                config.seed,
            )  # fmt: skip

    def vector(self) -> Vector:
        """Return P without copying it; callers must not write to it."""
        return self.optimizer.vector()

    def known_mask(self, tier: int, version: int, held: int, sequence: int = 0) -> Mask | None:
        """Return the mask in which the positions of a download are counted; None: all entries.

        Arguments are those of :meth:`Exchange.known_download_mask`.
        """
        return self.exchange.known_download_mask(self.masks, tier, version, held, sequence)

    def held_mask(self, tier: int, held: int) -> Mask | None:
        """Return the mask of a version that server and client hold; None if they hold none.

        A download may be encoded within it.
        """
        return self.ledger.mask(tier, held, self._config.layout.entries)

    def snapshot(self) -> Snapshot:
        """Return P, the optimiser's moments, the version, and the state of masks, if any."""
        method = self._config.method
        tensors: dict[str, NDArray[Any]] = dict(self.optimizer.state())
        if method.persistent:
            tensors["lost_at"] = self.masks.lost_at_N.copy()
        if method.has_ledger:
            tensors |= self.ledger.state()
        if method.change_ledger:
            tensors["changed_at"] = self.changes.changed_at_N.copy()
        if self.backbone:
            tensors |= self.backbone.state()
        return Snapshot(self.version, tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """Restore the state of a snapshot.

        Raises:
            RecordError: The snapshot is that of another rank, layout, method or optimiser.
        """
        check_arrays(snapshot, self._config)
        method, tensors = self._config.method, snapshot.tensors
        self.optimizer.restore(tensors)
        if method.persistent:
            self.masks.lost_at_N = tensors["lost_at"].copy()
        if method.has_ledger:
            self.ledger.restore(tensors)
        if method.change_ledger:
            self.changes.changed_at_N = tensors["changed_at"].copy()
        if self.backbone:
            self.backbone.restore(tensors)
        self.version = snapshot.version
