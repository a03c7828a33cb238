"""Exchange between server and client: encoding and decoding of downloads and uploads.

Masks travel only where needed. A mask that both ends can build is never sent. An upload with the
download's mask carries no positions. A persistent mask is written among all entries, or within the
mask that the client is known to hold.

Shapes: vectors float32 and masks bool over a layout of N entries; vectors are offsets from the
base that both ends hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import NonFiniteUpdateError
from floss_sim.methods.differential_privacy import with_noise
from floss_sim.methods.method import Method
from floss_sim.methods.partner_norms import partner_norms
from floss_sim.methods.persistent_masks import MaskHistory
from floss_sim.methods.schedules import Moment
from floss_sim.methods.selectors import Bounded, SameMask, known_mask
from floss_sim.methods.top_k_selectors import TopK
from floss_sim.rng import LazyStream, lazy_stream, stream
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import VALUE_CODES, decode, encode, sent_entries

State = Mapping[str, NDArray[np.float32]]
RESIDUAL = "residual"


@dataclass(frozen=True)
class Reply:
    """A client's upload, and the state that the client keeps.

    Attributes:
        blob: Bytes of the upload.
        entries: Number of entries that the upload carries.
        state: State that the client keeps if the upload arrives.
        lost_state: State that the client keeps if the upload is lost.
    """

    blob: bytes
    entries: int
    state: State
    lost_state: State


@dataclass(frozen=True)
class Exchange:
    """Messages of a method over a layout: pure functions of arguments and random streams.

    Attributes:
        method: Method that chooses the entries and the value codes.
        layout: Layout of the N entries.
        seed: Seed of the run, from which random masks, stochastic rounding and noise are drawn.
        cohort: Number of clients in a cohort, which share the noise of differential privacy.
    """

    method: Method
    layout: Layout
    seed: int
    cohort: int = 1

    def prune(self, vector_N: Vector, history: MaskHistory, version: int) -> Mask:
        """Shrink the persistent mask if it changes at this version; return the mask.

        Args:
            vector_N: The server's vector, by which entries are ranked.
            history: History of the persistent mask; it is updated.
            version: Version of the global adapter.
        """
        mask = self.method.persistent
        if mask and mask.changes(version):
            draw = lazy_stream(self.seed, "version", version, "mask")
            kept_N = mask.at(version).mask(self.layout, vector_N, draw, history.alive_mask())
            history.prune(kept_N, version)
        return history.alive_mask()

    def download_mask(
        self, vector_N: Vector, history: MaskHistory, tier: int, version: int, sequence: int = 0
    ) -> Mask:
        """Return the mask of the entries that clients of a tier download.

        Args:
            vector_N: The server's vector, by which entries are ranked.
            history: History of the persistent mask.
            tier: Tier of the client.
            version: Version of the global adapter.
            sequence: Number of the dispatch.
        """
        if self.method.persistent:
            return history.alive_mask()
        draw = self._download_draw(version, sequence)
        selector = self.method.download_selector(tier, version)
        return selector.mask(self.layout, vector_N, draw)

    def download(
        self,
        vector_N: Vector,
        mask_N: Mask,
        tier: int,
        version: int,
        known_N: Mask | None = None,
        held_N: Mask | None = None,
    ) -> bytes:
        """Return the download of a version.

        Args:
            vector_N: The server's vector.
            mask_N: Mask of the entries to be sent.
            tier: Tier of the receiving clients.
            version: Version of the global adapter.
            known_N: Mask that the client also knows and that contains ``mask_N``; None for all
                entries.
            held_N: Mask that the client also holds and that resembles ``mask_N``; None if there is
                none.
        """
        return encode(
            self.layout,
            vector_N,
            mask_N,
            values=self.method.down_values,
            known_N=known_N,
            held_N=held_N,
            keep_zeros=self.method.carries_mask(self.layout, tier, version)
            or self.method.change_ledger,
            draw=self._rounding_draw(self.method.down_values, "version", version, "values"),
        )

    def known_download_mask(
        self, history: MaskHistory, tier: int, version: int, held: int, sequence: int = 0
    ) -> Mask | None:
        """Return the known mask of a download, in which its positions are counted.

        Args:
            history: History of the persistent mask.
            tier: Tier of the client.
            version: Version that is downloaded.
            held: Version of the persistent mask that the client is known to hold, or 0.
            sequence: Number of the dispatch.

        Returns:
            The mask, or None for all entries.
        """
        selector = self.method.download_selector(tier, version)
        if self.method.persistent:
            known_N = history.alive_mask(version if selector.shared else held)
            return None if known_N.all() else known_N
        return known_mask(selector, self.layout, self._download_draw(version, sequence))

    def decode_download(
        self,
        blob: bytes,
        tier: int,
        version: int,
        known_N: Mask | None,
        held_N: Mask | None = None,
        own_N: Vector | None = None,
    ) -> tuple[Vector, Mask | None]:
        """Return the decoded vector, and the mask of the entries that train (None: all).

        Args:
            blob: Bytes of the download.
            tier: Tier of the client.
            version: Version of the global adapter.
            known_N: Known mask with which the download was encoded; None for all entries.
            held_N: Held mask that the download may use; None if there is none.
            own_N: Values that the client keeps where the download has none (change ledger); None:
                zeros.
        """
        vector_N, mask_N = decode(self.layout, blob, known_N, held_N)
        if own_N is not None:
            vector_N = np.where(mask_N, vector_N, own_N)
        trained = self.method.trained_selector(tier, version)
        if trained is not None:
            draw = lazy_stream(self.seed, "version", version, "trained")
            trained_N = trained.mask(self.layout, vector_N, draw)
            return vector_N, None if trained_N.all() else trained_N
        if not self.method.is_masked:
            return vector_N, None
        if not self.method.carries_mask(self.layout, tier, version):
            return vector_N, known_N
        return vector_N, None if mask_N.all() else mask_N

    def upload(
        self,
        update_N: Vector,
        tier: int,
        client: int,
        sequence: int,
        trained_N: Mask | None,
        state: State,
        chosen_N: Mask | None = None,
        version: int = 0,
        start_N: Vector | None = None,
    ) -> Reply:
        """Return a client's reply: the selected entries of its update, encoded.

        With differential privacy the update is clipped and has its noise before entries are
        ranked, the residual of error feedback included. The residual that stays has no noise in it.

        Args:
            update_N: The client's update: the decoded vector minus the vector after training.
            tier: Tier of the client.
            client: Number of the client.
            sequence: Number of the dispatch.
            trained_N: Mask of the entries that trained; None for all entries.
            state: State that the client kept from its last participation.
            chosen_N: Mask that the selector of :meth:`ranking_selector` chooses for this update,
                if the caller has computed it already; otherwise None.
            version: Version that the client downloaded.
            start_N: The decoded vector; needed only where entries are ranked by the product.

        Raises:
            NonFiniteUpdateError: The update, with the residual of error feedback added, holds NaN
                or infinity.
        """
        norms_N = self._partner_norms(start_N, update_N)
        selector = self.method.upload_selector(tier, Moment(version, sequence))
        if self.method.error_feedback and isinstance(selector, Bounded):
            # What this upload cannot hold (other segments, private entries) is not waited for.
            update_N = np.where(selector.bounds(self.layout), update_N, np.float32(0))
        if self.method.error_feedback and RESIDUAL in state:
            # The residual keeps entries outside the trained mask until a mask contains them again.
            update_N = update_N + state[RESIDUAL]
        if not np.isfinite(update_N).all():
            raise NonFiniteUpdateError(
                f"the update of client {client} in dispatch {sequence} is not finite; "
                "lower the learning rates"
            )
        known_N = self.known_upload_mask(tier, client, sequence, trained_N, version)
        update_N, sent_N = self._private(update_N, known_N, client, sequence)
        if sent_N is not update_N:
            norms_N = self._partner_norms(start_N, sent_N)
        if isinstance(selector, SameMask) or selector.shared:
            mask_N = np.ones(self.layout.entries, dtype=bool) if known_N is None else known_N
        elif chosen_N is not None:
            mask_N = chosen_N
        else:
            ranked_N = sent_N if norms_N is None else norms_N * sent_N
            mask_N = selector.mask(self.layout, ranked_N, self._draw(client, sequence))
        blob = encode(
            self.layout,
            sent_N,
            mask_N,
            values=self.method.up_values,
            known_N=known_N,
            draw=self._rounding_draw(
                self.method.up_values, "client", client, "dispatch", sequence, "upload", "values"
            ),
        )
        entries = sent_entries(blob)
        if not self.method.error_feedback:
            return Reply(blob, entries, {}, {})
        if sent_N is update_N:
            unsent_N = update_N - self.decode_upload(blob, known_N)
        else:
            unsent_N = np.where(mask_N, np.float32(0), update_N)
        return Reply(blob, entries, {RESIDUAL: unsent_N}, {RESIDUAL: update_N})

    def _private(
        self, update_N: Vector, known_N: Mask | None, client: int, sequence: int
    ) -> tuple[Vector, Vector]:
        """Return an update clipped, and with the client's noise; the same array without noise."""
        privacy = self.method.privacy
        if privacy is None:
            return update_N, update_N
        clipped_N = privacy.clipped(update_N, known_N)
        deviation = privacy.client_noise(self.cohort)
        if not deviation:
            return clipped_N, clipped_N
        within_N = np.ones(self.layout.entries, dtype=bool) if known_N is None else known_N
        names = ("client", client, "dispatch", sequence, "upload")
        source = privacy.source
        return clipped_N, with_noise(clipped_N, deviation, within_N, source, self.seed, *names)

    def received(self, update_N: Vector) -> Vector:
        """Return a decoded update as the mean takes it: clipped if the server adds the noise.

        Rounding of values may have made it longer than the client's clip.
        """
        privacy = self.method.privacy
        return privacy.clipped(update_N) if privacy and privacy.trust == "server" else update_N

    def with_server_noise(self, mean_N: Vector, version: int, reports: int) -> Vector:
        """Return a mean of updates with the server's noise; the same array if it adds none.

        Args:
            mean_N: The mean.
            version: Version before the step.
            reports: Number of updates in the mean.
        """
        privacy = self.method.privacy
        deviation = privacy.server_noise(reports) if privacy else 0.0
        if privacy is None or not deviation:
            return mean_N
        private = self.method.private
        travels_N = ~private.mask(self.layout) if private else np.ones(self.layout.entries, bool)
        names = ("version", version)
        return with_noise(mean_N, deviation, travels_N, privacy.source, self.seed, *names)

    def _partner_norms(self, start_N: Vector | None, update_N: Vector) -> Vector | None:
        """Return the factors by which the ranking multiplies an update; None: by magnitude."""
        if self.method.ranking == "magnitude":
            return None
        if start_N is None:
            raise ValueError("a ranking by the product needs the decoded vector")
        return partner_norms(self.layout, start_N, update_N)

    def ranking_selector(self, tier: int) -> TopK | None:
        """Return the selector of a tier's uploads if it ranks the update alone, else None.

        None where all entries travel, where both ends build the mask, where entries are ranked by
        the product, and with error feedback or differential privacy, which change the update
        before the ranking.
        """
        selector = self.method.tiers[tier].upload
        changed = self.method.error_feedback or self.method.privacy is not None
        ranks_alone = self.method.ranking == "magnitude" and not changed
        if not (ranks_alone and isinstance(selector, TopK)):
            return None
        return selector if selector.count(self.layout) < self.layout.entries else None

    def known_upload_mask(
        self, tier: int, client: int, sequence: int, trained_N: Mask | None, version: int = 0
    ) -> Mask | None:
        """Return the known mask of an upload, which both ends can build; None for all entries.

        Args:
            tier: Tier of the client.
            client: Number of the client.
            sequence: Number of the dispatch.
            trained_N: Mask of the entries that trained; None for all entries.
            version: Version that the client downloaded.
        """
        selector = self.method.upload_selector(tier, Moment(version, sequence))
        if isinstance(selector, SameMask):
            return trained_N
        return known_mask(selector, self.layout, self._draw(client, sequence))

    def decode_upload(self, blob: bytes, known_N: Mask | None) -> Vector:
        """Return the update that the server decodes from an upload, zero where nothing was sent."""
        return decode(self.layout, blob, known_N)[0]

    def _rounding_draw(self, values: str, *names: int | str) -> np.random.Generator | None:
        return stream(self.seed, *names) if VALUE_CODES[values].rounds_at_random else None

    def _download_draw(self, version: int, sequence: int) -> LazyStream:
        if self.method.downloads_by_dispatch:
            return lazy_stream(self.seed, "dispatch", sequence, "mask")
        return lazy_stream(self.seed, "version", version, "mask")

    def _draw(self, client: int, sequence: int) -> LazyStream:
        names = ("client", client, "dispatch", sequence, "upload", "mask")
        return lazy_stream(self.seed, *names)
