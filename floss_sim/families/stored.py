"""Stored tensors of a backbone, compared by name and shape with those that its config describes.

Nothing is loaded: names, shapes and types come from the headers of the weight files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from floss_sim.families.family import Config, Family
from floss_sim.families.known import FAMILIES
from floss_sim.families.sizes import attention_heads
from floss_sim.families.targets import family_of

_WEIGHT_TYPES = ("F64", "F32", "F16", "BF16")  # types that become float32 without a scale
# Buffers of older versions of the model library: computed from the config, never trained.
_BUFFER = re.compile(r"(^|\.)(position_ids|rotary_emb\.inv_freq|attn\.(bias|masked_bias))$")
# Whole numbers beside the weights of families that are not known here.
_COUNTS = re.compile(r"(^|\.)(num_batches_tracked|position_ids|relative_position_index)$")
_OLD_ENDINGS = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a weight file.

    Args:
        shape: Its shape.
        dtype: Its type as safetensors spells it, such as ``F32``.
    """

    shape: tuple[int, ...]
    dtype: str


def find_weights_problem(
    config: Config, labels: int, stored: Mapping[str, StoredTensor]
) -> str | None:
    """Return why stored tensors are not those of a backbone; None if they are.

    Heads of other tasks and buffers that the model library computes itself may be stored as well.
    A new classification head need not be stored. Of a family that is not known here only the types
    are compared: the model library checks names and shapes when it loads them.

    Args:
        config: The backbone's ``config.json``.
        labels: Number of classes; 0 for a next-token model.
        stored: The tensors in the weight files, by name.

    Raises:
        LayoutError: A size in the config is invalid.
    """
    if config.get("model_type") not in FAMILIES:
        return _wrong_type(stored) if stored else "the weight files hold no tensor"
    family = family_of(config)
    attention_heads(config)  # the model library accepts a negative number, and fails later
    expected = family.parameters(config, labels)
    found = {name: _found(family, config, labels, name, stored) for name in expected}
    for names in found.values():
        if len(names) > 1:
            return f"tensors {names[0]!r} and {names[1]!r} are the same parameter"
    lacking = sorted(_names(family, name)[0] for name, names in found.items() if not names)
    if lacking:
        return f"missing tensor {lacking[0]!r}{more_suffix(lacking)}"
    used = {names[0]: expected[name] for name, names in found.items()}
    unused = sorted(name for name in stored if name not in used and not _is_extra(family, name))
    if unused:
        return f"the model does not use tensor {unused[0]!r}{more_suffix(unused)}"
    return _misfit({name: stored[name] for name in used}, used)


def _misfit(
    stored: Mapping[str, StoredTensor], expected: Mapping[str, tuple[int, ...]]
) -> str | None:
    """Return the first tensor whose shape or type is wrong."""
    resized = sorted(name for name, tensor in stored.items() if tensor.shape != expected[name])
    if resized:
        name = resized[0]
        shapes = f"has shape {stored[name].shape}, expected {expected[name]}"
        return f"tensor {name!r} {shapes}{more_suffix(resized)}"
    return _wrong_type(stored)


def _wrong_type(stored: Mapping[str, StoredTensor]) -> str | None:
    """Return the first tensor whose type is wrong."""
    typed = sorted(
        name
        for name, tensor in stored.items()
        if tensor.dtype not in _WEIGHT_TYPES and not _COUNTS.search(name)
    )
    if typed:
        kinds = f"holds {stored[typed[0]].dtype}; valid: {', '.join(_WEIGHT_TYPES)}"
        return f"tensor {typed[0]!r} {kinds}{more_suffix(typed)}"
    return None


def _names(family: Family, tensor: str) -> list[str]:
    """Return the possible names of a canonical tensor in a file, newest first.

    A file of the model without a head leaves out the first part of each name.
    """
    module, _, last = tensor.rpartition(".")
    paths = family.spellings(module)
    full = paths if family.is_bare(module) else [f"{path}.{last}" for path in paths]
    old = [
        f"{name.removesuffix(new)}{ending}"
        for name in full
        for new, ending in _OLD_ENDINGS.items()
        if name.endswith(new)
    ]
    spelled = [*full, *old]
    bare = [name.removeprefix(family.prefix) for name in spelled]
    return list(dict.fromkeys((*spelled, *bare)))


def _found(
    family: Family, config: Config, labels: int, tensor: str, stored: Mapping[str, StoredTensor]
) -> list[str]:
    names = [name for name in _names(family, tensor) if name in stored]
    if names or labels or tensor != "embed.word.weight" or not family.is_tied(config, labels):
        return names
    # A tied embedding may be stored under the name of the language head only.
    return [n for n in _names(family, f"{family.language_head}.weight") if n in stored]


def _is_extra(family: Family, name: str) -> bool:
    """Return whether a tensor that the model does not use is expected in files of its family."""
    rest = name.removeprefix(family.prefix)
    extra = (family.head, *family.other_heads)
    heads = any(_is_below(part, modules) for part in (name, rest) for modules in extra)
    return heads or bool(_BUFFER.search(rest))


def _is_below(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def more_suffix(names: list[str]) -> str:
    """Return how many names follow the first one, as the end of a sentence."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
