"""Checks of ``[preprocess]`` against the backbone's config, before examples are read."""

from __future__ import annotations

from pathlib import PurePath

from floss_sim.errors import TaskError
from floss_sim.families import FAMILIES, IMAGES, Config, check_kind, model_inputs
from floss_sim.tasks.arrays import DIGITS
from floss_sim.tasks.sections import PreprocessSection, TaskFile

# Pixels of a side, and channels: the model library's defaults for keys missing in a config.
_SIDE, _CHANNELS = 224, 3


def is_array_file(dataset: str) -> bool:
    """Return whether a data set holds arrays that the backbone reads unchanged."""
    return dataset == DIGITS or PurePath(dataset).suffix == ".npz"


def check_fit(task: TaskFile, backbone: Config) -> None:
    """Raise TaskError if the output of ``[preprocess]`` does not fit the backbone's input.

    A backbone that the model library cannot build raises LayoutError.
    """
    check_kind(backbone, task.kind)
    problem_of = _image_problem if task.kind == IMAGES else _text_problem
    problem = problem_of(task.preprocess, _stated_sizes(backbone, task.kind))
    problem = problem or _array_problem(task)
    if problem:
        raise TaskError(f"task {task.name!r}: {problem}")


def _stated_sizes(config: Config, kind: str) -> Config:
    """Return a config with the keys of a known family; values of others come from the library."""
    if config["model_type"] in FAMILIES:
        return config
    inputs = model_inputs(config, kind)
    sides = None if inputs.sides is None else list(inputs.sides)
    return {
        "image_size": sides,
        "num_channels": inputs.channels,
        "max_position_embeddings": inputs.positions,
    }


def _image_problem(chosen: PreprocessSection, config: Config) -> str | None:
    side, channels = config.get("image_size", _SIDE), config.get("num_channels", _CHANNELS)
    own = chosen.image_size
    if own is not None and side is not None and side not in (own, [own] * 2):
        read = " x ".join(map(str, side)) if isinstance(side, list) else side
        return f"preprocess.image_size {chosen.image_size} differs from the backbone's {read}"
    if chosen.mean is not None and len(chosen.mean) != channels:
        return (
            f"preprocess.mean and std hold {len(chosen.mean)} number(s) each, where the backbone "
            f"reads {channels} channel(s); valid: one number for each channel"
        )
    return None


def _array_problem(task: TaskFile) -> str | None:
    if not is_array_file(task.data.dataset) or task.preprocess.mean is None:
        return None
    return (
        f"preprocess.mean and std have no effect on {task.data.dataset}, whose arrays the "
        "backbone reads unchanged; valid: normalise the arrays themselves and leave out both keys"
    )


def _text_problem(chosen: PreprocessSection, config: Config) -> str | None:
    length = chosen.max_length or 0
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    if isinstance(positions, int) and length > positions:
        return f"preprocess.max_length {length} exceeds the backbone's {positions} positions"
    return None
