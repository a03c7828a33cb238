"""The server's step: from the uploads that arrived to the next version.

Shapes: N adapter entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from floss_sim.errors import NonFiniteUpdateError
from floss_sim.methods import Contribution, Gradient
from floss_sim.methods.product_steps import GradientStep, RefactoringStep
from floss_sim.protocol import Arrival, Dispatch
from floss_sim.protocol.weighting import staleness_weight
from floss_sim.rng import lazy_stream
from floss_sim.runs.config import RunConfig
from floss_sim.training.learners.client_memory import ClientMemory
from floss_sim.training.learners.server_state import ServerState
from floss_sim.training.server_optimizer import BasisChange
from floss_sim.vectors.top_k import Mask, Vector


class ServerStep:
    """Steps of a run's server.

    Args:
        config: The run.
        server: The server's state, which steps change.
        clients: What the clients decoded from their downloads.
    """

    def __init__(self, config: RunConfig, server: ServerState, clients: ClientMemory) -> None:
        self._config = config
        self._layout = config.layout
        self._method = config.method
        self._server = server
        self._clients = clients

    def take(self, arrivals: Sequence[Arrival]) -> None:
        """Take one step with the weighted mean of the decoded uploads, then prune.

        Raises:
            NonFiniteUpdateError: The server's vector holds NaN or infinity.
        """
        server, ledger = self._server, self._method.change_ledger
        before_N = server.vector().copy() if ledger else None
        parts = self._contributions(arrivals)
        gradient = self._gradient(arrivals, parts)
        if self._method.server_averages:
            server.optimizer.add(-gradient.values)
        else:
            server.optimizer.step(*gradient)
        server.version += 1
        if server.backbone:
            server.optimizer.add(server.backbone.step(parts, server.version))
        self._check_finite()
        self._refactor(parts)
        if before_N is not None:
            server.changes.record(before_N, server.vector(), server.version)
        if self._method.persistent:
            alive_N = server.exchange.prune(server.vector(), server.masks, server.version)
            server.optimizer.prune(alive_N)

    def _check_finite(self) -> None:
        """Raise NonFiniteUpdateError if the server's vector holds NaN or infinity."""
        if not np.isfinite(self._server.vector()).all():
            raise NonFiniteUpdateError(
                f"the server's vector is not finite after round {self._server.version}; "
                "lower the learning rates"
            )

    def _contributions(self, arrivals: Sequence[Arrival]) -> list[Contribution]:
        """Return the clients' parts in a step on products; none if the method has no such step."""
        if self._method.product_step is None and self._server.backbone is None:
            return []
        return [
            Contribution(
                arrival.weight,
                self._clients.adapters_at_start(arrival.dispatch),
                self.decoded_upload(arrival.dispatch, arrival.upload.blob),
            )
            for arrival in arrivals
        ]

    def _refactor(self, parts: Sequence[Contribution]) -> None:
        """Put the new factors of a product step in the place of the server's, if it has any."""
        server, step = self._server, self._method.product_step
        if not isinstance(step, RefactoringStep):
            return
        new = step.refactor(self._layout, server.vector(), parts, server.version)
        if new is None:
            return
        shapes = {tensor.name: tensor.shape for tensor in self._layout.tensors}
        bases = [
            BasisChange(self._layout.slices[name], shapes[name], basis)
            for name, basis in new.bases.items()
        ]
        server.optimizer.refactor(new.values, bases)
        self._check_finite()

    def _gradient(self, arrivals: Sequence[Arrival], parts: Sequence[Contribution]) -> Gradient:
        """Return the gradient of a server step, and the mask of entries that move (None: all)."""
        server, step = self._server, self._method.product_step
        gradient = Gradient(self._mean(arrivals, parts), self._moving_mask(arrivals))
        if isinstance(step, GradientStep):
            draw = lazy_stream(self._config.seed, "version", server.version, "step")
            vector_N = server.vector()
            gradient = step.gradient(self._layout, vector_N, gradient, parts, server.version, draw)
        for arrival in arrivals:
            self._confirm(arrival.dispatch)
        server.ledger.forget(self._config.tier_of)
        return gradient

    def _mean(self, arrivals: Sequence[Arrival], parts: Sequence[Contribution]) -> Vector:
        exchange = self._server.exchange
        gradient_N = np.zeros(self._layout.entries, dtype=np.float32)
        covering = self._method.divisor == "covering"
        # float64: the weights of a whole cohort sum to 1 with less rounding error than in float32.
        covered_N = np.zeros(self._layout.entries if covering else 0)
        updates = (
            (part.update for part in parts)
            if parts
            else (self.decoded_upload(one.dispatch, one.upload.blob) for one in arrivals)
        )
        for arrival, update_N in zip(arrivals, updates, strict=True):
            weight = arrival.weight
            gradient_N += np.float32(weight) * exchange.received(update_N)
            if covering:  # share without staleness: stale updates weigh less in this mean, too
                share = weight / staleness_weight(arrival.staleness)
                known_N = self._known_upload_mask(arrival.dispatch)
                covered_N += share if known_N is None else share * known_N
        gradient_N = exchange.with_server_noise(gradient_N, self._server.version, len(arrivals))
        if covering:
            np.divide(gradient_N, covered_N, out=gradient_N, where=covered_N > 0)
        return gradient_N

    def _moving_mask(self, arrivals: Sequence[Arrival]) -> Mask | None:
        """Return the mask of the entries that a server step moves; None for all entries."""
        if not self._method.trains_by_schedule:
            return None
        moving_N = np.zeros(self._layout.entries, dtype=bool)
        for arrival in arrivals:
            trained_N = self._clients.trained_mask(arrival.dispatch)
            moving_N |= True if trained_N is None else trained_N
        if self._server.backbone:
            moving_N &= self._server.backbone.moving_mask()
        return None if moving_N.all() else moving_N

    def decoded_upload(self, dispatch: Dispatch, blob: bytes) -> Vector:
        """Return the update that an upload carries, float32 of shape (N,).

        Args:
            dispatch: The dispatch that the upload answers.
            blob: Bytes of the upload.

        Raises:
            PayloadError: The bytes are no upload of this run.
        """
        return self._server.exchange.decode_upload(blob, self._known_upload_mask(dispatch))

    def _known_upload_mask(self, dispatch: Dispatch) -> Mask | None:
        """Return the mask that contains the upload of a dispatch; None for all entries."""
        return self._server.exchange.known_upload_mask(
            self._config.tier_of(dispatch.client),
            dispatch.client,
            dispatch.sequence,
            self._clients.trained_mask(dispatch),
            dispatch.version,
        )

    def _confirm(self, dispatch: Dispatch) -> None:
        """Record the mask that a client holds, since its upload has arrived."""
        method, ledger = self._method, self._server.ledger
        if not method.has_ledger:
            return
        if method.mask_ledger and not method.persistent and dispatch.version:
            content = self._clients.content(dispatch)
            mask_N = content.offsets != 0 if content.trained is None else content.trained
            ledger.keep(self._config.tier_of(dispatch.client), dispatch.version, mask_N)
        ledger.confirm(dispatch.client, dispatch.version)
