"""Model tables of the families that are known without the model library, from a ``config.json``."""

from __future__ import annotations

from floss_sim.families.family import Config, Family, ModuleSpec
from floss_sim.families.model_table import CONV1D, CONV2D, EMBEDDING, LINEAR, ModelTable
from floss_sim.families.targets import family_of

_SIDES_OF_IMAGES = 4  # of the weight of a convolution


def family_table(config: Config, labels: int) -> ModelTable:
    """Return the table of a model of a known family, its classes filled in.

    Args:
        config: The content of ``config.json``.
        labels: Number of classes of the new head; 0 for next-token prediction.

    Raises:
        LayoutError: The family is unknown, or a size is missing in the config.
    """
    family = family_of(config)
    parameters, modules = {}, {}
    for name, shape in family.parameters(config, labels).items():
        canonical, _, part = name.rpartition(".")
        path = family.spellings(canonical)[0]
        if family.is_bare(canonical):
            parameters[path] = shape
            continue
        parameters[f"{path}.{part}"] = shape
        if part == "weight" and len(shape) > 1:
            modules[path] = _kind(family, canonical, shape)
    if labels:
        parameters[f"{family.head}.weight"] = (labels, family.sizes["width"](config))
        if family.head_bias:
            parameters[f"{family.head}.bias"] = (labels,)
        modules[family.head] = LINEAR
    output = _output(family, labels)
    if output is not None:
        modules[output.modules[0]] = LINEAR
    return ModelTable(
        str(config["model_type"]),
        parameters,
        modules,
        head=(family.head,) if labels else (),
        output=output.modules[0] if output else "",
    )


def _output(family: Family, labels: int) -> ModuleSpec | None:
    """Return the output head of next-token prediction; None for a classification."""
    return None if labels or not family.language_head else family.around[family.language_head]


def _kind(family: Family, canonical: str, shape: tuple[int, ...]) -> str:
    if len(shape) == _SIDES_OF_IMAGES:
        return CONV2D
    is_role = canonical.split(".")[-1] in family.roles
    if family.transposed and is_role:
        return CONV1D
    return EMBEDDING if canonical.startswith("embed.") else LINEAR
