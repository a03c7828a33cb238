"""Persistent masks: one mask for all clients that lives as long as the run and only shrinks.

==========  =================  ========================================================
mask        published as       density of version v (after v server steps)
==========  =================  ========================================================
Frozen      SparseAdapter      1 before version ``after``, then one density for good
Shrinking   AdapterLTH         ``factor ** v``, going on from the pruned state
==========  =================  ========================================================

The server prunes after each step: entries outside the mask become zero, and so do their moments,
so that they cannot drift back. Every mask is a subset of the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ConfigError, DensityError
from floss_sim.methods.selectors import Everything
from floss_sim.methods.top_k_selectors import RandomK, TopK
from floss_sim.vectors.density import format_density
from floss_sim.vectors.top_k import Mask

PickSelector = TopK | RandomK


@dataclass(frozen=True)
class PersistentMask:
    """A mask that shrinks from version to version.

    Args:
        pick: How entries are chosen: by magnitude or at random, globally or per tensor.
    """

    pick: PickSelector
    kind: ClassVar[Literal["frozen", "shrinking"]]

    def at(self, version: int) -> Everything | PickSelector:
        """Return the selector of a version's mask."""
        raise NotImplementedError

    def changes(self, version: int) -> bool:
        """Return whether the mask of a version differs from that of the version before."""
        return version > 0 and self.at(version) != self.at(version - 1)

    def describe(self) -> str:
        """Return the mask in words."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Return the mask as plain values, for fingerprints."""
        return {**self.pick.settings(), "mask": self.kind}


@dataclass(frozen=True)
class FrozenMask(PersistentMask):
    """Dense until version ``after``, then the mask chosen there, for good.

    Raises:
        ConfigError: A mask before the first server step.
    """

    after: int = 1
    kind = "frozen"

    def __post_init__(self) -> None:
        if self.after < 1:
            raise ConfigError(f"a mask frozen after round {self.after}; round 1 at the earliest")

    @property
    def density(self) -> float:
        """The density of the mask once it is frozen."""
        return self.pick.density

    def at(self, version: int) -> Everything | PickSelector:
        """Return everything before the mask is frozen, then its selector."""
        return Everything() if version < self.after else self.pick

    def settings(self) -> dict[str, Any]:
        """Return the mask as plain values; ``after`` where it is not the published 1."""
        return super().settings() | ({"after": self.after} if self.after != 1 else {})

    def describe(self) -> str:
        """Return, say, ``one mask of 1/4, frozen after round 1``."""
        return f"one mask of {self.pick.describe()}, frozen after round {self.after}"


@dataclass(frozen=True)
class ShrinkingMask(PersistentMask):
    """Density ``factor ** version``.

    Raises:
        DensityError: A factor outside (0, 1].
    """

    factor: float = 0.98
    kind = "shrinking"
    density: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not 0 < self.factor <= 1:
            raise DensityError(
                f"factor {self.factor} is outside (0, 1]; 0.98 leaves 98 % of the mask a round"
            )

    def at(self, version: int) -> Everything | PickSelector:
        """Return the selector of ``factor ** version``."""
        density = max(self.factor**version, float(np.finfo(np.float32).tiny))
        return Everything() if density == 1 else replace(self.pick, density=density)

    def settings(self) -> dict[str, Any]:
        """Return the mask as plain values; the density follows from the factor."""
        settings = super().settings() | {"factor": self.factor}
        del settings["density"]
        return settings

    def describe(self) -> str:
        """Return, say, ``a mask that shrinks by 0.98 a round``."""
        chosen = self.pick.describe().removeprefix(format_density(self.pick.density))
        return f"a mask{chosen} that shrinks by {self.factor:g} a round"


class MaskHistory:
    """Which entries a persistent mask has lost, and at which version.

    ``lost_at_N`` is int32 of shape (N,): 0 for entries that are still alive. Every earlier mask
    follows from it, so that a server that remembers which version a client holds can write a
    new mask as a part of the old one.
    """

    def __init__(self, entries: int) -> None:
        self.lost_at_N: NDArray[np.int32] = np.zeros(entries, dtype=np.int32)

    def alive_mask(self, version: int | None = None) -> Mask:
        """Return the mask of a version; by default the newest."""
        alive_N: Mask = self.lost_at_N == 0
        return alive_N if version is None else alive_N | (self.lost_at_N > version)

    def prune(self, kept_N: Mask, version: int) -> None:
        """Note that a version keeps only the entries of ``kept_N``."""
        self.lost_at_N[(self.lost_at_N == 0) & ~kept_N] = version


class MaskLedger:
    """What the server remembers of each client: the version of the mask that it holds.

    ``held_C`` is int32 of shape (clients,): 0 where a client has confirmed none, or only the first.
    Masks that do not follow from a history are kept as long as some client holds them, packed:
    ``masks`` by (tier, version).
    """

    def __init__(self, clients: int) -> None:
        self.held_C: NDArray[np.int32] = np.zeros(clients, dtype=np.int32)
        self.masks: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def held_version(self, client: int) -> int:
        """Return the version of the mask that a client is known to hold, or 0."""
        return int(self.held_C[client])

    def confirm(self, client: int, version: int) -> None:
        """Note that a client has answered a download of a version."""
        self.held_C[client] = version

    def keep(self, tier: int, version: int, mask_N: Mask) -> None:
        """Keep the mask that clients of a tier decoded of a version."""
        self.masks.setdefault((tier, version), np.packbits(mask_N))

    def mask(self, tier: int, version: int, entries: int) -> Mask | None:
        """Return a mask that is kept; None if it is not."""
        kept = self.masks.get((tier, version))
        return None if kept is None else np.unpackbits(kept, count=entries).astype(bool)

    def forget(self, tier_of: Callable[[int], int]) -> None:
        """Drop the masks that no client holds, given each client's tier."""
        holders = np.flatnonzero(self.held_C).tolist()
        wanted = {(tier_of(client), int(self.held_C[client])) for client in holders}
        self.masks = {key: mask for key, mask in self.masks.items() if key in wanted}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that is remembered, by name."""
        keys = np.array(sorted(self.masks), dtype=np.int32).reshape(-1, 2)
        masks = [self.masks[tier, version] for tier, version in keys.tolist()]
        packed = np.stack(masks) if masks else np.zeros((0, 0), dtype=np.uint8)
        return {"held": self.held_C.copy(), "held_keys": keys, "held_masks": packed}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        self.held_C = state["held"].copy()
        keys = [(int(tier), int(version)) for tier, version in state["held_keys"]]
        self.masks = dict(zip(keys, state["held_masks"], strict=True))
