"""Both ends of an exchange: a vector to a download to an update to an upload, as real bytes.

Who knows which mask: what both ends can build is built at both ends and never carried; an upload
that answers with the download's mask carries no positions; a persistent mask is written in full,
or within the mask that the client is known to hold.

Shapes: vectors float32 and masks bool over a layout of N entries; vectors are offsets from the
base that both ends hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import NonFiniteUpdateError
from floss_sim.methods.method import Method
from floss_sim.methods.persistent_masks import MaskHistory
from floss_sim.methods.selectors import SameMask
from floss_sim.methods.top_k_selectors import TopK
from floss_sim.rng import LazyStream, lazy_stream, stream
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import VALUE_CODES, decode, encode, sent_entries

State = Mapping[str, NDArray[np.float32]]
RESIDUAL = "residual"


@dataclass(frozen=True)
class Reply:
    """A client's encoded update, the entries that it carries, and what the client keeps.

    It keeps ``lost_state`` where the update never arrives.
    """

    blob: bytes
    entries: int
    state: State
    lost_state: State


@dataclass(frozen=True)
class Exchange:
    """The messages of a method over a layout; a pure function of its arguments and streams.

    Attributes:
        method: What travels.
        layout: Names the entries.
        seed: The run's, which names the streams of random masks and of stochastic rounding.
    """

    method: Method
    layout: Layout
    seed: int

    def prune(self, vector_N: Vector, history: MaskHistory, version: int) -> Mask:
        """Shrink the persistent mask where its schedule says so; return what is still alive."""
        mask = self.method.persistent
        if mask and mask.changes(version):
            draw = lazy_stream(self.seed, "version", version, "mask")
            kept_N = mask.at(version).mask(self.layout, vector_N, draw, history.alive_mask())
            history.prune(kept_N, version)
        return history.alive_mask()

    def download_mask(
        self, vector_N: Vector, history: MaskHistory, tier: int, version: int
    ) -> Mask:
        """Return the entries of a version that a tier's clients receive."""
        if self.method.persistent:
            return history.alive_mask()
        draw = lazy_stream(self.seed, "version", version, "mask")
        return self.method.tiers[tier].download.mask(self.layout, vector_N, draw)

    def download(
        self,
        vector_N: Vector,
        mask_N: Mask,
        tier: int,
        version: int,
        known_N: Mask | None = None,
        held_N: Mask | None = None,
    ) -> bytes:
        """Return the message that carries a version's vector under its mask.

        Args:
            vector_N: The vector.
            mask_N: Its mask.
            tier: Whose clients receive it.
            version: Its number.
            known_N: The mask that it is written within.
            held_N: The mask that it may be written beside.
        """
        return encode(
            self.layout,
            vector_N,
            mask_N,
            values=self.method.down_values,
            known_N=known_N,
            held_N=held_N,
            keep_zeros=self._carries_mask(tier, version),
            draw=self._rounding_draw(self.method.down_values, "version", version, "values"),
        )

    def known_download_mask(
        self, history: MaskHistory, tier: int, version: int, held: int
    ) -> Mask | None:
        """Return the mask that a download is written against; None for all entries.

        Args:
            history: Of the persistent mask.
            tier: The client's tier.
            version: What is downloaded.
            held: The version of the mask that the client is known to hold, or 0.
        """
        selector = self.method.download_selector(tier, version)
        if self.method.persistent:
            known_N = history.alive_mask(version if selector.shared else held)
        elif selector.shared:
            # It depends on no value, so that the client builds it from zeros.
            zeros_N = np.zeros(self.layout.entries, dtype=np.float32)
            known_N = self.download_mask(zeros_N, history, tier, version)
        else:
            return None
        return None if known_N.all() else known_N

    def decode_download(
        self,
        blob: bytes,
        tier: int,
        version: int,
        known_N: Mask | None,
        held_N: Mask | None = None,
    ) -> tuple[Vector, Mask | None]:
        """Return what a client decodes: the vector, and the mask that trains (None: all)."""
        vector_N, mask_N = decode(self.layout, blob, known_N, held_N)
        if not self.method.is_masked:
            return vector_N, None
        if not self._carries_mask(tier, version):
            return vector_N, known_N
        return vector_N, None if mask_N.all() else mask_N

    def _carries_mask(self, tier: int, version: int) -> bool:
        """Return whether a client learns from the message itself which entries train."""
        selector = self.method.download_selector(tier, version)
        everything = selector.count(self.layout) == self.layout.entries
        return self.method.is_masked and not (selector.shared or everything)

    def upload(
        self,
        update_N: Vector,
        tier: int,
        client: int,
        sequence: int,
        trained_N: Mask | None,
        state: State,
        chosen_N: Mask | None = None,
    ) -> Reply:
        """Return a client's answer: its update, selected and encoded.

        Args:
            update_N: What it decoded minus what it holds after training.
            tier: Its tier.
            client: Its number.
            sequence: The number of the dispatch.
            trained_N: The mask that trained; None for all entries.
            state: What it kept from its last participation.
            chosen_N: The mask that :meth:`ranking_selector`'s selector gives of this very update,
                where the caller has it already.

        Raises:
            NonFiniteUpdateError: The update, with what was kept, holds NaN or infinity.
        """
        if self.method.error_feedback and RESIDUAL in state:
            # What lies outside the mask that trains now is kept for when it is inside again.
            update_N = update_N + state[RESIDUAL]
        if not np.isfinite(update_N).all():
            raise NonFiniteUpdateError(
                f"the update of client {client} in dispatch {sequence} is not finite; "
                "lower the learning rates"
            )
        known_N = self.known_upload_mask(tier, client, sequence, trained_N)
        selector = self.method.tiers[tier].upload
        if isinstance(selector, SameMask) or selector.shared:
            mask_N = np.ones(self.layout.entries, dtype=bool) if known_N is None else known_N
        elif chosen_N is not None:
            mask_N = chosen_N
        else:
            mask_N = selector.mask(self.layout, update_N, self._draw(client, sequence))
        blob = encode(
            self.layout,
            update_N,
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
        unsent_N = update_N - self.decode_upload(blob, known_N)
        return Reply(blob, entries, {RESIDUAL: unsent_N}, {RESIDUAL: update_N})

    def ranking_selector(self, tier: int) -> TopK | None:
        """Return the selector of a tier's uploads where it ranks the update and nothing else.

        None where all entries travel, where both ends build the mask, and with error feedback: then
        what a client kept is added first.
        """
        selector = self.method.tiers[tier].upload
        if self.method.error_feedback or not isinstance(selector, TopK):
            return None
        return selector if selector.count(self.layout) < self.layout.entries else None

    def known_upload_mask(
        self, tier: int, client: int, sequence: int, trained_N: Mask | None
    ) -> Mask | None:
        """Return the mask that an upload is written against, as both ends know it."""
        selector = self.method.tiers[tier].upload
        if isinstance(selector, SameMask):
            return trained_N
        if not selector.shared:
            return None
        zeros_N = np.zeros(self.layout.entries, dtype=np.float32)
        known_N = selector.mask(self.layout, zeros_N, self._draw(client, sequence))
        return None if known_N.all() else known_N

    def decode_upload(self, blob: bytes, known_N: Mask | None) -> Vector:
        """Return what the server decodes of an upload."""
        return decode(self.layout, blob, known_N)[0]

    def _rounding_draw(self, values: str, *names: int | str) -> np.random.Generator | None:
        return stream(self.seed, *names) if VALUE_CODES[values].rounds_at_random else None

    def _draw(self, client: int, sequence: int) -> LazyStream:
        names = ("client", client, "dispatch", sequence, "upload", "mask")
        return lazy_stream(self.seed, *names)
