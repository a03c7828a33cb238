"""Trained tensors of adapters on a model table: what PEFT attaches, by arithmetic.

The result equals what PEFT itself attaches (:func:`floss_sim.families.from_library.peft_model`);
tests compare both for every packaged backbone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.model_table import CONV1D, CONV2D, EMBEDDING, ModelTable, Shape
from floss_sim.families.target_modules import resolve_modules

LORA_A, LORA_B, LORA_B_BIAS, MAGNITUDE = "lora_A", "lora_B", "lora_B_bias", "lora_magnitude"
LORA_SQUARE, LORA_SCALE = "lora_square", "lora_scale"  # between a frozen A and a frozen B
WHOLE = "whole"  # part of a tensor that the model itself holds


@dataclass(frozen=True)
class TrainedTensor:
    """A tensor that trains.

    Attributes:
        module: Path of the adapted module; or the parameter's own name where it trains whole.
        part: ``lora_A``, ``lora_B``, ``lora_B_bias``, ``lora_magnitude`` or ``whole``.
        shape: Its shape in PEFT.
    """

    module: str
    part: str
    shape: Shape

    @property
    def entries(self) -> int:
        """Number of entries."""
        return prod(self.shape)


@dataclass(frozen=True)
class TrainedModel:
    """A model and the tensors of it that train.

    Attributes:
        model_type: The model library's name of the family.
        parameters: Number of entries of all parameters, a new head included.
        head: Paths of the modules that are new for the task.
        tensors: The tensors that train.
    """

    model_type: str
    parameters: int
    head: tuple[str, ...]
    tensors: tuple[TrainedTensor, ...]

    @property
    def entries(self) -> int:
        """Number of entries that train."""
        return sum(tensor.entries for tensor in self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Return the model as plain values."""
        rows = [[tensor.module, tensor.part, list(tensor.shape)] for tensor in self.tensors]
        return {**vars(self), "head": list(self.head), "tensors": rows}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainedModel:
        """Return the model of plain values, as :meth:`to_json` returns them.

        Raises:
            KeyError: A key is missing.
            TypeError: A value has another type than :meth:`to_json` writes.
            ValueError: A value is no number where one is written.
        """
        return cls(
            str(content["model_type"]),
            int(content["parameters"]),
            tuple(str(path) for path in content["head"]),
            tuple(
                TrainedTensor(str(module), str(part), tuple(int(side) for side in shape))
                for module, part, shape in content["tensors"]
            ),
        )


def trained_tensors(table: ModelTable, settings: AdapterSettings) -> tuple[TrainedTensor, ...]:
    """Return the tensors that train: adapters, the new head, modules to save and biases.

    Args:
        table: The model.
        settings: The adapters.

    Raises:
        LayoutError: A target or a module to save matches nothing, a rank is larger than a side of
            its module, or DoRA is asked for on a module that cannot hold it.
    """
    paths = resolve_modules(table, settings)
    found = [tensor for path in paths for tensor in _adapter(table, settings, path)]
    whole = whole_tensors(table, settings)
    whole |= {name: table.parameters[name] for name in _biases(table, settings, paths)}
    return (*found, *(TrainedTensor(name, WHOLE, shape) for name, shape in whole.items()))


def _adapter(table: ModelTable, settings: AdapterSettings, path: str) -> Iterator[TrainedTensor]:
    kind, shape = table.modules[path], table.weight_shape(path)
    rank = settings.rank_of(path)
    out, in_, *kernel = shape
    if kind in (CONV1D, EMBEDDING):
        out, in_ = in_, out
    check_rank(table, settings, path)
    # PEFT's B of a convolution has a kernel of one pixel.
    pixel = (1, 1) if kind == CONV2D else ()
    yield TrainedTensor(path, LORA_A, (rank, in_, *kernel))
    yield TrainedTensor(path, LORA_B, (out, rank, *pixel))
    if settings.lora_bias:
        yield TrainedTensor(path, LORA_B_BIAS, (out,))
    if settings.dora:
        yield TrainedTensor(path, MAGNITUDE, (1, out, *pixel) if pixel else (out,))


def check_rank(table: ModelTable, settings: AdapterSettings, path: str) -> None:
    """Check that the adapter of a module is possible.

    Raises:
        LayoutError: The rank is larger than a side of the module, or B of an embedding would have a
            bias.
    """
    out, in_ = table.weight_shape(path)[:2]
    rank = settings.rank_of(path)
    if rank > min(out, in_):
        raise LayoutError(
            f"rank {rank} does not fit module {path!r} of shape {out} x {in_}; "
            f"valid: 1 to {min(out, in_)}"
        )
    if settings.lora_bias and table.modules[path] == EMBEDDING:
        raise LayoutError(f"the adapter of the embedding {path!r} cannot have a bias")


def whole_tensors(table: ModelTable, settings: AdapterSettings) -> dict[str, Shape]:
    """Return the parameters that train whole: those of the new head and of the modules to save.

    Raises:
        LayoutError: A module to save matches nothing.
    """
    paths = list(_whole(table, settings))
    found = {name: table.parameters[name] for path in paths for name in table.below(path)}
    for path, shape in table.tied.items():
        if any(f"{path}.".startswith(f"{whole}.") for whole in paths):
            found[f"{path}.weight"] = shape  # tied no longer
    tied = f"{table.output}.weight"
    saved = any(table.output.endswith(name) for name in settings.modules_to_save)
    if table.output and saved and tied not in table.parameters:
        found[tied] = table.output_shape  # PEFT's copy is tied no longer
    return found


def _whole(table: ModelTable, settings: AdapterSettings) -> Iterator[str]:
    """Yield the paths of the modules that train whole."""
    yield from table.head
    paths = {name.rpartition(".")[0] for name in table.parameters} | {table.output, *table.tied}
    paths |= {path.rpartition(".")[0] for path in paths}
    for name in settings.modules_to_save:
        found = sorted(path for path in paths if path.endswith(name))  # as PEFT matches
        if not found:
            raise LayoutError(f"module to save {name!r} matches no module of the model")
        yield from found


def _biases(table: ModelTable, settings: AdapterSettings, paths: tuple[str, ...]) -> Iterator[str]:
    if settings.bias == "all":
        yield from (name for name in table.parameters if name.endswith(".bias"))
    elif settings.bias == "lora_only":
        yield from (f"{path}.bias" for path in paths if f"{path}.bias" in table.parameters)
