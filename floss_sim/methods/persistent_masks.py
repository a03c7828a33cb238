"""Persistent masks: one mask for all clients during the whole run, which can only shrink.

==========  =================  ========================================================
mask        published as       density of version v (after v server steps)
==========  =================  ========================================================
Frozen      SparseAdapter      1 before version ``after``, then one constant density
Shrinking   AdapterLTH         ``factor ** v``; each prune starts from the pruned state
==========  =================  ========================================================

The server prunes after each step: it sets entries outside the mask to zero. It also sets their
optimizer moments to zero, so that the entries stay zero. A mask is a subset of the previous one.
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
        pick: Selector of the kept entries: by magnitude or at random, globally or per tensor.
    """

    pick: PickSelector
    kind: ClassVar[Literal["frozen", "shrinking"]]

    def at(self, version: int) -> Everything | PickSelector:
        """Return the selector of the mask of a version."""
        raise NotImplementedError

    def changes(self, version: int) -> bool:
        """Return whether the mask of a version differs from that of the previous version."""
        return version > 0 and self.at(version) != self.at(version - 1)

    def describe(self) -> str:
        """Return a description of the mask for users."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Return the mask as plain values, for fingerprints."""
        return {**self.pick.settings(), "mask": self.kind}


@dataclass(frozen=True)
class FrozenMask(PersistentMask):
    """Mask that is dense before version ``after``, is chosen there, and then stays fixed.

    Raises:
        ConfigError: A mask before the first server step.
    """

    after: int = 1
    kind = "frozen"

    def __post_init__(self) -> None:
        if self.after < 1:
            raise ConfigError(f"a mask frozen after round {self.after}; valid: 1 or later")

    @property
    def density(self) -> float:
        """The density of the mask once it is frozen."""
        return self.pick.density

    def at(self, version: int) -> Everything | PickSelector:
        """Return a selector of all entries before the mask is frozen, then ``pick``."""
        return Everything() if version < self.after else self.pick

    def settings(self) -> dict[str, Any]:
        """Return the mask as plain values; ``after`` is included unless it is the published 1."""
        return super().settings() | ({"after": self.after} if self.after != 1 else {})

    def describe(self) -> str:
        """Return a description such as ``one mask of 1/4, frozen after round 1``."""
        return f"one mask of {self.pick.describe()}, frozen after round {self.after}"


@dataclass(frozen=True)
class ShrinkingMask(PersistentMask):
    """Mask whose density is ``factor ** version``.

    Raises:
        DensityError: A factor outside (0, 1].
    """

    factor: float = 0.98
    kind = "shrinking"
    density: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not 0 < self.factor <= 1:
            raise DensityError(
                f"factor {self.factor} is outside (0, 1]; 0.98 keeps 98 % of the mask each round"
            )

    def at(self, version: int) -> Everything | PickSelector:
        """Return the selector of density ``factor ** version``."""
        density = max(self.factor**version, float(np.finfo(np.float32).tiny))
        return Everything() if density == 1 else replace(self.pick, density=density)

    def settings(self) -> dict[str, Any]:
        """Return the mask as plain values, without the density, which follows from the factor."""
        settings = super().settings() | {"factor": self.factor}
        del settings["density"]
        return settings

    def describe(self) -> str:
        """Return a description such as ``a mask that shrinks by 0.98 a round``."""
        chosen = self.pick.describe().removeprefix(format_density(self.pick.density))
        return f"a mask{chosen} that shrinks by {self.factor:g} a round"


class MaskHistory:
    """History of a persistent mask: the version at which each entry was pruned.

    ``lost_at_N`` is int32 of shape (N,), 0 for entries that are not pruned (alive). Every earlier
    mask can be computed from it. A server that knows which version of the mask a client holds can
    therefore code a new mask within the old one.
    """

    def __init__(self, entries: int) -> None:
        self.lost_at_N: NDArray[np.int32] = np.zeros(entries, dtype=np.int32)

    def alive_mask(self, version: int | None = None) -> Mask:
        """Return the mask of a version; by default the newest mask."""
        alive_N: Mask = self.lost_at_N == 0
        return alive_N if version is None else alive_N | (self.lost_at_N > version)

    def prune(self, kept_N: Mask, version: int) -> None:
        """Record that the mask of a version keeps only the entries of ``kept_N``."""
        self.lost_at_N[(self.lost_at_N == 0) & ~kept_N] = version


class MaskLedger:
    """The server's record of the mask version that each client holds.

    ``held_C`` is int32 of shape (clients,), 0 for a client that has confirmed no version, or only
    version 0. ``masks`` has the packed masks by (tier, version). It holds masks that no history
    gives, as long as a client holds them.
    """

    def __init__(self, clients: int) -> None:
        self.held_C: NDArray[np.int32] = np.zeros(clients, dtype=np.int32)
        self.masks: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def held_version(self, client: int) -> int:
        """Return the version of the mask that a client is known to hold, or 0."""
        return int(self.held_C[client])

    def confirm(self, client: int, version: int) -> None:
        """Record that a client has replied to a download of a version."""
        self.held_C[client] = version

    def keep(self, tier: int, version: int, mask_N: Mask) -> None:
        """Store the mask that clients of a tier decoded from the download of a version."""
        self.masks.setdefault((tier, version), np.packbits(mask_N))

    def mask(self, tier: int, version: int, entries: int) -> Mask | None:
        """Return the stored mask of a tier and version, shape (entries,); None if not stored."""
        kept = self.masks.get((tier, version))
        return None if kept is None else np.unpackbits(kept, count=entries).astype(bool)

    def forget(self, tier_of: Callable[[int], int]) -> None:
        """Delete the masks that no client holds.

        Args:
            tier_of: Function from a client's number to its tier.
        """
        holders = np.flatnonzero(self.held_C).tolist()
        wanted = {(tier_of(client), int(self.held_C[client])) for client in holders}
        self.masks = {key: mask for key, mask in self.masks.items() if key in wanted}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state of the ledger as arrays, by name."""
        keys = np.array(sorted(self.masks), dtype=np.int32).reshape(-1, 2)
        masks = [self.masks[tier, version] for tier, version in keys.tolist()]
        packed = np.stack(masks) if masks else np.zeros((0, 0), dtype=np.uint8)
        return {"held": self.held_C.copy(), "held_keys": keys, "held_masks": packed}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Set the ledger to a state that :meth:`state` returned."""
        self.held_C = state["held"].copy()
        keys = [(int(tier), int(version)) for tier, version in state["held_keys"]]
        self.masks = dict(zip(keys, state["held_masks"], strict=True))
