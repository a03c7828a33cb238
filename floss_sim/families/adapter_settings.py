"""Adapter settings: PEFT's options that decide which tensors train, and their shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from floss_sim.errors import LayoutError
from floss_sim.families.path_patterns import check_pattern, end_pattern, matching_paths
from floss_sim.toml_json import shorten

ALL = "all"  # every module of the layers that has a role
ALL_LINEAR = "all-linear"  # every linear module, as PEFT understands it
REGEX = "re:"  # begins a target that is a regular expression over whole module paths
BIASES = ("none", "all", "lora_only")
_MOST_RANK = 2**20
NumberT = TypeVar("NumberT", int, float)


@dataclass(frozen=True)
class AdapterSettings:
    """Settings of LoRA or DoRA adapters, as PEFT understands them.

    Args:
        rank: Rank r of A (r, in) and B (out, r).
        targets: What gets an adapter: roles (``q``), module names (``q_proj``, ``mlp.down_proj``),
            one ``re:`` expression that matches whole module paths, ``all`` (every role), or
            ``all-linear``.
        alpha: LoRA's alpha; an update is scaled by alpha / r.
        rslora: Whether the scale is alpha / sqrt(r) (Kalajdzievski, arXiv 2312.03732).
        dora: Whether each adapted module also trains a magnitude vector (Liu et al., DoRA, ICML
            2024, equation 5).
        rank_pattern: Ranks of some modules: expressions over the end of a path, and the rank.
        alpha_pattern: Alphas of some modules, in the same form.
        modules_to_save: Modules that train whole, by name, besides the new head.
        layers: Numbers of the layers that get adapters; None: all.
        depth: Number of layers, counted from the last, that get adapters; None: all.
        bias: Which biases of the model train: ``none``, ``all`` or ``lora_only`` (those of adapted
            modules).
        lora_bias: Whether B has a bias.

    Raises:
        LayoutError: A setting has a wrong type or is out of range, or two contradict each other.

    Example:
        >>> from floss_sim import AdapterSettings
        >>> AdapterSettings(rank=8, rank_pattern={"v_proj": 4}).rank_of("layers.0.v_proj")
        4
    """

    rank: int = 16
    targets: tuple[str, ...] = ("q", "v")
    alpha: float = 16.0
    rslora: bool = False
    dora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    modules_to_save: tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None
    depth: int | None = None
    bias: str = "none"
    lora_bias: bool = False

    def __post_init__(self) -> None:
        for name, (what, fits) in _TYPES.items():
            if not fits(getattr(self, name)):
                raise LayoutError(f"{name} {shorten(getattr(self, name))} is not {what}")
        _check_targets(self.targets)
        for rank in (self.rank, *self.rank_pattern.values()):
            if not 1 <= rank <= _MOST_RANK:
                raise LayoutError(
                    f"rank {shorten(rank)} is out of range; valid: 1 to the smaller side of each "
                    "adapted module"
                )
        for pattern in (*self.rank_pattern, *self.alpha_pattern):
            check_pattern(pattern)
        for alpha in (self.alpha, *self.alpha_pattern.values()):
            if not 0 < alpha < math.inf:
                raise LayoutError(f"alpha {alpha:g} is out of range; valid: above 0")
        if self.dora and self.lora_bias:
            raise LayoutError("DoRA adapters cannot have a bias of B")
        if self.bias not in BIASES:
            raise LayoutError(f"unknown bias {self.bias!r}; valid: {', '.join(BIASES)}")
        if self.layers is not None and self.depth is not None:
            raise LayoutError("give layers or a depth, not both")
        if self.depth is not None and self.depth < 1:
            raise LayoutError(f"depth {self.depth} is out of range; valid: 1 or more layers")

    def rank_of(self, path: str) -> int:
        """Return the rank of a module: that of the first pattern that matches, else ``rank``.

        Raises:
            LayoutError: A pattern cannot be matched in time.
        """
        return _first_match(self.rank_pattern, path, self.rank)

    def alpha_of(self, path: str) -> float:
        """Return alpha of a module, as :meth:`rank_of` returns its rank."""
        return _first_match(self.alpha_pattern, path, self.alpha)

    def beside(self, private: int | None) -> AdapterSettings:
        """Return the settings of each adapter and a private one of the same scale, as one adapter.

        The rank is the sum of both, and alpha keeps the scale.

        Args:
            private: Rank of the private adapters; None: each as its partner; 0: none.
        """

        def wide(rank: int) -> int:
            return rank + (rank if private is None else private)

        factor = wide(self.rank) / self.rank
        return replace(
            self,
            rank=wide(self.rank),
            alpha=self.alpha * (math.sqrt(factor) if self.rslora else factor),
            rank_pattern={path: wide(rank) for path, rank in self.rank_pattern.items()},
        )

    @property
    def scale(self) -> float:
        """Factor of an update: alpha / r, with rsLoRA alpha / sqrt(r)."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def describe(self) -> str:
        """Return a short description, such as ``rank 16`` or ``rank 8, DoRA, last 3 layers``."""
        last = f"last {self.depth} layers" if self.depth != 1 else "last layer"
        numbers = ", ".join(map(str, self.layers or ()))
        said = {
            f"rank {self.rank}": True,
            "DoRA": self.dora,
            "rsLoRA": self.rslora,
            last: self.depth is not None,
            f"layers {numbers}": self.layers is not None,
        }
        return ", ".join(words for words, holds in said.items() if holds)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return {
            name: dict(value) if isinstance(value, Mapping) else
            list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }  # fmt: skip


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


def _is_layers(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and all(map(_is_whole, value)))


def _is_pattern(fits: Callable[[Any], bool], value: Any) -> bool:
    is_mapping = isinstance(value, Mapping)
    return is_mapping and _is_names(tuple(value)) and all(map(fits, value.values()))


_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {  # of each setting, in words and a test
    "rank": ("a whole number", _is_whole),
    "targets": ("a tuple of names, such as ('q', 'v')", _is_names),
    "alpha": ("a number", _is_number),
    "rank_pattern": ("a dictionary of whole numbers", partial(_is_pattern, _is_whole)),
    "alpha_pattern": ("a dictionary of numbers", partial(_is_pattern, _is_number)),
    "modules_to_save": ("a tuple of names, such as ('lm_head',)", _is_names),
    "layers": ("a tuple of whole numbers", _is_layers),
    "depth": ("a whole number", lambda value: value is None or _is_whole(value)),
    **{
        name: ("True or False", lambda value: isinstance(value, bool))
        for name in ("rslora", "dora", "lora_bias")
    },
}


def _check_targets(targets: Sequence[str]) -> None:
    if not targets or len(set(targets)) != len(targets):
        raise LayoutError(f"LoRA targets {list(targets)} must be one or more different names")
    alone = [t for t in targets if t in (ALL, ALL_LINEAR) or t.startswith(REGEX)]
    if alone and len(targets) > 1:
        raise LayoutError(f"LoRA target {alone[0]!r} must be the only one")
    if alone and alone[0].startswith(REGEX):
        check_pattern(alone[0].removeprefix(REGEX))


def _first_match(patterns: Mapping[str, NumberT], path: str, default: NumberT) -> NumberT:
    """Return the value of the first pattern that matches a path, as PEFT matches it."""
    found = (n for end, n in patterns.items() if matching_paths(end_pattern(end), [path]))
    return next(found, default)
