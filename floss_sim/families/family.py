"""What a model family is: its parts, their names in the model library, and their shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

IMAGES, TEXTS, NEXT_TOKEN = "image-classification", "text-classification", "next-token"
KINDS = (IMAGES, TEXTS, NEXT_TOKEN)  # what a task can ask of a model
Config = Mapping[str, Any]
SizeReader = Callable[[Config], int]
SymbolicShape = tuple[int | str, ...]  # numbers, and names of the family's sizes


@dataclass(frozen=True)
class ModuleSpec:
    """A module that holds a weight and perhaps a bias.

    Args:
        modules: Its path below the layer or the model, today's spelling first.
        shape: Of its weight; of a linear layer (out, in).
        bias: Whether there is a bias, or the config's key that says so and its default.
        bare: The path is the parameter itself, without ``.weight``.
    """

    modules: tuple[str, ...]
    shape: SymbolicShape
    bias: bool | tuple[str, bool] = True
    bare: bool = False

    def has_bias(self, config: Config) -> bool:
        """Return whether the config gives this module a bias."""
        if isinstance(self.bias, bool):
            return self.bias
        key, default = self.bias
        return bool(config.get(key, default))


@dataclass(frozen=True)
class Family:
    """One family of models.

    Args:
        kinds: The task kinds that it serves.
        layers: Module path of the stack of layers, today's spelling first.
        depth: Number of layers.
        sizes: The sizes that shapes name.
        head: Module of a new classification head; its weight is (labels, width).
        head_bias: Whether that head has a bias.
        roles: The parts of a layer that can get an adapter.
        norms: The other parts of a layer.
        around: The parts outside the layers.
        language_head: Which of those only next-token models have, and only where it is not tied
            to the input embedding.
        tied: Whether it is tied where the config does not say.
        transposed: Linear layers store (in, out), as GPT-2's Conv1D.
    """

    kinds: tuple[str, ...]
    layers: tuple[str, ...]
    depth: SizeReader
    sizes: Mapping[str, SizeReader]
    head: str
    head_bias: bool
    roles: Mapping[str, ModuleSpec]
    norms: Mapping[str, ModuleSpec]
    around: Mapping[str, ModuleSpec]
    language_head: str = ""
    tied: bool = False
    transposed: bool = False

    def shape(self, config: Config, shape: SymbolicShape) -> tuple[int, ...]:
        """Return a shape with the config's sizes in place of their names.

        Raises:
            LayoutError: The config lacks a size, or it is no whole number.
        """
        return tuple(self.sizes[n](config) if isinstance(n, str) else n for n in shape)

    def parameters(self, config: Config, labels: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the backbone's parameters by canonical name.

        A new head is not among them; tied parameters are listed once.

        Args:
            config: The backbone's ``config.json``.
            labels: Number of classes; 0 for a next-token model.

        Raises:
            LayoutError: The config lacks a size, or it is no whole number.
        """
        tied = labels > 0 or config.get("tie_word_embeddings", self.tied)
        modules = {n: p for n, p in self.around.items() if not (tied and n == self.language_head)}
        for layer in range(self.depth(config)):
            inside = chain(self.roles.items(), self.norms.items())
            modules |= {f"layer.{layer:03d}.{name}": part for name, part in inside}
        weights = {f"{n}.weight": self.stored_shape(config, n, p) for n, p in modules.items()}
        biased = {n: p for n, p in modules.items() if p.has_bias(config)}
        return weights | {f"{n}.bias": self.shape(config, p.shape[:1]) for n, p in biased.items()}

    def stored_shape(self, config: Config, name: str, part: ModuleSpec) -> tuple[int, ...]:
        """Return the shape in which the model holds the weight of a canonical module."""
        turned = self.transposed and name.split(".")[-1] in self.roles
        return self.shape(config, part.shape[::-1] if turned else part.shape)

    def spellings(self, name: str) -> list[str]:
        """Return what a canonical module name may be in the model, today's spelling first."""
        if name in self.around:
            return list(self.around[name].modules)
        _, layer, role = name.split(".")
        modules = (self.roles.get(role) or self.norms[role]).modules
        return [f"{stack}.{int(layer)}.{path}" for stack, path in product(self.layers, modules)]

    def is_bare(self, name: str) -> bool:
        """Return whether a canonical module name is itself a parameter of the model."""
        return name in self.around and self.around[name].bare
