"""Layers that freeze one after another, those with the smallest updates so far first.

Layer freezing in federated fine-tuning (GMFL, Huang et al., ACL 2026) lets the server measure the
updates of each layer and freeze the least of them from time to time. The authors' code
(tunx-cyber/GMFL, fed/GMFL.py) ranks tensors by their change in one round. Here both ends
find the frozen layers in the downloaded vector, so that nothing is sent about them: B starts at
zero, and the root mean square of a layer's B is therefore the size of all its updates so far.

Shapes: ``values_N`` float32 and masks bool over a layout of N entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from floss_sim.errors import ConfigError
from floss_sim.methods.schedules import Moment
from floss_sim.rng import LazyStream
from floss_sim.vectors.density import format_density, kept_count, parse_density
from floss_sim.vectors.layout import LORA_B, Layout, TensorSpec, layer_number
from floss_sim.vectors.top_k import Mask, Vector

_Layers = Mapping[int, tuple[TensorSpec, ...]]


@dataclass(frozen=True)
class ActiveLayers:
    """Selector of all entries but those of the layers whose B is smallest.

    Args:
        freezes: Layers to freeze; a fraction ``kept`` of all layers, and one at least, stays.
        kept: Fraction of the layers that never freezes, in (0, 1].
    """

    freezes: int
    kept: float
    density: ClassVar[None] = None
    shared: ClassVar[bool] = True  # of the values of a download, which both ends have

    def count(self, layout: Layout) -> int:
        """Return the number of entries if the layers with the fewest entries are frozen."""
        sizes = sorted(sum(t.size for t in tensors) for tensors in _layers(layout).values())
        return layout.entries - sum(sizes[: self._frozen(layout)])

    def _frozen(self, layout: Layout) -> int:
        layers = len(_layers(layout))
        return min(self.freezes, layers - kept_count(layers, self.kept)) if layers else 0

    def mask(
        self,
        layout: Layout,
        values_N: Vector,
        draw: LazyStream,
        within_N: Mask | None = None,
    ) -> Mask:
        """Return the mask of the entries that are not frozen; ties freeze the lowest layer."""
        layers = _layers(layout)
        sizes = {number: _b_size(layout, values_N, tensors) for number, tensors in layers.items()}
        mask_N = np.ones(layout.entries, dtype=bool)
        for number in sorted(sizes, key=lambda number: (sizes[number], number))[
            : self._frozen(layout)
        ]:
            for tensor in layers[number]:
                mask_N[layout.slices[tensor.name]] = False
        return mask_N if within_N is None else mask_N & within_N

    def settings(self) -> dict[str, Any]:
        """Return the number of layers to freeze and the fraction that stays, as plain values."""
        return dict(vars(self))

    def describe(self) -> str:
        """Return a description such as ``all but 2 layers``."""
        return f"all but {self.freezes} layers"


@dataclass(frozen=True)
class LayerFreezing:
    """Schedule that freezes one more layer every few rounds.

    Args:
        freeze_every: Rounds after which one more layer freezes, at least 1.
        kept: Fraction of the layers that never freezes, in (0, 1].

    Raises:
        ConfigError: A number of rounds below 1.
        DensityError: A fraction outside (0, 1].
    """

    freeze_every: int
    kept: float
    density: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.freeze_every < 1:
            raise ConfigError(f"a layer freezes every {self.freeze_every} rounds; valid: 1 or more")
        object.__setattr__(self, "kept", parse_density(self.kept))

    def at(self, moment: Moment) -> ActiveLayers:
        """Return the selector of the entries that train from a version."""
        return ActiveLayers(moment.version // self.freeze_every, self.kept)

    def settings(self) -> dict[str, Any]:
        """Return the rounds between freezes and the fraction that stays, as plain values."""
        return dict(vars(self))

    def describe(self) -> str:
        """Return a description such as ``a layer freezes every 10 rounds, up to 3/4 of them``."""
        most = format_density(1 - self.kept)
        return f"a layer freezes every {self.freeze_every} rounds, up to {most} of them"


def _b_size(layout: Layout, values_N: Vector, tensors: tuple[TensorSpec, ...]) -> float:
    """Return the root mean square of the entries of B of a layer; 0 if it has none."""
    parts = [values_N[layout.slices[t.name]] for t in tensors if t.kind == LORA_B]
    if not parts:
        return 0.0
    return float(np.sqrt(np.square(np.concatenate(parts), dtype=np.float64).mean()))


@lru_cache(maxsize=64)
def _layers(layout: Layout) -> _Layers:
    """Return the tensors of each layer; those without a layer's number are in none."""
    found: dict[int, tuple[TensorSpec, ...]] = {}
    for tensor in layout.tensors:
        number = layer_number(tensor)
        if number is not None:
            found[number] = (*found.get(number, ()), tensor)
    return found
