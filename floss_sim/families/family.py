"""Data model of a model family: its modules, their names in the model library, their shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Any

IMAGES, TEXTS, NEXT_TOKEN = "image-classification", "text-classification", "next-token"
KINDS = (IMAGES, TEXTS, NEXT_TOKEN)  # valid values of a task's kind
Config = Mapping[str, Any]
SizeReader = Callable[[Config], int]
SymbolicShape = tuple[int | str, ...]  # integers, or keys of Family.sizes


@dataclass(frozen=True)
class ModuleSpec:
    """A module with a weight and an optional bias.

    Args:
        modules: Possible paths of the module below its layer or below the model. The name in the
            installed model library comes first, older names follow.
        shape: Shape of the weight; (out, in) for a linear layer.
        bias: Whether the module has a bias; or the config key that decides it, and the default.
        bare: Whether the path names the parameter itself, without ``.weight``.
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
        kinds: Supported task kinds, a subset of ``KINDS``.
        layers: Possible module paths of the stack of layers, newest name first.
        depth: Reader of the number of layers.
        sizes: Readers of the sizes that symbolic shapes use, by name.
        head: Module path of a new classification head; its weight has shape (labels, width).
        head_bias: Whether the classification head has a bias.
        roles: Modules of a layer that can have an adapter, by role.
        norms: Modules of a layer that cannot have an adapter, by canonical name.
        around: Modules outside the layers, by canonical name.
        language_head: Key in ``around`` of the output head of next-token models; empty if the
            family has none. Only an untied head is a parameter of its own.
        tied: Whether the language head shares the input embedding's weight when the config does
            not state ``tie_word_embeddings``.
        special_tokens: Ids of special tokens where the config does not state them, by key.
        other_heads: Modules and parameters that files of this family may hold for other tasks.
        transposed: Whether linear layers store their weight as (in, out), like GPT-2's Conv1D.
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
    other_heads: tuple[str, ...] = ()
    special_tokens: Mapping[str, int] = field(default_factory=dict)
    transposed: bool = False

    def shape(self, config: Config, shape: SymbolicShape) -> tuple[int, ...]:
        """Return a symbolic shape as integers, with sizes read from the config.

        Raises:
            LayoutError: A size is missing in the config or is not a positive integer.
        """
        return tuple(self.sizes[n](config) if isinstance(n, str) else n for n in shape)

    def parameters(self, config: Config, labels: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the backbone's parameters by canonical name.

        A new classification head is not included; tied parameters are listed once.

        Args:
            config: The backbone's ``config.json``.
            labels: Number of classes; 0 for a next-token model.

        Raises:
            LayoutError: A size is missing in the config or is not a positive integer.
        """
        tied = self.is_tied(config, labels)
        modules = {n: p for n, p in self.around.items() if not (tied and n == self.language_head)}
        for layer in range(self.depth(config)):
            inside = chain(self.roles.items(), self.norms.items())
            modules |= {f"layer.{layer:03d}.{name}": part for name, part in inside}
        weights = {f"{n}.weight": self.stored_shape(config, n, p) for n, p in modules.items()}
        biased = {n: p for n, p in modules.items() if p.has_bias(config)}
        return weights | {f"{n}.bias": self.shape(config, p.shape[:1]) for n, p in biased.items()}

    def is_tied(self, config: Config, labels: int) -> bool:
        """Return whether the language head is no parameter of its own: tied, or not used."""
        return labels > 0 or bool(config.get("tie_word_embeddings", self.tied))

    @property
    def prefix(self) -> str:
        """First part of the module paths, with its dot; files without a head leave it out."""
        return self.layers[0].partition(".")[0] + "."

    def stored_shape(self, config: Config, name: str, part: ModuleSpec) -> tuple[int, ...]:
        """Return the shape in which the model library stores a canonical module's weight."""
        turned = self.transposed and name.split(".")[-1] in self.roles
        return self.shape(config, part.shape[::-1] if turned else part.shape)

    def spellings(self, name: str) -> list[str]:
        """Return the possible model-library paths of a canonical module name, newest first."""
        if name in self.around:
            return list(self.around[name].modules)
        _, layer, role = name.split(".")
        modules = (self.roles.get(role) or self.norms[role]).modules
        return [f"{stack}.{int(layer)}.{path}" for stack, path in product(self.layers, modules)]

    def is_bare(self, name: str) -> bool:
        """Return whether a canonical module is a bare parameter, without ``.weight``."""
        return name in self.around and self.around[name].bare
